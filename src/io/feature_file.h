#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"

namespace micrec {

/// Feature vectors of items by key, as launcher/encode_features.py or a user's own program wrote
/// them: HDF5 with /key (n strings) and /value (n, width) of any float type; or NAME.npy (n, width)
/// beside NAME.keys.txt with a key a line.
///
/// The datasets of an HDF5 file may have an integer attribute crc32, as those of encode_features.py
/// have: the CRC-32 of gzip and zlib, of the keys as UTF-8 with a zero byte behind each, and of the
/// values as little-endian float32, row by row. Where it is there, the file is compared with it.
/// Any turned bit shows; without it, another number or key is as good as the right one. It is this
/// sum because both sides have it already, in zlib and in Python's own library.
///
/// Errors   Error(Cause::io) where a file cannot be read; Error(Cause::data) where it is malformed,
///          keys and rows differ in number, a key is empty or there twice, or a checksum does not
///          fit.
/// Cost     open() reads the keys, and the values once where they have a checksum.
class FeatureFile {
 public:
  static FeatureFile open(const std::string& path);
  /// The same of what is in memory; `origin` is for messages. Shapes   values: (keys, width).
  /// Errors: Error(Cause::data) where a key is empty or there twice.
  static FeatureFile of(const std::string& origin, std::vector<std::string> keys,
                        std::int64_t width, std::vector<float> values);
  ~FeatureFile();
  FeatureFile(FeatureFile&&) noexcept;
  FeatureFile& operator=(FeatureFile&&) noexcept;

  const std::string& path() const;
  std::int64_t width() const;                    // columns
  const std::vector<std::string>& keys() const;  // (rows), distinct

  /// Rows [rows.begin, rows.end). out: (rows.size() * width()).
  ///
  /// Errors   Error(Cause::data) at the first value that is NaN, infinite or too large for float32:
  ///          file, row, key and column.
  void read_rows(Range rows, float* out) const;

 private:
  struct State;
  explicit FeatureFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The files that FeatureFile::open() reads: the HDF5 file, or NAME.npy and NAME.keys.txt.
std::vector<std::string> files_of_features(const std::string& path);

}  // namespace micrec
