#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace micrec {

/// y = x W, where the bits of a row of y depend on that row of x and on W alone: each number is one
/// chain of fused multiply-adds in the order of the inner dimension, whatever the other rows, the
/// threads and the blocking. Differentiable; dW adds sums over fixed chunks of 256 rows in order,
/// so its bits do not depend on the threads either.
///
/// On a GPU it is LibTorch's product in full float32: the same bits in every run, but a row's may
/// depend on how many rows there are.
///
/// Shapes   x: (n, f) float32; W: (f, d) float32; returns (n, d) float32. n, f and d may be 0.
/// Ranks    local.
/// Errors   CHECK on shapes.
/// Cost     2 * n * f * d operations at near the peak rate; f * d numbers of scratch memory.
at::Tensor row_product(const at::Tensor& x, const at::Tensor& weight, int threads);

/// The gradient of row_product's weight, x^T g. Shapes   x: (n, f), g: (n, d) float32; returns (f,
/// d). Its bits depend on the rows in their order alone.
at::Tensor row_product_gradient(const at::Tensor& x, const at::Tensor& g, int threads);

/// y = x W^T for W (d, f): the same chains, for a factor that is stored by rows. Not
/// differentiable.
at::Tensor row_product_transposed(const at::Tensor& x, const at::Tensor& weight, int threads);

}  // namespace micrec
