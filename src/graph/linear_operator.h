#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <utility>
#include <vector>

namespace micrec {

/// An input that y is a linear function of, the others held, and what turns a gradient of y into
/// one of the input.
struct LinearInput {
  at::Tensor x;
  std::function<at::Tensor(const at::Tensor& gradient)> transpose;
};

/// Makes y differentiable in its inputs.
///
/// `y` is a tensor of its own that was made without gradients; a `transpose` gets a contiguous
/// tensor of y's shape (zeros where nothing flowed back, so that a collective in it is never
/// skipped) and must own or outlive whatever it reads.
///
/// Errors   CHECK when the backward pass is itself asked for gradients.
at::Tensor with_transposes(const char* name, at::Tensor y, std::vector<LinearInput> inputs);

/// The same for one input.
inline at::Tensor with_transpose(const char* name, const at::Tensor& x, at::Tensor y,
                                 std::function<at::Tensor(const at::Tensor& gradient)> transpose) {
  return with_transposes(name, std::move(y), {{x, std::move(transpose)}});
}

}  // namespace micrec
