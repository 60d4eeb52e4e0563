// The loop of adam.h.
#include <cstdint>

#include "kernels/adam_element.h"
#include "kernels/dispatch.h"

namespace micrec::MICREC_INSTRUCTION_SET {

void adam_numbers(const AdamFactors& factors, const AdamNumbers& of, std::int64_t begin,
                  std::int64_t end) {
  const AdamFactors kept = factors;  // nothing that is written can be these
  const float* const g = of.gradient;
  float* const x = of.value;
  float* const m = of.m;
  float* const v = of.v;
  if (g != nullptr) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) adam_element(kept, g[i], x[i], m[i], v[i]);
  } else {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) adam_element(kept, 0.0F, x[i], m[i], v[i]);
  }
}

}  // namespace micrec::MICREC_INSTRUCTION_SET
