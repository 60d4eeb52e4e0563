#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/adam_element.h"

namespace micrec {

/// One step in one pass on a GPU, given to LibTorch's current stream. All contiguous float32 there;
/// `gradient` may be undefined: zero. In a program without CUDA it ends it.
void adam_on_gpu(const AdamFactors& factors, const at::Tensor& gradient, const at::Tensor& value,
                 const at::Tensor& m, const at::Tensor& v);

}  // namespace micrec
