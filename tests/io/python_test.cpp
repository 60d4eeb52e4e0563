// What Python writes we read, and what we write Python reads.
#include <cstring>

#include "base/text.h"
#include "io/feature_file.h"
#include "io/hdf5.h"
#include "io/npy.h"
#include "tests/io/files.h"
#include "tests/support/command.h"

namespace micrec {
namespace {

class Python : public testing::Test {
 protected:
  void SetUp() override {
    if (std::string(MICREC_PYTHON).empty())
      GTEST_SKIP() << "there is no Python with h5py and numpy beside torch";
  }

  /// Runs a program with `folder` as its working directory.
  void run(const std::string& program) {
    const std::string begin = "import os, h5py, numpy as np\nos.chdir(os.path.dirname(__file__))\n";
    run_python(folder_.write("program.py", begin + program), {});
  }

  const TemporaryFolder folder_;
};

TEST_F(Python, ReadsOurFiles) {
  {
    Hdf5File file = Hdf5File::create(folder_ / "ours.h5");
    file.set_attribute("/", "format",
                       "micr\xC3\xA9"
                       "c");
    file.set_attribute("/", "version", 3);
    file.write_text("/domains/food/key", {"B1", "caf\xC3\xA9", ""});
    file.write_text("/long", {"a", std::string(500, 'b')});
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    file.write("/value", values.data(), {3, 2}, {.compress = true});
    file.write("/row", std::vector<std::int64_t>{1LL << 40});
    file.write("/present", std::vector<std::uint8_t>{1, 0});
    file.close();
  }
  run(R"(
f = h5py.File('ours.h5')
assert f.attrs['format'] == 'micr\u00e9c', f.attrs['format']
assert f.attrs['version'] == 3
assert f['domains/food/key'].asstr()[()].tolist() == ['B1', 'caf\u00e9', '']
assert f['long'].asstr()[1] == 'b' * 500
assert f['value'].dtype == '<f4' and f['value'][()].tolist() == [[1, 2], [3, 4], [5, 6]]
assert f['row'].dtype == '<i8' and f['row'][0] == 1 << 40
assert f['present'].dtype == 'u1' and f['present'][()].tolist() == [1, 0]
)");
}

TEST_F(Python, WritesFilesThatWeRead) {
  run(R"(
with h5py.File('theirs.h5', 'w') as f:
    f['key'] = ['x', 'caf\u00e9']                            # variable length
    f['fixed'] = np.array([b'abc', b'de'])
    f['value'] = np.array([[1, 2.5], [3, 65504]], dtype='f2')
    f['big'] = np.array([1, -2], dtype='>i8')
    f['bool'] = np.array([True, False])
    f['scalar'] = 5
    f.attrs['text'] = 'caf\u00e9'
    f.attrs['fixed'] = np.bytes_('abc')
    f.attrs['n'] = 7
    f.create_dataset('huge', shape=(1 << 40,), dtype='f4', chunks=(1 << 20,))
)");
  const Hdf5File file = Hdf5File::open(folder_ / "theirs.h5");
  EXPECT_EQ(file.read_text("key"), (std::vector<std::string>{"x", "caf\xC3\xA9"}));
  EXPECT_EQ(file.read_text("fixed"), (std::vector<std::string>{"abc", "de"}));
  EXPECT_EQ(file.read<float>("value"), (std::vector<float>{1, 2.5F, 3, 65504}));
  EXPECT_EQ(file.info("value").type, Hdf5Type::float16);
  EXPECT_EQ(file.read<std::int64_t>("big"), (std::vector<std::int64_t>{1, -2}));
  EXPECT_EQ(file.text_attribute("/", "text"), "caf\xC3\xA9");
  EXPECT_EQ(file.text_attribute("/", "fixed"), "abc");
  EXPECT_EQ(file.integer_attribute("/", "n"), 7);
  expect_error(Cause::data, {"/bool", "expected uint8, got another type"},
               [&] { file.read<std::uint8_t>("bool"); });
  std::int64_t one = 0;
  expect_error(Cause::data, {"/scalar", "expected rows, got a single value"}, [&] {
    file.read_rows("scalar", {0, 1}, &one);
  });
  expect_error(Cause::data, {"/huge", "claims to be (1099511627776)", "cannot hold"},
               [&] { file.read<float>("huge"); });
  EXPECT_EQ(FeatureFile::open(folder_ / "theirs.h5").width(), 2);
}

TEST_F(Python, WritesChunksAndIndexesOfEveryKindThatWeRead) {
  run(R"(
keys = [f'item {i} \u00e9' * (1 + i % 3) for i in range(37)]
values = np.arange(111, dtype='f4').reshape(37, 3)
for low in ('earliest', 'v108', 'v110', 'v112', 'v114'):
    for kind, chunk, most in (('plain', None, None), ('one', (37, 3), None), ('fixed', (5, 2), None),
                              ('rows', (5, 2), (None, 3)), ('both', (5, 2), (None, None))):
        for packed in ({},) if kind == 'plain' else ({}, dict(compression='gzip', shuffle=True)):
            for block in (None, 512):
                name = f'{low}-{kind}-{bool(packed)}-{block}.h5'
                with h5py.File(name, 'w', libver=(low, 'v114'), userblock_size=block) as f:
                    f.create_dataset('key', data=keys, dtype=h5py.string_dtype(), chunks=chunk and chunk[:1],
                                     maxshape=most and most[:1], **packed)
                    f.create_dataset('value', data=values, chunks=chunk, maxshape=most, **packed)
                    f['beside'] = np.ones(3, 'c8')
                    f.attrs.update({f'attribute {i}': 'text' for i in range(12)})
                print(name, file=open('names.txt', 'a'))
)");
  std::vector<std::string> keys;
  for (int i = 0; i < 37; ++i) {
    keys.emplace_back();
    for (int j = 0; j <= i % 3; ++j) keys.back() += text("item ", i, " \xC3\xA9");
  }
  const std::vector<std::string> names = split(file_contents(folder_ / "names.txt"), '\n');
  ASSERT_EQ(names.size(), 5U * 9 * 2 + 1);
  for (const std::string& name : names) {
    if (name.empty()) continue;
    const FeatureFile file = FeatureFile::open(folder_ / name);
    EXPECT_EQ(file.keys(), keys) << name;
    std::vector<float> values(111);
    file.read_rows({0, 37}, values.data());
    for (int i = 0; i < 111; ++i) ASSERT_EQ(values[i], static_cast<float>(i)) << name;
  }
}

// Behind an index of chunks, and behind a user block, as anywhere else.
TEST_F(Python, WritesStringsThatAreFollowedIntoTheirHeap) {
  run(R"(
for name, low, block in ('index', 'v110', None), ('block', 'earliest', 512), ('both', 'v110', 512):
    with h5py.File(name + '.h5', 'w', libver=(low, 'v110'), userblock_size=block) as f:
        f.create_dataset('key', data=['aa', 'bb', 'cc'], dtype=h5py.string_dtype(), chunks=(2,), maxshape=(None,))
        f['value'] = np.ones((3, 1), 'f4')
)");
  for (const std::string name : {"index.h5", "block.h5", "both.h5"}) {
    EXPECT_EQ(FeatureFile::open(folder_ / name).keys().size(), 3U);
    std::string bytes = file_contents(folder_ / name);
    const std::size_t heap = bytes.find("GCOL");
    ASSERT_NE(heap, std::string::npos);
    bytes[heap + 16 + 8] = '\x7F';  // the length of its first object
    const std::string path = folder_.write("broken.h5", bytes);
    expect_error(Cause::data, {path, "damaged near byte"}, [&] { FeatureFile::open(path); });
  }
}

TEST_F(Python, NewerLayoutsAreNamedSoAndAreNoDamage) {
  run(R"(
with h5py.File('newer.h5', 'w', libver='latest') as f:
    f['plain'] = np.ones(3, 'f4')
    f.create_dataset('packed', data=np.ones((50, 2)), chunks=(5, 2), compression='gzip')
    f.create_group('group')['inside'] = [1, 2]
    f.create_dataset('lzf', data=np.ones(50), compression='lzf')
with h5py.File('lzf.h5', 'w') as f:
    f.create_dataset('lzf', data=np.ones(50), compression='lzf')
)");
  const std::string path = folder_ / "newer.h5";
  const Hdf5File file = Hdf5File::open(path);
  EXPECT_EQ(file.read<float>("plain"), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(file.read<std::int64_t>("group/inside"), (std::vector<std::int64_t>{1, 2}));
  expect_error(
      Cause::data,
      {path + ":/packed is laid out in a way that is newer than HDF5 1.10 reads",
       "version 5 of a layout", "libver=('earliest', 'v110')", "h5repack --low=0 --high=2"},
      [&] { file.read<double>("packed"); });
  const Hdf5File other = Hdf5File::open(folder_ / "lzf.h5");
  expect_error(Cause::data, {":/lzf", "'lzf'", "gzip"}, [&] { other.read<double>("lzf"); });
  std::string bytes = file_contents(path);
  const std::size_t header = bytes.find("OHDR", bytes.find("OHDR") + 1);
  ASSERT_NE(header, std::string::npos);
  bytes[header + 40] ^= 1;  // is damage even there, by the header's checksum
  expect_error(Cause::data, {"damaged near byte", "checksum"},
               [&] { Hdf5File::open(folder_.write("broken.h5", bytes)); });
}

TEST_F(Python, WhatIsInOtherFilesIsNamedAndTheRestIsRead) {
  run(R"(
with h5py.File('other.h5', 'w') as f:
    f['value'] = np.ones((3, 1), 'f4')
open('raw.bin', 'wb').write(bytes(12))
with h5py.File('a.h5', 'w', libver=('earliest', 'v110')) as f:
    f['real/value'] = np.full((3, 1), 7, 'f4')
    layout = h5py.VirtualLayout(shape=(3, 1), dtype='f4')
    layout[:] = h5py.VirtualSource('other.h5', 'value', shape=(3, 1))
    f.create_virtual_dataset('virtual', layout)
    f.create_dataset('raw', shape=(3,), dtype='f4', external=[('raw.bin', 0, 12)])
    f['external'] = h5py.ExternalLink('other.h5', '/value')
    f['outside'] = h5py.ExternalLink('other.h5', '/')
    f['through'] = h5py.SoftLink('/outside/value')
    f['soft'] = h5py.SoftLink('short/./value')
    f['short'] = h5py.SoftLink('/real')
    f['dangling'] = h5py.SoftLink('/real/nothing')
    f['circle'] = h5py.SoftLink('circle')
)");
  const std::string path = folder_ / "a.h5";
  const Hdf5File file = Hdf5File::open(path);
  EXPECT_EQ(file.read<float>("real/value"), (std::vector<float>{7, 7, 7}));
  EXPECT_EQ(file.read<float>("soft"), (std::vector<float>{7, 7, 7}));
  EXPECT_FALSE(file.exists("nothing"));
  const auto refuse = [&](const std::string& name, const std::vector<std::string>& parts) {
    for (const bool looks_only : {true, false}) {
      expect_error(Cause::data, parts,
                   [&] { looks_only ? void(file.is_dataset(name)) : void(file.info(name)); });
    }
  };
  refuse("virtual",
         {path + ":/virtual is a virtual dataset", "'other.h5':'value'", "put the data"});
  refuse("raw", {path + ":/raw has its elements in other files", "'raw.bin'", "put the data"});
  refuse("external", {path + ":/external is a link into another file ('/value' of 'other.h5')"});
  refuse("through", {path + ":/outside is a link into another file"});
  refuse("dangling",
         {path + ":/dangling is a soft link to '/real/nothing', where there is nothing"});
  refuse("circle", {path + ":/circle", "more than 16 soft links"});
}

TEST_F(Python, AFileThatIsBeingWrittenIsToldFromADamagedOne) {
  run(R"(
with h5py.File('good.h5', 'w', libver='v110') as f:
    f['value'] = 1
if os.fork() == 0:
    f = h5py.File('died.h5', 'w', libver='v110')
    f['value'] = 1
    f.flush()
    os._exit(0)
os.wait()
)");
  EXPECT_NO_THROW(Hdf5File::open(folder_ / "good.h5"));
  expect_error(Cause::data, {"died.h5 says that a program is writing to it", "h5clear -s"},
               [&] { Hdf5File::open(folder_ / "died.h5"); });
}

TEST_F(Python, WritesChecksumsThatWeCompare) {
  run(R"(
import zlib
keys, values = ['x', 'caf\u00e9', 'z'], np.arange(6, dtype='<f4').reshape(3, 2) / 7
for name, type in ('whole', 'f4'), ('doubles', 'f8'), ('key', 'f4'), ('value', 'f4'):
    with h5py.File(name + '.h5', 'w') as f:
        f['key'] = [*keys[:2], 'y'] if name == 'key' else keys
        f['value'] = (values + (1e-7 if name == 'value' else 0)).astype(type)
        f['key'].attrs['crc32'] = zlib.crc32(b''.join(key.encode() + b'\0' for key in keys))
        f['value'].attrs['crc32'] = zlib.crc32(values.tobytes())
)");
  EXPECT_EQ(FeatureFile::open(folder_ / "whole.h5").keys().size(), 3U);
  EXPECT_EQ(FeatureFile::open(folder_ / "doubles.h5").keys().size(), 3U);
  for (const std::string name : {"key", "value"}) {
    const std::string path = folder_ / (name + ".h5");
    expect_error(Cause::data, {path + ":/" + name, "not what was written", "CRC-32"},
                 [&] { FeatureFile::open(path); });
  }
}

TEST_F(Python, WritesNpyThatWeRead) {
  run(R"(
values = np.random.default_rng(0).standard_normal((50, 7))
for kind in ('f2', 'f4', 'f8'):
    np.save(kind + '.npy', values.astype(kind))
    values.astype(kind).astype('f4').tofile(kind + '.raw')
np.save('fortran.npy', np.asfortranarray(values))
np.save('big.npy', values.astype('>f4'))
np.lib.format.write_array(open('v2.npy', 'wb'), values.astype('f4'), version=(2, 0))
)");
  for (const std::string kind : {"f2", "f4", "f8"}) {
    const NpyFile file = NpyFile::open(folder_ / (kind + ".npy"));
    ASSERT_EQ(file.shape(), (std::vector<std::int64_t>{50, 7}));
    std::string got(50 * 7 * sizeof(float), '\0');
    std::vector<float> values(50 * 7);
    file.read_rows({0, 50}, values.data());
    std::memcpy(got.data(), values.data(), got.size());
    EXPECT_EQ(got, file_contents(folder_ / (kind + ".raw"))) << kind;
  }
  EXPECT_EQ(NpyFile::open(folder_ / "v2.npy").shape(), (std::vector<std::int64_t>{50, 7}));
  expect_error(Cause::data, {"Fortran order"}, [&] { NpyFile::open(folder_ / "fortran.npy"); });
  expect_error(Cause::data, {"'>f4'"}, [&] { NpyFile::open(folder_ / "big.npy"); });
}

}  // namespace
}  // namespace micrec
