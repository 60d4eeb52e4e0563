#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/gpu_kernels.h"

// The kernels on a GPU, given to LibTorch's current stream. In a program without CUDA, where no
// tensor is on a GPU, they end it; tests put a device that the host plays in their place.
namespace micrec {

/// Where the numbers of a call lie, on whatever device; null of an undefined tensor.
template <typename T>
T* address(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

#define MICREC_ON_GPU(name, Call, what) void name##_on_gpu(const Call& call, c10::Device device);
MICREC_GPU_KERNELS(MICREC_ON_GPU)
#undef MICREC_ON_GPU

}  // namespace micrec
