#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
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
  ~NpyFile();
  NpyFile(NpyFile&&) noexcept;
  NpyFile& operator=(NpyFile&&) noexcept;

  const std::string& path() const;
  const std::vector<std::int64_t>& shape() const;

  /// Rows [rows.begin, rows.end). out: (rows.size() * elements of a row), rounded to float32, where
  /// what is too large for it is infinite, or as they are.
  void read_rows(Range rows, float* out) const;
  void read_rows(Range rows, double* out) const;

 private:
  struct State;
  explicit NpyFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Writes such a file, version 1, of float32, from its first row on; it appears under its name only
/// when it is complete.
///
/// Errors   Error(Cause::io) where it cannot be written.
class NpyWriter {
 public:
  NpyWriter(const std::string& path, std::int64_t rows, std::int64_t columns);

  /// The next rows. Shapes   values: whole rows.
  void write(std::span<const float> values);
  /// CHECK: all rows were written.
  void finish();

 private:
  std::string path_;
  UnfinishedFile unfinished_;
  std::ofstream file_;
  std::int64_t values_left_;
};

}  // namespace micrec
