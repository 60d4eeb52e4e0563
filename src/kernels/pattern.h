#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace micrec {

struct DevicePattern;

/// A sparse 0/1 matrix by rows (CSR). Row r has the columns columns[begin(r)] .. columns[end(r) -
/// 1], in rising order of their GLOBAL numbers whatever their local ones are, so that a row is
/// always summed in the same order.
struct Pattern {
  std::vector<std::int64_t> offsets = {0};  // (rows + 1) of the places, one after the other
  std::vector<std::int32_t> columns;        // (nonzeros) local rows of the factor
  /// The order in which rows are stored and summed, which changes no sum: row_at[p] is the row at
  /// place p, and place_of its inverse. (rows) each, or empty: row r is at place r.
  std::vector<std::int32_t> row_at;
  std::vector<std::int32_t> place_of;
  /// Its copy on a GPU, made when it is first used there. From then on the numbers above must stay
  /// as they are; a copy of a pattern makes one of its own.
  mutable std::shared_ptr<DevicePattern> on_device;

  std::int64_t rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t nonzeros() const { return offsets.back(); }
  std::int64_t place(std::int64_t row) const { return place_of.empty() ? row : place_of[row]; }
  std::int64_t begin(std::int64_t row) const { return offsets[place(row)]; }
  std::int64_t end(std::int64_t row) const { return offsets[place(row) + 1]; }
  std::int64_t degree(std::int64_t row) const { return end(row) - begin(row); }
};

}  // namespace micrec
