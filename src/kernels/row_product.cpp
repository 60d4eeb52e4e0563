#include "kernels/row_product.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <glog/logging.h>

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "kernels/packed_matrix.h"

namespace micrec {
namespace {

// Rows handed to a thread at a time, in passes of the kernel.
constexpr std::int64_t kPassesPerTask = 16;
// Rows of x and g taken at a time for dW: a few of the blocks whose sums are added in order.
constexpr std::int64_t kGradientRows = 4 * PackedMatrix::kInnerBlock;
// Rows of dW handed to a thread at a time, in passes of the kernel, where there are enough of them.
constexpr std::int64_t kGradientPasses = 4;

void check_matrix(const char* what, const at::Tensor& tensor, c10::Device device) {
  CHECK(tensor.dim() == 2 && tensor.scalar_type() == at::kFloat && tensor.device() == device)
      << what << " must be a float32 matrix on " << device;
}

at::Tensor multiply(const at::Tensor& x, const PackedMatrix& weight) {
  const std::int64_t rows = x.size(0);
  at::Tensor y = at::empty({rows, weight.columns()}, x.options());
  const float* const from = x.const_data_ptr<float>();
  float* const to = y.mutable_data_ptr<float>();
  const std::int64_t inner = weight.inner();
  const std::int64_t columns = weight.columns();
  const std::int64_t task = kPassesPerTask * kernels().panel_rows;
  parallel_for(rows, task, [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += task) {
      weight.multiply(from + begin * inner, inner, 1, std::min(task, end - begin), false,
                      to + begin * columns, columns);
    }
  });
  return y;
}

}  // namespace

at::Tensor row_product(const at::Tensor& x, const at::Tensor& weight) {
  check_matrix("x", x, x.device());
  check_matrix("the weight", weight, x.device());
  CHECK_EQ(x.size(1), weight.size(0));
  const at::NoGradGuard no_grad;
  const at::Tensor left = x.detach().contiguous();
  const at::Tensor right = weight.detach().contiguous();
  if (!x.device().is_cpu()) return at::mm(left, right);
  return multiply(left, PackedMatrix(right.const_data_ptr<float>(), right.size(0), right.size(1),
                                     right.size(1), 1));
}

// x^T g: every thread owns rows of the result and adds the sums over chunks of rows of x and g to
// them in order.
at::Tensor row_product_gradient(const at::Tensor& x, const at::Tensor& g) {
  check_matrix("x", x, x.device());
  check_matrix("the gradient", g, x.device());
  CHECK(x.is_contiguous() && g.is_contiguous());
  CHECK_EQ(x.size(0), g.size(0));
  if (!x.device().is_cpu()) return at::mm(x.t(), g);
  const std::int64_t rows = x.size(0);
  const std::int64_t inner = x.size(1);
  const std::int64_t columns = g.size(1);
  at::Tensor gradient = at::zeros({inner, columns}, x.options());
  const float* const x_data = x.const_data_ptr<float>();
  float* const to = gradient.mutable_data_ptr<float>();
  const std::int64_t passes = inner / kernels().panel_rows / (2 * compute_threads());
  const std::int64_t task =
      std::clamp<std::int64_t>(passes, 1, kGradientPasses) * kernels().panel_rows;
  for (std::int64_t row = 0; row < rows; row += kGradientRows) {
    const std::int64_t some = std::min(kGradientRows, rows - row);
    const float* const from = x_data + row * inner;
    const PackedMatrix chunk(g.const_data_ptr<float>() + row * columns, some, columns, columns, 1);
    parallel_for(inner, task, [&](std::int64_t begin, std::int64_t end) {
      // A copy side by side: with the stride of x, the numbers that a pass reads would share a few
      // sets of the first-level cache where the width of x has a large power of two in it.
      std::vector<float> part(some * std::min(task, end - begin));
      for (; begin < end; begin += task) {
        const std::int64_t width = std::min(task, end - begin);
        for (std::int64_t r = 0; r < some; ++r) {
          std::copy_n(from + r * inner + begin, width, part.data() + r * width);
        }
        chunk.multiply(part.data(), 1, width, width, true, to + begin * columns, columns);
      }
    });
  }
  return gradient;
}

at::Tensor row_product_transposed(const at::Tensor& x, const at::Tensor& weight) {
  check_matrix("x", x, x.device());
  check_matrix("the weight", weight, x.device());
  CHECK_EQ(x.size(1), weight.size(1));
  const at::NoGradGuard no_grad;
  const at::Tensor right = weight.detach().contiguous();
  if (!x.device().is_cpu()) return at::mm(x.detach(), right.t());
  return multiply(
      x.detach().contiguous(),
      PackedMatrix(right.const_data_ptr<float>(), right.size(1), right.size(0), 1, right.size(1)));
}

}  // namespace micrec
