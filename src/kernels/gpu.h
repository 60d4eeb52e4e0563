#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/adam_element.h"
#include "kernels/neighbour_sum_call.h"

// The kernels on a GPU, given to LibTorch's current stream. In a program without CUDA, where no
// tensor is on a GPU, they end it; tests put a device that the host plays in their place.
namespace micrec {

/// Runs a call that was prepared for x's device.
void neighbour_sum_on_gpu(const PreparedSum& sum, c10::Device device);

/// One step of Adam in one pass. All contiguous float32 on the GPU; no `gradient` means zero.
void adam_on_gpu(const AdamFactors& factors, const at::Tensor& gradient, const at::Tensor& value,
                 const at::Tensor& m, const at::Tensor& v);

}  // namespace micrec
