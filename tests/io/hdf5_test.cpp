#include "io/hdf5.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include "base/parallel.h"
#include "base/text.h"
#include "tests/io/files.h"
#include "tests/support/hdf5_edit.h"

namespace micrec {
namespace {

template <typename T>
std::vector<T> some_values(std::int64_t count) {
  std::vector<T> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<T>(i * 37 % 251));
  if (count > 1) values[0] = std::numeric_limits<T>::lowest();
  if (count > 1) values[1] = std::numeric_limits<T>::max();
  return values;
}

template <typename T>
class Hdf5Numbers : public testing::Test {};
using NumberTypes = testing::Types<std::int32_t, std::int64_t, std::uint8_t, float, double>;
TYPED_TEST_SUITE(Hdf5Numbers, NumberTypes);

TYPED_TEST(Hdf5Numbers, ComeBackFromEveryLayout) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  const auto values = some_values<TypeParam>(60);
  {
    Hdf5File file = Hdf5File::create(path);
    file.write("plain", values);
    file.write("/deep/er/table", values.data(), {12, 5}, {.compress = true});
    file.write("deeper", values.data(), {4, 3, 5}, {.compress = true});
    file.write("none", std::vector<TypeParam>{});
    file.write("flat", values.data(), {7, 0});
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path);
  EXPECT_EQ(file.read<TypeParam>("/plain"), values);
  EXPECT_EQ(file.read<TypeParam>("deep/er/table"), values);
  EXPECT_EQ(file.read<TypeParam>("deeper"), values);
  EXPECT_TRUE(file.read<TypeParam>("none").empty());
  EXPECT_TRUE(file.read<TypeParam>("flat").empty());
  EXPECT_EQ(file.info("/deep/er/table").shape, (std::vector<std::int64_t>{12, 5}));
  EXPECT_EQ(file.info("/deep/er/table").type, hdf5_type_of<TypeParam>());
  EXPECT_EQ(file.info("deeper").row_elements(), 15);
  for (const Range rows : {Range{0, 12}, Range{3, 4}, Range{11, 12}, Range{5, 5}, Range{2, 9}}) {
    std::vector<TypeParam> part(static_cast<std::size_t>(rows.size() * 5));
    file.read_rows("deep/er/table", rows, part.data());
    EXPECT_EQ(part, std::vector<TypeParam>(values.begin() + rows.begin * 5,
                                           values.begin() + rows.end * 5));
  }
}

TYPED_TEST(Hdf5Numbers, AreReservedAsZerosAndFilledByRows) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  const auto values = some_values<TypeParam>(6);
  {
    Hdf5File file = Hdf5File::create(path);
    file.reserve<TypeParam>("x", {5, 3});
    file.reserve<TypeParam>("untouched", {1000});
    file.write_rows("x", {1, 3}, values.data());
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path);
  std::vector<TypeParam> expected(15, TypeParam{0});
  std::copy(values.begin(), values.end(), expected.begin() + 3);
  EXPECT_EQ(file.read<TypeParam>("x"), expected);
  EXPECT_EQ(file.read<TypeParam>("untouched"), std::vector<TypeParam>(1000, TypeParam{0}));
}

