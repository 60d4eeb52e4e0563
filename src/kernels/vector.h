#pragma once

// Vectors of floats for the kernels; included only by sources that are compiled for one instruction
// set, whose namespace MICREC_INSTRUCTION_SET names.
namespace micrec::MICREC_INSTRUCTION_SET {
namespace {

#define MICREC_INLINE [[gnu::always_inline]] inline

template <int lanes>
struct VectorOf {
  typedef float Type __attribute__((vector_size(lanes * sizeof(float))));
};
template <>
struct VectorOf<1> {
  using Type = float;
};
template <int lanes>
using Vector = typename VectorOf<lanes>::Type;

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

template <int lanes>
MICREC_INLINE Vector<lanes> load(const float* from) {
  Vector<lanes> value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}

template <int lanes>
MICREC_INLINE void store(float* to, Vector<lanes> value) {
  __builtin_memcpy(to, &value, sizeof(value));
}

}  // namespace
}  // namespace micrec::MICREC_INSTRUCTION_SET
