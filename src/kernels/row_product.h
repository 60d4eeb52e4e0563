#pragma once

#include <ATen/core/Tensor.h>

// Products of rows, without gradients of their own. The bits of a row of x W depend on that row and
// on W alone: each number is one chain of fused multiply-adds in the order of the inner dimension,
// whatever the other rows, the threads and the blocking. On a GPU they are LibTorch's products in
// full float32: the same bits in every run, but a row's may depend on how many rows there are.
namespace micrec {

/// x W.
///
/// Shapes   x: (n, f), W: (f, d), both float32; returns (n, d). n, f and d may be 0.
/// Errors   CHECK on shapes.
/// Cost     2 * n * f * d operations at near the peak rate; f * d numbers of scratch memory.
at::Tensor row_product(const at::Tensor& x, const at::Tensor& weight);

/// x W^T: the same chains, for a factor that is stored by rows. Shapes: W (d, f).
at::Tensor row_product_transposed(const at::Tensor& x, const at::Tensor& weight);

/// The gradient of W, x^T g: sums over fixed chunks of 256 rows are added in order, so its bits
/// depend on the rows in their order alone. Shapes: x (n, f), g (n, d) float32; returns (f, d).
at::Tensor row_product_gradient(const at::Tensor& x, const at::Tensor& g);

}  // namespace micrec
