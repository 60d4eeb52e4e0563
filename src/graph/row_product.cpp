#include "graph/row_product.h"

#include "graph/linear_operator.h"

namespace micrec {

at::Tensor row_product(const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor left = x.detach().contiguous();
  const at::Tensor right = weight.detach().contiguous();
  return with_transposes(
      "row_product", row_product_values(left, right),
      {{x, [right](const at::Tensor& g) { return row_product_transposed(g, right); }},
       {weight, [left](const at::Tensor& g) { return row_product_gradient(left, g); }}});
}

}  // namespace micrec
