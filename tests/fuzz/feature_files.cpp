#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "io/feature_file.h"
#include "io/npy.h"
#include "tests/fuzz/reader.h"

namespace micrec::fuzz {
namespace {

constexpr std::int64_t kBlockRows = 64;

/// Reads all rows in blocks and throws where one was not filled; the same bits, so that NaNs are
/// equal to themselves.
template <typename File>
void read_all_rows(const File& file, std::int64_t rows, std::int64_t width) {
  for (std::int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const Range block{begin, std::min(rows, begin + kBlockRows)};
    expect_all_written("a row of features", [&](std::uint8_t fill) {
      std::vector<float> values(static_cast<std::size_t>(block.size() * width));
      std::memset(values.data(), fill, values.size() * sizeof(float));
      file.read_rows(block, values.data());
      const char* const bytes = reinterpret_cast<const char*>(values.data());
      return std::string(bytes, values.size() * sizeof(float));
    });
  }
}

void read_npy(const std::string& path, int /*variant*/) {
  const NpyFile file = NpyFile::open(path);
  std::int64_t width = 1;
  for (std::size_t i = 1; i < file.shape().size(); ++i) width *= file.shape()[i];
  if (width > 0) read_all_rows(file, file.shape()[0], width);
}

/// The keys of three rows beside values that are right.
void read_keys(const std::string& path, int /*variant*/) {
  const std::string values = path.substr(0, path.size() - std::strlen(".keys.txt")) + ".npy";
  if (!std::filesystem::exists(values)) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
    header.resize(117, ' ');
    header += '\n';
    std::ofstream file(values, std::ios::binary);
    file << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(header.size()) << '\0' << header
         << std::string(24, '\0');
  }
  const FeatureFile file = FeatureFile::open(values);
  if (file.keys().size() != 3) throw std::logic_error("not a key a row");
  read_all_rows(file, 3, file.width());
}

void read_features(const std::string& path, int /*variant*/) {
  const FeatureFile file = FeatureFile::open(path);
  read_all_rows(file, static_cast<std::int64_t>(file.keys().size()), file.width());
}

}  // namespace

const Reader& npy() {
  static const Reader reader = {"npy", "values.npy", 1, false, read_npy};
  return reader;
}

const Reader& keys() {
  static const Reader reader = {"keys", "values.keys.txt", 1, false, read_keys};
  return reader;
}

const Reader& features() {
  static const Reader reader = {"features", "features.h5", 1, false, read_features};
  return reader;
}

}  // namespace micrec::fuzz
