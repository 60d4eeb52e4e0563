#include "io/npy.h"

#include <cmath>
#include <cstring>

#include "base/text.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

/// A .npy file as the format's description has it: the header padded with spaces, ending in a
/// newline.
std::string npy(const std::string& header, const std::string& data, int version = 1) {
  const std::size_t prefix = version == 1 ? 10 : 12;
  std::string padded = header;
  while ((prefix + padded.size() + 1) % 64 != 0) padded += ' ';
  padded += '\n';
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  for (std::size_t i = 0; i < prefix - 8; ++i)
    out += static_cast<char>(padded.size() >> (8 * i) & 0xFF);
  return out + padded + data;
}

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

std::string header(const std::string& type, const std::string& shape,
                   const std::string& fortran = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

std::vector<float> read(const NpyFile& file, Range rows, std::int64_t width) {
  std::vector<float> out(static_cast<std::size_t>(rows.size() * width));
  file.read_rows(rows, out.data());
  return out;
}

TEST(Npy, WritesWhatItReadsAsNumpyDoes) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, 2.5F, -3, 4, 5, 6e30F};
  for (const std::int64_t rows : {0, 1, 3, 100'000}) {
    const std::string path = folder / text("w", rows, ".npy");
    UnfinishedFile unfinished(path);
    NpyWriter writer(unfinished, rows, 2);
    std::vector<float> all;
    for (std::int64_t row = 0; row < rows; ++row) {
      writer.write(std::span(values).subspan(row % 5, 2));
      all.insert(all.end(), values.begin() + row % 5, values.begin() + row % 5 + 2);
    }
    writer.close();
    EXPECT_FALSE(std::filesystem::exists(path)) << "before it is complete";
    unfinished.finish();
    const NpyFile file = NpyFile::open(path);
    EXPECT_EQ(file.shape(), (std::vector<std::int64_t>{rows, 2}));
    EXPECT_EQ(read(file, {0, rows}, 2), all);
    EXPECT_EQ(file_contents(path), npy(header("<f4", text("(", rows, ", 2)")), bytes_of(all)));
  }
  EXPECT_EQ(folder.files(), 4U);
}

TEST(Npy, ReadsFloatsOfEveryWidthAndVersion) {
  const TemporaryFolder folder;
  const std::vector<float> singles = {1, 2.5F, -3, 4, 5, 6e30F};
  const std::vector<double> doubles = {1, 2.5, -3, 4, 5, 6e30};
  for (const int version : {1, 2, 3}) {
    const auto path = folder.write(text("f", version, ".npy"),
                                   npy(header("<f4", "(3, 2)"), bytes_of(singles), version));
    const NpyFile file = NpyFile::open(path);
    EXPECT_EQ(file.shape(), (std::vector<std::int64_t>{3, 2}));
    EXPECT_EQ(read(file, {0, 3}, 2), singles);
    EXPECT_EQ(read(file, {1, 2}, 2), (std::vector<float>{-3, 4}));
    EXPECT_TRUE(read(file, {3, 3}, 2).empty());
  }
  EXPECT_EQ(
      read(NpyFile::open(folder.write("d.npy", npy(header("<f8", "(2, 3)"), bytes_of(doubles)))),
           {0, 2}, 3),
      singles);
  EXPECT_EQ(NpyFile::open(folder.write("e.npy", npy(header("<f4", "(0, 8)"), ""))).shape(),
            (std::vector<std::int64_t>{0, 8}));
  EXPECT_EQ(
      read(NpyFile::open(folder.write("one.npy", npy(header("<f4", "(6,)"), bytes_of(singles)))),
           {0, 6}, 1),
      singles);
}

