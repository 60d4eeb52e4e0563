// What Python writes we read, and what we write Python reads.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "io/feature_file.h"
#include "io/hdf5.h"
#include "io/npy.h"
#include "tests/io/files.h"

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
    const std::string script = folder_.write("program.py", "import h5py, numpy as np\n" + program);
    const std::string command =
        text("cd '", folder_ / "", "' && '", MICREC_PYTHON, "' '", script, "'");
    ASSERT_EQ(std::system(command.c_str()), 0) << program;
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
    file.set_attribute("/", "mean", std::vector<float>{0.5F, 1.5F});
    file.write_text("/domains/food/key", {"B1", "caf\xC3\xA9", ""});
    file.write_text("/long", {"a", std::string(500, 'b')}, {.extendable = true});
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    file.write("/value", values.data(), {3, 2}, {.extendable = true, .compress = true});
    file.write("/row", std::vector<std::int64_t>{1LL << 40});
    file.write("/present", std::vector<std::uint8_t>{1, 0});
    file.close();
  }
  run(R"(
f = h5py.File('ours.h5')
assert f.attrs['format'] == 'micr\u00e9c', f.attrs['format']
assert f.attrs['version'] == 3
assert f.attrs['mean'].dtype == 'f4' and f.attrs['mean'].tolist() == [0.5, 1.5]
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
    f.attrs['x'] = 0.25
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
  EXPECT_EQ(file.real_attribute("/", "x"), 0.25);
  expect_error([&] { file.read<std::uint8_t>("bool"); }, Cause::data,
               {"/bool", "expected uint8, got another type"});
  std::int64_t one = 0;
  expect_error(
      [&] {
        file.read_rows("scalar", {0, 1}, &one);
      },
      Cause::data, {"/scalar", "expected rows, got a single value"});
  expect_error([&] { file.read<float>("huge"); }, Cause::data,
               {"/huge", "claims to be (1099511627776)", "cannot hold"});
  EXPECT_EQ(FeatureFile::open(folder_ / "theirs.h5").width(), 2);
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
    EXPECT_EQ(got, TemporaryFolder::read(folder_ / (kind + ".raw"))) << kind;
  }
  EXPECT_EQ(NpyFile::open(folder_ / "v2.npy").shape(), (std::vector<std::int64_t>{50, 7}));
  expect_error([&] { NpyFile::open(folder_ / "fortran.npy"); }, Cause::data, {"Fortran order"});
  expect_error([&] { NpyFile::open(folder_ / "big.npy"); }, Cause::data, {"'>f4'"});
}

}  // namespace
}  // namespace micrec
