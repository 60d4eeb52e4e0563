#pragma once

#include <cmath>
#include <cstdint>

#include "base/kernel_inline.h"

namespace micrec {

/// What is the same for all numbers of a step of Adam.
struct AdamFactors {
  float step_size;     // learning rate / (1 - beta1^time)
  float inverse_root;  // 1 / sqrt(1 - beta2^time)
  float epsilon;
  float beta1;
  float beta2;
  float new1;  // 1 - beta1
  float new2;  // 1 - beta2
};

/// One number of a step of Adam.
MICREC_KERNEL_INLINE void adam_element(const AdamFactors& factors, float slope, float& value,
                                       float& m, float& v) {
  m = factors.beta1 * m + factors.new1 * slope;
  v = factors.beta2 * v + factors.new2 * slope * slope;
  value -= factors.step_size * m / (sqrtf(v) * factors.inverse_root + factors.epsilon);
}

/// The numbers of one tensor, all on a GPU.
struct AdamNumbers {
  const float* gradient;  // null: zero
  float* value;
  float* m;
  float* v;
  std::int64_t count;
  std::int64_t first_chunk;  // its first among those of all tensors
};

inline constexpr int kAdamTensors = 32;              // that one launch takes, as its arguments
inline constexpr std::int64_t kAdamChunk = 1 << 12;  // numbers

/// A step of Adam over several tensors. A chunk has numbers of one tensor alone.
struct AdamCall {
  AdamFactors factors;
  const double* taken;  // where it points to zero, nothing changes; null: the step is taken
  int tensors;
  std::int64_t chunks;
  AdamNumbers of[kAdamTensors];
};

/// A thread's share of a chunk that `threads` threads work on.
MICREC_KERNEL_INLINE void adam_of_thread(const AdamCall& call, std::int64_t chunk, int thread,
                                         int threads) {
  if (call.taken != nullptr && *call.taken == 0) return;
  int tensor = 0;
  while (tensor + 1 < call.tensors && call.of[tensor + 1].first_chunk <= chunk) ++tensor;
  const AdamNumbers& of = call.of[tensor];
  const std::int64_t begin = (chunk - of.first_chunk) * kAdamChunk;
  const std::int64_t end = of.count - begin < kAdamChunk ? of.count : begin + kAdamChunk;
  for (std::int64_t i = begin + thread; i < end; i += threads) {
    // Read all before any is written: the compiler cannot know that they are not the same memory.
    const float slope = of.gradient != nullptr ? of.gradient[i] : 0.0F;
    float value = of.value[i];
    float m = of.m[i];
    float v = of.v[i];
    adam_element(call.factors, slope, value, m, v);
    of.value[i] = value;
    of.m[i] = m;
    of.v[i] = v;
  }
}

}  // namespace micrec