TEST(Npy, ReadsEveryHalf) {
  const TemporaryFolder folder;
  std::vector<std::uint16_t> halves(65536);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  const auto got =
      read(NpyFile::open(folder.write("h.npy", npy(header("<f2", "(65536, 1)"), bytes_of(halves)))),
           {0, 65536}, 1);
  const std::vector<std::pair<std::uint16_t, float>> known = {
      {0x0000, 0.0F},          {0x3C00, 1.0F},          {0xC000, -2.0F},
      {0x7BFF, 65504.0F},      {0x0001, 5.9604645e-8F}, {0x03FF, 6.0975552e-5F},
      {0x0400, 6.1035156e-5F}, {0x3555, 0.33325195F},   {0x7C00, INFINITY},
      {0xFC00, -INFINITY}};
  for (const auto& [half, value] : known) EXPECT_EQ(got[half], value) << half;
  EXPECT_TRUE(std::signbit(got[0x8000]));
  EXPECT_TRUE(std::isnan(got[0x7E00]));
  for (std::size_t i = 1; i < 0x7C00; ++i) {
    ASSERT_GT(got[i], got[i - 1]) << "rising bits are rising numbers";
    ASSERT_EQ(got[i + 0x8000], -got[i]);
  }
}

TEST(Npy, ReadsManyRowsInBlocks) {
  const TemporaryFolder folder;
  std::vector<double> values(400'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  const NpyFile file =
      NpyFile::open(folder.write("m.npy", npy(header("<f8", "(100000, 4)"), bytes_of(values))));
  const auto got = read(file, {1, 100'000}, 4);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], static_cast<float>(i + 4));
}

TEST(Npy, RefusesMalformedFiles) {
  struct Malformed {
    const char* what;
    std::string bytes;
    std::vector<std::string> parts;
  };
  const std::string four = bytes_of<float>({1, 2, 3, 4});
  const std::string good = npy(header("<f4", "(2, 2)"), four);
  std::string bad_version = good;
  bad_version[6] = 4;
  std::string long_header = good;
  long_header[9] = '\x7F';
  const std::vector<Malformed> table = {
      {"empty", "", {"not a .npy file", "0 bytes"}},
      {"text", "user_id,item_id\n", {"not a .npy file", "numpy.save"}},
      {"version", bad_version, {"version 4", "expected 1, 2 or 3"}},
      {"header longer than the file", long_header, {"header claims", "cut off or damaged"}},
      {"no dictionary", npy("hello", four), {"header cannot be understood", "'hello"}},
      {"no shape",
       npy("{'descr': '<f4', 'fortran_order': False}", four),
       {"header cannot be understood"}},
      {"unknown key",
       npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), 'x': 1}", four),
       {"cannot be understood"}},
      {"negative shape", npy(header("<f4", "(-2, 2)"), four), {"cannot be understood"}},
      {"open quote", npy("{'descr': '<f4, ", four), {"cannot be understood"}},
      {"structured type",
       npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}", four),
       {"cannot be understood"}},
      {"integers",
       npy(header("<i4", "(2, 2)"), four),
       {"type '<i4'", "expected little-endian float16, float32 or float64"}},
      {"big-endian", npy(header(">f4", "(2, 2)"), four), {"type '>f4'", "astype('<f4')"}},
      {"Fortran order",
       npy(header("<f4", "(2, 2)", "True"), four),
       {"Fortran order", "ascontiguousarray"}},
      {"a single value", npy(header("<f4", "()"), bytes_of<float>({1})), {"single value"}},
      {"cut off",
       good.substr(0, good.size() - 1),
       {"shape (2, 2) of 4 bytes each, but 15 bytes follow"}},
      {"too long", good + "x", {"but 17 bytes follow"}},
      {"huge", npy(header("<f4", "(4000000000, 4000000000)"), four), {"but 16 bytes follow"}},
      {"overflow to a small size",
       npy(header("<f4", "(4611686018427387905, 4)"), four),
       {"but 16 bytes follow"}},
      {"too large a number",
       npy(header("<f4", "(99999999999999999999, 4)"), four),
       {"cannot be understood"}},
  };
  const TemporaryFolder folder;
  for (const Malformed& one : table) {
    SCOPED_TRACE(one.what);
    const std::string path = folder.write("a.npy", one.bytes);
    std::vector<std::string> parts = one.parts;
    parts.push_back(path + ": ");
    expect_error(Cause::data, parts, [&] { NpyFile::open(path); });
  }
  expect_error(Cause::io, {"none.npy", "No such file"},
               [&] { NpyFile::open(folder / "none.npy"); });
}

}  // namespace
}  // namespace micrec
