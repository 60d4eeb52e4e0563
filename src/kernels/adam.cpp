#include "kernels/adam.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <cmath>

#include "base/parallel.h"
#include "kernels/adam_element.h"
#include "kernels/dispatch.h"
#include "kernels/gpu.h"

namespace micrec {
namespace {

AdamFactors factors_of(const AdamConfig& config, double learning_rate, std::int64_t time) {
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
  return factors;
}

// Of checked tensors, whose gradients are contiguous.
AdamNumbers numbers_of(const AdamTensors& of) {
  return {of.gradient.defined() ? of.gradient.const_data_ptr<float>() : nullptr,
          static_cast<float*>(of.value.data_ptr()),
          of.first_moment.data_ptr<float>(),
          of.second_moment.data_ptr<float>(),
          of.value.numel(),
          0};
}

void step_on_cpu(const AdamFactors& factors, const AdamNumbers& of) {
  constexpr std::int64_t kChunk = 1 << 15;
  parallel_for(of.count, kChunk, [&](std::int64_t begin, std::int64_t end) {
    kernels().adam_numbers(factors, of, begin, end);
  });
}

void step_on_gpu(const std::vector<AdamTensors>& parameters, AdamCall call, c10::Device device) {
  for (const AdamTensors& parameter : parameters) {
    AdamNumbers of = numbers_of(parameter);
    if (of.count == 0) continue;
    if (call.tensors == kAdamTensors) {
      adam_on_gpu(call, device);
      call.tensors = 0;
      call.chunks = 0;
    }
    of.first_chunk = call.chunks;
    call.chunks += (of.count + kAdamChunk - 1) / kAdamChunk;
    call.of[call.tensors++] = of;
  }
  if (call.tensors > 0) adam_on_gpu(call, device);
}

}  // namespace

void adam_step(const std::vector<AdamTensors>& parameters, const AdamConfig& config,
               double learning_rate, std::int64_t time, const at::Tensor& taken) {
  const c10::NoGradGuard no_gradient;
  if (parameters.empty()) return;
  const c10::Device device = parameters.front().value.device();
  CHECK(!taken.defined() || (taken.scalar_type() == at::kDouble && taken.device() == device));
  std::vector<AdamTensors> dense = parameters;
  for (AdamTensors& of : dense) {
    if (of.gradient.defined()) of.gradient = of.gradient.contiguous();
    for (const at::Tensor* tensor :
         {&of.value, &of.first_moment, &of.second_moment, &of.gradient}) {
      if (!tensor->defined()) continue;
      CHECK(tensor->is_contiguous() && tensor->device() == device) << tensor->device();
      CHECK_EQ(tensor->numel(), of.value.numel());
    }
  }
  const AdamFactors factors = factors_of(config, learning_rate, time);
  if (device.is_cpu()) {
    if (taken.defined() && taken.item<double>() == 0) return;
    for (const AdamTensors& of : dense) step_on_cpu(factors, numbers_of(of));
    return;
  }
  AdamCall call{};
  call.factors = factors;
  call.taken = taken.defined() ? taken.const_data_ptr<double>() : nullptr;
  step_on_gpu(dense, call, device);
}

}  // namespace micrec
