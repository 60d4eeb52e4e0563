// The loops of row_product over vectors of columns. Compiled with contraction: every multiply-add
// is a fused one where the processor has it.
#include <cstdint>

#include "kernels/dispatch.h"
#include "kernels/packed_matrix.h"
#include "kernels/vector.h"

namespace micrec::MICREC_INSTRUCTION_SET {

// A pass keeps panel_rows x panel_width numbers in 28 of 32, 12 of 16 or 8 of 16 registers.
extern const int panel_width;
extern const int panel_rows;
constexpr int kPanelVectors = 2;
constexpr int kPanelWidth = kPanelVectors * kLanes;
constexpr int kPanelRows = kLanes == 16 ? 14 : kLanes == 8 ? 6 : 4;
const int panel_width = kPanelWidth;
const int panel_rows = kPanelRows;

namespace {

template <int rows>
MICREC_INLINE void multiply_rows(const ProductBlock& block, const float* x, float* y,
                                 std::int64_t y_stride, bool continued) {
  Vector<kLanes> sums[rows][kPanelVectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) {
      sums[r][v] = continued ? load<kLanes>(y + r * y_stride + v * kLanes) : Vector<kLanes>{};
    }
  }
  const float* panel = block.panel;
  for (std::int64_t k = 0; k < block.inner; ++k) {
    Vector<kLanes> factor[kPanelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) factor[v] = load<kLanes>(panel + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const float value = x[r * block.x_row_stride];
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) sums[r][v] = value * factor[v] + sums[r][v];
    }
    x += block.x_inner_stride;
    panel += kPanelWidth;
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v)
      store<kLanes>(y + r * y_stride + v * kLanes, sums[r][v]);
  }
}

// `rows` rows of the block from row `first` on. A narrow panel or a sum goes through a tile of the
// full width.
template <int rows>
void multiply_tile(const ProductBlock& block, std::int64_t first) {
  const float* const x = block.x + first * block.x_row_stride;
  float* const y = block.y + first * block.y_stride;
  const bool continued = block.start == ProductBlock::Start::continued;
  if (block.columns == kPanelWidth && block.start != ProductBlock::Start::added) {
    multiply_rows<rows>(block, x, y, block.y_stride, continued);
    return;
  }
  float tile[rows * kPanelWidth] = {};
  if (continued) {
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < block.columns; ++c) tile[r * kPanelWidth + c] = y[r * block.y_stride + c];
    }
  }
  multiply_rows<rows>(block, x, tile, kPanelWidth, continued);
  const bool added = block.start == ProductBlock::Start::added;
  for (int r = 0; r < rows; ++r) {
    float* const to = y + r * block.y_stride;
    for (int c = 0; c < block.columns; ++c) {
      to[c] = added ? to[c] + tile[r * kPanelWidth + c] : tile[r * kPanelWidth + c];
    }
  }
}

}  // namespace

void multiply(const ProductBlock& block) {
  std::int64_t row = 0;
  for (; row + kPanelRows <= block.rows; row += kPanelRows) multiply_tile<kPanelRows>(block, row);
  if constexpr (kPanelRows > 8) {
    for (; row + 8 <= block.rows; row += 8) multiply_tile<8>(block, row);
  }
  if constexpr (kPanelRows > 4) {
    for (; row + 4 <= block.rows; row += 4) multiply_tile<4>(block, row);
  }
  for (; row + 2 <= block.rows; row += 2) multiply_tile<2>(block, row);
  for (; row < block.rows; ++row) multiply_tile<1>(block, row);
}

}  // namespace micrec::MICREC_INSTRUCTION_SET
