#include "kernels/packed_matrix.h"

#include <algorithm>

#include "base/parallel.h"

namespace micrec {

PackedMatrix::PackedMatrix(const float* data, std::int64_t inner, std::int64_t columns,
                           std::int64_t inner_stride, std::int64_t column_stride,
                           const Kernels& kernels)
    : kernels_(&kernels), inner_(inner), columns_(columns) {
  const std::int64_t width = kernels.panel_width;
  const std::int64_t panels = (columns + width - 1) / width;
  panels_.reset(new float[panels * inner * width]);
  parallel_for(panels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t used = std::min(width, columns - p * width);
      const float* const from = data + p * width * column_stride;
      float* to = panels_.get() + p * inner * width;
      for (std::int64_t k = 0; k < inner; ++k, to += width) {
        for (std::int64_t c = 0; c < used; ++c) to[c] = from[k * inner_stride + c * column_stride];
        std::fill(to + used, to + width, 0.0F);
      }
    }
  });
}

void PackedMatrix::multiply(const float* x, std::int64_t x_row_stride, std::int64_t x_inner_stride,
                            std::int64_t rows, bool added, float* y, std::int64_t y_stride) const {
  const std::int64_t width = kernels_->panel_width;
  std::int64_t k = 0;
  do {
    for (std::int64_t c = 0; c < columns_; c += width) {
      ProductBlock block{};
      block.x = x + k * x_inner_stride;
      block.x_row_stride = x_row_stride;
      block.x_inner_stride = x_inner_stride;
      block.rows = rows;
      block.inner = std::min(kInnerBlock, inner_ - k);
      block.panel = panels_.get() + c * inner_ + k * width;
      block.y = y + c;
      block.y_stride = y_stride;
      block.columns = static_cast<int>(std::min(width, columns_ - c));
      block.start = added   ? ProductBlock::Start::added
                    : k > 0 ? ProductBlock::Start::continued
                            : ProductBlock::Start::zero;
      kernels_->multiply(block);
    }
    k += kInnerBlock;
  } while (k < inner_);
}

}  // namespace micrec
