#include "graph/row_product.h"

#include <ATen/core/grad_mode.h>

#include "graph/linear_operator.h"

namespace micrec {

at::Tensor row_product(const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor left = x.detach().contiguous();
  const at::Tensor right = weight.detach().contiguous();
  at::Tensor y;
  {
    const at::NoGradGuard no_grad;
    y = row_product_values(left, right);
  }
  return with_transposes(
      "row_product", y,
      {{x, [right](const at::Tensor& g) { return row_product_transposed(g, right); }},
       {weight, [left](const at::Tensor& g) { return row_product_gradient(left, g); }}});
}

}  // namespace micrec
