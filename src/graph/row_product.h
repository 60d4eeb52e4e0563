#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/row_product.h"

namespace micrec {

/// y = x W as row_product_values has it, differentiable in both; dx has the bits of
/// row_product_transposed, dW those of row_product_gradient.
///
/// Ranks    local.
/// Errors   CHECK on shapes.
at::Tensor row_product(const at::Tensor& x, const at::Tensor& weight);

}  // namespace micrec
