#pragma once

#include <cstdint>
#include <memory>

#include "kernels/dispatch.h"

namespace micrec {

/// One block of a matrix product: y (rows, columns) from x (rows, inner) and a packed panel, of
/// (inner, panel_width).
struct ProductBlock {
  const float* x;
  std::int64_t x_row_stride;
  std::int64_t x_inner_stride;
  std::int64_t rows;
  std::int64_t inner;
  const float* panel;
  float* y;
  std::int64_t y_stride;
  int columns;  // at most panel_width
  enum class Start {
    zero,       // y = x panel
    continued,  // every chain of multiply-adds goes on from the number in y
    added,      // y += x panel
  } start;
};

/// The right factor of a product, (inner, columns), laid out in panels as the kernels read it.
class PackedMatrix {
 public:
  /// Element (k, c) is data[k * inner_stride + c * column_stride].
  PackedMatrix(const float* data, std::int64_t inner, std::int64_t columns,
               std::int64_t inner_stride, std::int64_t column_stride,
               const Kernels& kernels = micrec::kernels());

  std::int64_t inner() const { return inner_; }
  std::int64_t columns() const { return columns_; }

  /// Rows of a panel used at a time: 32 KiB of it and a few rows of x stay in the first cache.
  static constexpr std::int64_t kInnerBlock = 256;

  /// y = x * this, one chain of multiply-adds over the inner dimension; or, where `added`, y += the
  /// chain over each block of kInnerBlock, one after the other. Element (r, k) of x is
  /// x[r * x_row_stride + k * x_inner_stride].
  void multiply(const float* x, std::int64_t x_row_stride, std::int64_t x_inner_stride,
                std::int64_t rows, bool added, float* y, std::int64_t y_stride) const;

 private:
  const Kernels* kernels_;
  std::int64_t inner_;
  std::int64_t columns_;
  std::unique_ptr<float[]> panels_;  // (panels, inner, panel_width), zeros beyond the columns
};

}  // namespace micrec
