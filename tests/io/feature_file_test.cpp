#include "io/feature_file.h"

#include <limits>

#include "base/text.h"
#include "io/hdf5.h"
#include "tests/io/files.h"
#include "tests/support/feature_file.h"

namespace micrec {
namespace {

std::vector<float> read(const FeatureFile& file, Range rows) {
  std::vector<float> out(static_cast<std::size_t>(rows.size() * file.width()));
  file.read_rows(rows, out.data());
  return out;
}

/// A file with these keys and (rows, width) values; `change` may add or leave out.
std::string write(const TemporaryFolder& folder, const std::vector<std::string>& keys,
                  const std::vector<float>& values, const std::vector<std::int64_t>& shape) {
  const std::string path = folder / "a.h5";
  Hdf5File file = Hdf5File::create(path);
  file.write_text("/key", keys);
  file.write("/value", values.data(), shape);
  file.close();
  return path;
}

TEST(FeatureFile, ComesBackAsWritten) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  write_feature_file(path, {"x", "y", "z"}, 2, values.data());
  const FeatureFile file = FeatureFile::open(path);
  EXPECT_EQ(file.width(), 2);
  EXPECT_EQ(file.keys(), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_EQ(read(file, {0, 3}), values);
  EXPECT_EQ(read(file, {1, 2}), (std::vector<float>{3, 4}));
  write_feature_file(folder / "none.h5", {}, 7, nullptr);
  EXPECT_EQ(FeatureFile::open(folder / "none.h5").width(), 7);
}

TEST(FeatureFile, IsReadFromMemoryAsFromAFile) {
  const FeatureFile file = FeatureFile::of("what was told", {"x", "y", "z"}, 2, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(file.width(), 2);
  EXPECT_EQ(read(file, {1, 3}), (std::vector<float>{3, 4, 5, 6}));
  EXPECT_THROW(FeatureFile::of("what was told", {"x", "x"}, 1, {1, 2}), Error);
}

TEST(FeatureFile, TakesDoublesAndNpyBesideKeys) {
  const TemporaryFolder folder;
  {
    Hdf5File file = Hdf5File::create(folder / "d.h5");
    file.write_text("key", {"x", "y"});
    const double values[] = {0.1, 2};
    file.write("value", values, {2, 1});
    file.close();
  }
  EXPECT_EQ(read(FeatureFile::open(folder / "d.h5"), {0, 2}), (std::vector<float>{0.1F, 2}));
  const std::string header =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }                                 "
      "     \n";
  const float values[] = {1.5F, -2};
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size());
  bytes += '\0';
  bytes += header + std::string(reinterpret_cast<const char*>(values), sizeof values);
  const std::string path = folder.write("n.npy", bytes);
  folder.write("n.keys.txt", "one\r\ntwo\n");
  const FeatureFile file = FeatureFile::open(path);
  EXPECT_EQ(file.keys(), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(read(file, {0, 2}), (std::vector<float>{1.5F, -2}));
  folder.write("n.keys.txt", "one\n");
  expect_error(Cause::data, {path, "1 keys in " + (folder / "n.keys.txt"), "but 2 rows"},
               [&] { FeatureFile::open(path); });
  std::filesystem::remove(folder / "n.keys.txt");
  expect_error(Cause::io, {folder / "n.keys.txt", "No such file"},
               [&] { FeatureFile::open(path); });
}

TEST(FeatureFile, NamesTheFirstValueThatIsNotFinite) {
  const TemporaryFolder folder;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string path = write(folder, {"x", "y", "z"}, {1, 2, 3, 4, 5, bad}, {3, 2});
    const FeatureFile file = FeatureFile::open(path);
    EXPECT_EQ(read(file, {0, 2}), (std::vector<float>{1, 2, 3, 4}));
    expect_error(
        Cause::data,
        {path + ": row 2 (key 'z'), column 1", "expected a finite number, got ", text(bad)}, [&] {
          read(file, {1, 3});
        });
  }
}

TEST(FeatureFile, TellsAValueTooLargeForFloat32FromAnInfiniteOne) {
  const TemporaryFolder folder;
  const double values[] = {1, -1e300};
  {
    Hdf5File file = Hdf5File::create(folder / "d.h5");
    file.write_text("key", {"x", "y"});
    file.write("value", values, {2, 1});
    file.close();
  }
  const std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }\n";
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size());
  bytes += '\0';
  bytes += header + std::string(reinterpret_cast<const char*>(values), sizeof values);
  folder.write("n.npy", bytes);
  folder.write("n.keys.txt", "x\ny\n");
  for (const char* name : {"d.h5", "n.npy"}) {
    const FeatureFile file = FeatureFile::open(folder / name);
    expect_error(
        Cause::data,
        {folder / name, "row 1 (key 'y'), column 0", "got -1e+300", "too large for float32"}, [&] {
          read(file, {0, 2});
        });
  }
}

