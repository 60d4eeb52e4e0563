#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/adam_element.h"
#include "kernels/neighbour_sum_call.h"

// The kernels on a GPU, given to LibTorch's current stream. In a program without CUDA, where no
// tensor is on a GPU, they end it; tests put a device that the host plays in their place.
namespace micrec {

/// Runs a call that was prepared for x's device.
void neighbour_sum_on_gpu(const PreparedSum& sum, c10::Device device);

/// One step of Adam over the tensors of a call, which are on the device.
void adam_on_gpu(const AdamCall& call, c10::Device device);

}  // namespace micrec
