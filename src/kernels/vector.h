#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

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

/// Whether stream() writes past the caches.
#if defined(__SSE2__)
template <int lanes>
constexpr bool can_stream = lanes >= 4;
#else
template <int lanes>
constexpr bool can_stream = false;
#endif

/// Writes past the caches, to an address that is a multiple of the vector's bytes. Before other
/// threads read what was written: end_streams().
template <int lanes>
MICREC_INLINE void stream(float* to, Vector<lanes> value) {
#if defined(__AVX512F__)
  if constexpr (lanes == 16) return _mm512_stream_ps(to, value);
#endif
#if defined(__AVX__)
  if constexpr (lanes == 8) return _mm256_stream_ps(to, value);
#endif
#if defined(__SSE2__)
  if constexpr (lanes == 4) return _mm_stream_ps(to, value);
#endif
  store<lanes>(to, value);
}

MICREC_INLINE void end_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace
}  // namespace micrec::MICREC_INSTRUCTION_SET
