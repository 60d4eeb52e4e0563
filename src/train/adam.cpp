#include "train/adam.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <cmath>

#include "base/parallel.h"
#include "train/adam_element.h"
#include "train/adam_on_gpu.h"

namespace micrec {

void adam_step(Parameter& parameter, const at::Tensor& gradient, const AdamConfig& config,
               double learning_rate, std::int64_t time, int threads) {
  const c10::NoGradGuard no_gradient;
  const at::Tensor dense = gradient.defined() ? gradient.contiguous() : at::Tensor();
  if (dense.defined()) CHECK_EQ(dense.numel(), parameter.value.numel()) << parameter.name;
  CHECK(parameter.value.is_contiguous()) << parameter.name;

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
  if (!parameter.value.device().is_cpu()) {
    adam_on_gpu(factors, dense, parameter.value, parameter.adam_m, parameter.adam_v);
    return;
  }
  float* const value = parameter.value.data_ptr<float>();
  float* const m = parameter.adam_m.data_ptr<float>();
  float* const v = parameter.adam_v.data_ptr<float>();
  const float* const g = dense.defined() ? dense.data_ptr<float>() : nullptr;
  constexpr std::int64_t kChunk = 1 << 15;
  parallel_for(parameter.value.numel(), kChunk, threads, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      adam_element(factors, g != nullptr ? g[i] : 0.0F, value[i], m[i], v[i]);
    }
  });
}

}  // namespace micrec
