#pragma once

#include <cmath>

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

}  // namespace micrec