// Every bit of keys and values counts; a file of somebody else has no checksum to tell by.
TEST(FeatureFile, NoTurnedBitOfKeysOrValuesIsTaken) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  write_feature_file(path, {"one", "two", "six"}, 2, values.data());
  const std::string whole = file_contents(path);
  const std::string rows(reinterpret_cast<const char*>(values.data()), 6 * sizeof(float));
  for (const std::string& part : {std::string("onetwosix"), rows}) {
    const std::size_t begin = whole.find(part);
    ASSERT_NE(begin, std::string::npos);
    for (std::size_t bit = 0; bit < 8 * part.size(); ++bit) {
      std::string bytes = whole;
      bytes[begin + bit / 8] = static_cast<char>(bytes[begin + bit / 8] ^ (1 << bit % 8));
      folder.write("a.h5", bytes);
      expect_error(Cause::data, {path, "not what was written"}, [&] { FeatureFile::open(path); });
    }
  }
}

TEST(FeatureFile, RefusesMalformedFiles) {
  const TemporaryFolder folder;
  const auto open = [&] { FeatureFile::open(folder / "a.h5"); };
  write(folder, {"x", "y", "x"}, {1, 2, 3}, {3, 1});
  expect_error(Cause::data,
               {folder / "a.h5", "rows 0 and 2 both have the key 'x'", "each item once"}, open);
  write(folder, {"x", ""}, {1, 2}, {2, 1});
  expect_error(Cause::data, {"the key of row 1 is empty"}, open);
  write(folder, {"x", "y"}, {1, 2, 3}, {3, 1});
  expect_error(Cause::data, {"2 keys, but 3 rows of values"}, open);
  write(folder, {"x", "y"}, {1, 2}, {2});
  expect_error(Cause::data, {"expected a table (items, width), got an array of 1 dimensions"},
               open);
  write(folder, {"x", "y"}, {}, {2, 0});
  expect_error(Cause::data, {"no columns"}, open);
  {
    Hdf5File file = Hdf5File::create(folder / "a.h5");
    file.write_text("/keys", {"x"});
    file.write("/value", std::vector<float>{1});
    file.close();
  }
  expect_error(Cause::data, {"no dataset /key", "got keys, value", "encode_features.py"}, open);
  {
    Hdf5File file = Hdf5File::create(folder / "a.h5");
    file.write_text("/key", {"x"});
    const std::int32_t one = 1;
    file.write("/value", &one, {1, 1});
    file.close();
  }
  expect_error(Cause::data, {"a.h5:/value", "expected floats, got int32"}, open);
  {
    Hdf5File file = Hdf5File::create(folder / "a.h5");
    file.write("/key", std::vector<std::int64_t>{1});
    const float one = 1;
    file.write("/value", &one, {1, 1});
    file.close();
  }
  expect_error(Cause::data, {"a.h5:/key", "expected text, got int64"}, open);
  folder.write("a.h5", "key,value\n");
  expect_error(Cause::data, {"not an HDF5 file"}, open);
  for (const char* name : {"x.npz", "x.csv", "empty.h5"}) {
    const std::string other = folder.write(name, name[0] == 'e' ? "" : "PK\x03\x04 or key,value\n");
    expect_error(Cause::data,
                 {other, "not an HDF5 file", "NAME.h5 with /key and /value",
                  "NAME.npy beside NAME.keys.txt"},
                 [&] { FeatureFile::open(other); });
  }
  expect_error(Cause::io, {"No such file"}, [&] { FeatureFile::open(folder / "none.h5"); });
}

}  // namespace
}  // namespace micrec