TEST(Hdf5, StreamsMoreRowsThanItHoldsInMemory) {
  const TemporaryFolder folder;
  const std::string path = folder / "long.h5";
  constexpr std::int64_t kBlock = 1 << 16;
  constexpr std::int64_t kBlocks = 64;
  std::vector<std::int64_t> block(kBlock);
  {
    Hdf5File file = Hdf5File::create(path);
    file.reserve<std::int64_t>("/long", {kBlock * kBlocks}, {.compress = true});
    for (std::int64_t i = 0; i < kBlocks; ++i) {
      std::iota(block.begin(), block.end(), i * kBlock);
      file.write_rows("/long", {i * kBlock, (i + 1) * kBlock}, block.data());
    }
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path);
  ASSERT_EQ(file.info("/long").rows(), kBlock * kBlocks);
  std::int64_t wrong = 0;
  for (std::int64_t begin = 5; begin < kBlock * kBlocks; begin += kBlock) {
    const Range rows{begin, std::min(begin + kBlock, kBlock * kBlocks)};
    file.read_rows("/long", rows, block.data());
    for (std::int64_t i = 0; i < rows.size(); ++i)
      wrong += block[static_cast<std::size_t>(i)] == begin + i ? 0 : 1;
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Hdf5, ReadsIntegersFromNarrowerOnesAndFloatsFromFloats) {
  const TemporaryFolder folder;
  Hdf5File file = Hdf5File::create(folder / "a.h5");
  file.write("small", std::vector<std::uint8_t>{0, 255});
  file.write("int", std::vector<std::int32_t>{-5, 7});
  file.write("long", std::vector<std::int64_t>{-5, 7});
  file.write("float", std::vector<float>{0.5F, 1e30F});
  file.write("double", std::vector<double>{0.1, -2.0});
  EXPECT_EQ(file.read<std::int32_t>("small"), (std::vector<std::int32_t>{0, 255}));
  EXPECT_EQ(file.read<std::int64_t>("int"), (std::vector<std::int64_t>{-5, 7}));
  EXPECT_EQ(file.read<float>("double"), (std::vector<float>{0.1F, -2.0F}));
  EXPECT_EQ(file.read<double>("float"), (std::vector<double>{0.5, double{1e30F}}));
  expect_error(Cause::data, {"a.h5:/long", "expected int32, got int64"},
               [&] { file.read<std::int32_t>("long"); });
  expect_error(Cause::data, {"a.h5:/int", "expected float32, got int32"},
               [&] { file.read<float>("int"); });
  expect_error(Cause::data, {"expected uint8, got int32"}, [&] { file.read<std::uint8_t>("int"); });
  expect_error(Cause::data, {"expected text, got int32"}, [&] { file.read_text("int"); });
}

TEST(Hdf5, KeepsStringsOfAnyLength) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  const std::vector<std::string> keys = {"B00004S1C5", "", "caf\xC3\xA9", "A2", " padded "};
  std::vector<std::string> uneven(1000, "x");
  uneven[500] = std::string(100'000, 'y');
  std::vector<std::string> many;
  for (int i = 0; i < 40'000; ++i) many.push_back(text("key-", i));
  {
    Hdf5File file = Hdf5File::create(path);
    file.write_text("keys", keys);
    file.write_text("packed", many, {.compress = true});
    file.write_text("uneven", uneven);
    file.write_text("none", {});
    file.close();
  }
  EXPECT_LT(std::filesystem::file_size(path), 3U << 20)
      << "one long string must not pad the others";
  const Hdf5File file = Hdf5File::open(path);
  EXPECT_EQ(file.read_text("keys"), keys);
  EXPECT_EQ(file.read_text("packed"), many);
  EXPECT_EQ(file.read_text("uneven"), uneven);
  EXPECT_TRUE(file.read_text("none").empty());
  EXPECT_EQ(file.info("keys").type, Hdf5Type::text);
}

TEST(Hdf5, RefusesAStringWithAZeroByte) {
  const TemporaryFolder folder;
  Hdf5File file = Hdf5File::create(folder / "a.h5");
  expect_error(Cause::data, {"a.h5:/keys", "row 1", "zero byte"}, [&] {
    file.write_text("keys", {"fine", std::string("no\0t", 4)});
  });
}

TEST(Hdf5, KeepsAttributesOfFilesGroupsAndDatasets) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  {
    Hdf5File file = Hdf5File::create(path);
    file.make_group("/g/h");
    file.write("/g/d", std::vector<float>{1});
    file.set_attribute("/", "format", "micrec");
    file.set_attribute("/", "format", std::string("replaced \xC3\xA9"));
    file.set_attribute("/", "empty", "");
    file.set_attribute("/g/h", "version", 3);
    file.set_attribute("/g/h", "large", std::int64_t{1} << 60);
    file.set_attribute("/g/d", "rows", 1);
    file.set_attribute("/g", "weight", 0.3);
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path);
  EXPECT_EQ(file.text_attribute("/", "format"), "replaced \xC3\xA9");
  EXPECT_EQ(file.text_attribute("/", "empty"), "");
  EXPECT_EQ(file.integer_attribute("g/h", "version"), 3);
  EXPECT_EQ(file.integer_attribute("/g/h", "large"), std::int64_t{1} << 60);
  EXPECT_EQ(file.integer_attribute("/g/d", "rows"), 1);
  EXPECT_EQ(file.number_attribute("/g", "weight"), 0.3);
  EXPECT_TRUE(file.has_attribute("/g/h", "version"));
  EXPECT_FALSE(file.has_attribute("/g/h", "versoin"));
  EXPECT_FALSE(file.has_attribute("/none", "version"));
  expect_error(Cause::data, {"a.h5:/@absent", "no such attribute"},
               [&] { file.text_attribute("/", "absent"); });
  expect_error(Cause::data, {"/@format", "expected one integer, got 1 of text"},
               [&] { file.integer_attribute("/", "format"); });
  expect_error(Cause::data, {"/g/d@rows", "expected one number, got 1 of int64"},
               [&] { file.number_attribute("/g/d", "rows"); });
  expect_error(Cause::data, {"/g/d@rows", "expected one string, got 1 of int64"},
               [&] { file.text_attribute("/g/d", "rows"); });
  expect_error(Cause::data, {"/nowhere", "no such group or dataset", "/ has g"},
               [&] { file.text_attribute("/nowhere", "x"); });
}

TEST(Hdf5, TellsWhatIsThere) {
  const TemporaryFolder folder;
  Hdf5File file = Hdf5File::create(folder / "a.h5");
  file.write("/domains/food/train/user", std::vector<std::int32_t>{1, 2, 3});
  file.write("/domains/beauty/width", std::vector<std::int32_t>{1});
  EXPECT_EQ(file.children("/domains"), (std::vector<std::string>{"beauty", "food"}));
  EXPECT_EQ(file.children("/"), (std::vector<std::string>{"domains"}));
  EXPECT_TRUE(file.exists("/domains/food"));
  EXPECT_TRUE(file.exists("domains/food/train/user"));
  EXPECT_FALSE(file.exists("/domains/food/valid/user"));
  EXPECT_FALSE(file.exists("/domains/food/train/user/deeper"));
  EXPECT_TRUE(file.is_dataset("/domains/food/train/user"));
  EXPECT_FALSE(file.is_dataset("/domains/food/train"));
  EXPECT_FALSE(file.is_dataset("/nowhere"));
  EXPECT_EQ(file.expect_shape("/domains/food/train/user", {-1}), (std::vector<std::int64_t>{3}));

  const auto read = [&](const char* name) { file.read<std::int32_t>(name); };
  expect_error(Cause::data,
               {"a.h5:/domains/toys/x", "no such dataset", "/domains has beauty, food"},
               [&] { read("/domains/toys/x"); });
  expect_error(Cause::data, {"/domains/food", "expected a dataset, got a group"},
               [&] { read("/domains/food"); });
  expect_error(Cause::data, {"expected a group"},
               [&] { file.children("/domains/food/train/user"); });
  expect_error(Cause::data, {"expected shape (any, 2), got (3)"}, [&] {
    file.expect_shape("/domains/food/train/user", {-1, 2});
  });
  expect_error(Cause::data, {"expected shape (4), got (3)"},
               [&] { file.expect_shape("/domains/food/train/user", {4}); });
  expect_error(Cause::data, {"exists already"},
               [&] { file.write("/domains/food/train/user", std::vector<float>{1}); });
  expect_error(Cause::data, {"/domains", "exists already"}, [&] { file.make_group("/domains"); });
  std::int32_t one[4];
  expect_error(Cause::data, {"rows 1 to 5", "it has 3 rows"}, [&] {
    file.read_rows("/domains/food/train/user", {1, 5}, one);
  });
}

TEST(Hdf5, MakesEqualFilesOfEqualContents) {
  const TemporaryFolder folder;
  for (const char* name : {"a.h5", "b.h5"}) {
    Hdf5File file = Hdf5File::create(folder / name);
    file.write("/g/x", std::vector<float>(1000, 1.5F), {.compress = true});
    file.write_text("/g/key", {"a", "b"});
    file.set_attribute("/g", "n", 1);
    file.close();
  }
  EXPECT_EQ(file_contents(folder / "a.h5"), file_contents(folder / "b.h5"));
}

TEST(Hdf5, MakesEqualFilesAtAnyNumberOfThreadsAndOfRowsAtATime) {
  const TemporaryFolder folder;
  constexpr std::int64_t kRows = 300'001;  // a chunk has 65,536 elements
  std::vector<std::int32_t> values(static_cast<std::size_t>(2 * kRows));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>(i * i % 1'000'003);
  std::string expected;
  for (const int threads : {1, 3}) {
    for (const std::int64_t step : {kRows, std::int64_t{32'768}, std::int64_t{1'000}}) {
      const ComputeThreads scope(threads);
      Hdf5File file = Hdf5File::create(folder / "a.h5");
      file.reserve<std::int32_t>("x", {kRows, 2}, {.compress = true});
      for (std::int64_t begin = 0; begin < kRows; begin += step) {
        file.write_rows("x", {begin, std::min(begin + step, kRows)}, values.data() + 2 * begin);
      }
      file.close();
      const std::string bytes = file_contents(folder / "a.h5");
      if (expected.empty()) expected = bytes;
      EXPECT_TRUE(bytes == expected) << threads << " threads, " << step << " rows at a time";
      EXPECT_EQ(Hdf5File::open(folder / "a.h5").read<std::int32_t>("x"), values);
    }
  }
  EXPECT_LT(expected.size(), values.size() * sizeof(std::int32_t) * 9 / 10);
}

TEST(Hdf5, PacksNumbersWhoseLowBytesAreNoise) {
  const TemporaryFolder folder;
  std::mt19937_64 noise(1);
  for (const std::size_t rows : {1UL, 1'000UL, 100'000UL}) {
    for (int bytes = 0; bytes <= 8; ++bytes) {
      SCOPED_TRACE(text(rows, " numbers of ", bytes, " random bytes"));
      const std::uint64_t mask = bytes == 8 ? ~0UL : (1UL << 8 * bytes) - 1;
      std::vector<std::int64_t> values(rows);
      for (std::int64_t& value : values) value = static_cast<std::int64_t>(noise() & mask);
      Hdf5File file = Hdf5File::create(folder / "a.h5");
      file.write("x", values, {.compress = true});
      file.close();
      EXPECT_EQ(Hdf5File::open(folder / "a.h5").read<std::int64_t>("x"), values);
      const std::size_t numbers = (rows + 65'535) / 65'536 * 65'536;  // of whole chunks
      EXPECT_LT(file_contents(folder / "a.h5").size(), numbers * bytes * 101 / 100 + 12'000);
    }
  }
}

TEST(Hdf5, ServesManyThreads) {
  const TemporaryFolder folder;
  {
    Hdf5File file = Hdf5File::create(folder / "shared.h5");
    std::vector<std::int32_t> values(10'000);
    std::iota(values.begin(), values.end(), 0);
    file.write("x", values, {.compress = true});
    file.close();
  }
  const Hdf5File shared = Hdf5File::open(folder / "shared.h5");
  std::vector<int> wrong(8, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Hdf5File own = Hdf5File::create(folder / text("own-", t, ".h5"));
      for (int i = 0; i < 50; ++i) {
        std::int32_t rows[100];
        const std::int64_t begin = (t * 997 + i * 131) % 9900;
        shared.read_rows("x", {begin, begin + 100}, rows);
        for (int k = 0; k < 100; ++k)
          wrong[static_cast<std::size_t>(t)] += rows[k] == begin + k ? 0 : 1;
        own.write(text("/x/", i), rows, {100});
      }
      own.close();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(8, 0));
}

TEST(Hdf5, RefusesFilesThatAreNotThereOrNotHdf5) {
  const TemporaryFolder folder;
  expect_error(Cause::io, {folder / "none.h5", "No such file"},
               [&] { Hdf5File::open(folder / "none.h5"); });
  expect_error(Cause::io, {"Is a directory"}, [&] { Hdf5File::open(folder / ""); });
  const std::string other = folder.write("other.h5", "user_id,item_id\n1,2\n");
  expect_error(Cause::data, {other, "not an HDF5 file"}, [&] { Hdf5File::open(other); });
  expect_error(Cause::data, {"not an HDF5 file"},
               [&] { Hdf5File::open(folder.write("empty.h5", "")); });
  expect_error(Cause::io, {"no/folder/a.h5", "cannot write", "No such file or directory"},
               [&] { Hdf5File::create(folder / "no/folder/a.h5"); });
}

TEST(Hdf5, RefusesACutOffFileAtAnyLength) {
  const TemporaryFolder folder;
  const std::string path = folder / "whole.h5";
  std::vector<float> values(5000);
  std::iota(values.begin(), values.end(), 0.0F);
  {
    Hdf5File file = Hdf5File::create(path);
    file.write_text("key", std::vector<std::string>(100, "some key"));
    file.write("packed", values, {.compress = true});
    file.write("value", values);
    file.close();
  }
  const std::string whole = file_contents(path);
  for (std::size_t size = 0; size < whole.size(); size += 509) {
    folder.write("cut.h5", whole.substr(0, size));
    expect_error(Cause::data, {folder / "cut.h5"}, [&] { Hdf5File::open(folder / "cut.h5"); });
  }
}

TEST(Hdf5, RefusesDamagedCompressedRows) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  {
    Hdf5File file = Hdf5File::create(path);
    std::vector<float> values(20'000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
    file.write("packed", values, {.compress = true});
    file.close();
  }
  std::string bytes = file_contents(path);
  const std::size_t middle = bytes.size() / 2;  // the numbers take nearly all of the file
  for (std::size_t i = middle; i < middle + 8; ++i) bytes[i] = static_cast<char>(~bytes[i]);
  set_file_contents(path, bytes);
  const Hdf5File file = Hdf5File::open(path);
  expect_error(Cause::data, {path + ":/packed: reading failed: ", "inflate", "may be damaged"},
               [&] { file.read<float>("packed"); });
}

TEST(Hdf5, RefusesSizesThatTheFileCannotHold) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  constexpr std::int64_t kMark =
      0x1122334455;  // a size that is found again in the bytes of the file
  {
    Hdf5File::create(path).close();
    Hdf5Edit(path).add_chunked("x", std::vector<float>(1000, 1.0F), 1, 1000);
  }
  std::string bytes = file_contents(path);
  const std::int64_t rows = 1000;
  const std::string stored(reinterpret_cast<const char*>(&rows), 8);
  const std::size_t at = bytes.find(stored);
  ASSERT_NE(at, std::string::npos);
  std::memcpy(bytes.data() + at, &kMark, 8);
  set_file_contents(path, bytes);
  const Hdf5File file = Hdf5File::open(path);
  expect_error(Cause::data,
               {path + ":/x", text("claims to be (", kMark, ", 1) of 4 bytes each"), "cannot hold",
                "damaged"},
               [&] { file.read<float>("x"); });
}

[[noreturn]] void write_past_a_limit(const std::string& path) {
  signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1 << 20, 1 << 20};
  setrlimit(RLIMIT_FSIZE, &limit);
  try {
    Hdf5File file = Hdf5File::create(path);
    file.write("x", std::vector<float>(1 << 20, 1.0F));
    file.close();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", name_of(error.cause()), error.what());
    _exit(static_cast<int>(error.cause()));
  }
  _exit(1);
}

TEST(Hdf5DeathTest, SaysSoWhenTheDiskIsFull) {
  const TemporaryFolder folder;
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  // In a process of its own, because the limit stays with the process.
  EXPECT_EXIT(write_past_a_limit(folder / "a.h5"),
              testing::ExitedWithCode(static_cast<int>(Cause::io)),
              "file system: .*a.h5.*cannot be written: .*File too large.*disk full");
}

TEST(Hdf5DeathTest, WritingToAFileOpenedForReadingIsABug) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.h5";
  Hdf5File::create(path).close();
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(Hdf5File::open(path).write("x", std::vector<float>{1}), "opened for reading only");
}

}  // namespace
}  // namespace micrec
