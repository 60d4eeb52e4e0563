#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace micrec {

struct DevicePattern;

/// A sparse 0/1 matrix by rows (CSR). Row r has the columns columns[offsets[r]] ..
/// columns[offsets[r + 1] - 1], in rising order of their GLOBAL numbers whatever their local ones
/// are, so that a row is always summed in the same order.
struct Pattern {
  std::vector<std::int64_t> offsets = {0};  // (rows + 1)
  std::vector<std::int32_t> columns;        // (nonzeros) local rows of the factor
  /// Its copy on a GPU, made when it is first used there. From then on the numbers above must stay
  /// as they are; a copy of a pattern makes one of its own.
  mutable std::shared_ptr<DevicePattern> on_device;

  std::int64_t rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t nonzeros() const { return offsets.back(); }
  std::int64_t degree(std::int64_t row) const { return offsets[row + 1] - offsets[row]; }
};

}  // namespace micrec
