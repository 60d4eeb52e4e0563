#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "io/descriptor.h"
#include "io/unfinished_file.h"

namespace micrec {

/// A numpy .npy file (versions 1 to 3) of little-endian float16, float32 or float64 in C order with
/// at least one dimension, read row by row as float32.
///
/// Errors   Error(Cause::io) where it cannot be opened or read; Error(Cause::data) where it is not
///          .npy, is of another type or order, or its size is not the one its header tells.
class NpyFile {
 public:
  static NpyFile open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }

  /// Rows [rows.begin, rows.end). out: (rows.size() * elements of a row), rounded to float32, where
  /// what is too large for it is infinite, or as they are.
  void read_rows(Range rows, float* out) const;
  void read_rows(Range rows, double* out) const;

 private:
  NpyFile() = default;
  template <typename... Parts>
  Error error(const Parts&... what) const {
    return {Cause::data, path_, ": ", what...};
  }
  void read_bytes(std::int64_t from, void* out, std::size_t bytes) const;
  void read_header(std::int64_t file_bytes);
  template <typename Real>
  void read_values(Range rows, Real* out) const;

  std::string path_;
  Descriptor file_;
  std::vector<std::int64_t> shape_;
  std::int64_t value_bytes_ = 0;
  std::int64_t row_elements_ = 1;
  std::int64_t data_begin_ = 0;
};

/// Writes such a file, version 1, of float32, from its first row on.
///
/// Errors   Error(Cause::io) where it cannot be written.
class NpyWriter {
 public:
  /// `file` outlives it, and is finished after it.
  NpyWriter(const UnfinishedFile& file, std::int64_t rows, std::int64_t columns);

  /// The next rows. Shapes   values: whole rows.
  void write(std::span<const float> values);
  /// CHECK: all rows were written.
  void close();

 private:
  std::string path_;
  std::ofstream file_;
  std::int64_t values_left_;
};

}  // namespace micrec
