#pragma once

#include <cstdint>
#include <vector>

namespace micrec {

/// A sparse float32 matrix by rows (CSR). Row r has the values value[offsets[r]] ..
/// value[offsets[r + 1] - 1] in the columns of the same places, rising within a row.
struct SparseRows {
  std::vector<std::int64_t> offsets = {0};  // (rows + 1)
  std::vector<std::int32_t> column;         // (nonzeros)
  std::vector<float> value;                 // (nonzeros)

  std::int64_t rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t nonzeros() const { return offsets.back(); }
};

}  // namespace micrec
