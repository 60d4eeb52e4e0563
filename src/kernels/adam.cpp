#include "kernels/adam.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <cmath>

#include "base/parallel.h"
#include "kernels/adam_element.h"
#include "kernels/gpu.h"

namespace micrec {

void adam_step(const at::Tensor& value, const at::Tensor& first_moment,
               const at::Tensor& second_moment, const at::Tensor& gradient,
               const AdamConfig& config, double learning_rate, std::int64_t time, int threads) {
  const c10::NoGradGuard no_gradient;
  const at::Tensor dense = gradient.defined() ? gradient.contiguous() : at::Tensor();
  if (dense.defined()) CHECK_EQ(dense.numel(), value.numel());
  CHECK(value.is_contiguous());

  const double correction1 = 1 - std::pow(config.beta1, static_cast<double>(time));
  const double correction2 = 1 - std::pow(config.beta2, static_cast<double>(time));
  AdamFactors factors{};
  factors.step_size = static_cast<float>(learning_rate / correction1);
  factors.inverse_root = static_cast<float>(1 / std::sqrt(correction2));
  factors.epsilon = static_cast<float>(config.epsilon);
  factors.beta1 = static_cast<float>(config.beta1);
  factors.beta2 = static_cast<float>(config.beta2);
  factors.new1 = static_cast<float>(1 - config.beta1);
  factors.new2 = static_cast<float>(1 - config.beta2);
  if (!value.device().is_cpu()) {
    adam_on_gpu(factors, dense, value, first_moment, second_moment);
    return;
  }
  float* const x = value.data_ptr<float>();
  float* const m = first_moment.data_ptr<float>();
  float* const v = second_moment.data_ptr<float>();
  const float* const g = dense.defined() ? dense.data_ptr<float>() : nullptr;
  constexpr std::int64_t kChunk = 1 << 15;
  parallel_for(value.numel(), kChunk, threads, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      adam_element(factors, g != nullptr ? g[i] : 0.0F, x[i], m[i], v[i]);
    }
  });
}

}  // namespace micrec
