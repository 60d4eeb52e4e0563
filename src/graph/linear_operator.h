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

/// The same where one function makes several tensors, for an input that several of them may depend
/// on: its `transpose` gets a gradient of each.
struct JointInput {
  at::Tensor x;
  std::function<at::Tensor(const std::vector<at::Tensor>& gradients)> transpose;
};
std::vector<at::Tensor> with_joint_transposes(const char* name, std::vector<at::Tensor> results,
                                              std::vector<JointInput> inputs);

/// For one input and one result.
inline at::Tensor with_transpose(const char* name, const at::Tensor& x, at::Tensor y,
                                 std::function<at::Tensor(const at::Tensor& gradient)> transpose) {
  return with_transposes(name, std::move(y), {{x, std::move(transpose)}});
}

/// The backward pass from `roots`, as torch::autograd::backward. All of it runs on the calling
/// thread: autograd would give a GPU's part to a thread of its own, from where the collectives in
/// it would meet MPI, NCCL and their communicators on a thread that they do not expect.
///
/// Shapes   gradients[i] as roots[i], or undefined for a scalar root.
/// Ranks    collective where an operator's backward is.
void run_backward(const std::vector<at::Tensor>& roots, const std::vector<at::Tensor>& gradients);

}  // namespace micrec
