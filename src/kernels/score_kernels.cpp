#include "kernels/score_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace micrec {
namespace {

// --- Everywhere
// --------------------------------------------------------------------------------------
// __builtin_fmaf is one instruction where the target has it and the C library's exact function
// where it has not, so that the bits are the same.

void score_tile_portable(const float* users, std::int64_t user_panels, const float* items,
                         std::int64_t item_panels, std::int64_t dim, float* scores) {
  const std::int64_t stride = item_panels * kItemLanes;
  for (std::int64_t ip = 0; ip < item_panels; ++ip) {
    const float* item_panel = items + ip * dim * kItemLanes;
    for (std::int64_t u = 0; u < user_panels * kUserLanes; ++u) {
      const float* user = users + (u / kUserLanes) * dim * kUserLanes + u % kUserLanes;
      float sum[kItemLanes] = {};
      for (std::int64_t k = 0; k < dim; ++k) {
        const float x = user[k * kUserLanes];
        const float* column = item_panel + k * kItemLanes;
        for (std::int64_t i = 0; i < kItemLanes; ++i) sum[i] = __builtin_fmaf(x, column[i], sum[i]);
      }
      float* out = scores + u * stride + ip * kItemLanes;
      for (std::int64_t i = 0; i < kItemLanes; ++i) out[i] = sum[i];
    }
  }
}

float score_pair_portable(const float* user, std::int64_t user_stride, const float* item,
                          std::int64_t item_stride, std::int64_t dim) {
  float sum = 0;
  for (std::int64_t k = 0; k < dim; ++k) {
    sum = __builtin_fmaf(user[k * user_stride], item[k * item_stride], sum);
  }
  return sum;
}

std::int32_t count_above_portable(const float* scores, std::int64_t count, float threshold) {
  std::int32_t above = 0;
  for (std::int64_t i = 0; i < count; ++i) above += scores[i] > threshold;
  return above;
}

std::int32_t count_at_least_portable(const float* scores, std::int64_t count, float threshold) {
  std::int32_t at_least = 0;
  for (std::int64_t i = 0; i < count; ++i) at_least += scores[i] >= threshold;
  return at_least;
}

constexpr ScoreKernels kPortable = {"portable", score_tile_portable, score_pair_portable,
                                    count_above_portable, count_at_least_portable};

#if defined(__x86_64__)
// One program serves all processors: each function names its instruction set, the choice is made at
// run time.
#define MICREC_AVX2 __attribute__((target("avx2,fma")))
#define MICREC_AVX512 __attribute__((target("avx512f,avx2,fma,popcnt")))

MICREC_AVX2 float score_pair_fma(const float* user, std::int64_t user_stride, const float* item,
                                 std::int64_t item_stride, std::int64_t dim) {
  float sum = 0;
  for (std::int64_t k = 0; k < dim; ++k) {
    sum = __builtin_fmaf(user[k * user_stride], item[k * item_stride], sum);
  }
  return sum;
}

// --- AVX2: 6 users x 16 items in 12 of 16 registers
// --------------------------------------------------

MICREC_AVX2 void score_6x16(const float* users, const float* items, std::int64_t dim, float* scores,
                            std::int64_t stride) {
  constexpr int kUsers = 6;
  __m256 low[kUsers];
  __m256 high[kUsers];
#pragma GCC unroll 6
  for (int u = 0; u < kUsers; ++u) low[u] = high[u] = _mm256_setzero_ps();
  for (std::int64_t k = 0; k < dim; ++k) {
    const __m256 a = _mm256_loadu_ps(items + k * kItemLanes);
    const __m256 b = _mm256_loadu_ps(items + k * kItemLanes + 8);
#pragma GCC unroll 6
    for (int u = 0; u < kUsers; ++u) {
      const __m256 x = _mm256_broadcast_ss(users + k * kUserLanes + u);
      low[u] = _mm256_fmadd_ps(x, a, low[u]);
      high[u] = _mm256_fmadd_ps(x, b, high[u]);
    }
  }
#pragma GCC unroll 6
  for (int u = 0; u < kUsers; ++u) {
    _mm256_storeu_ps(scores + u * stride, low[u]);
    _mm256_storeu_ps(scores + u * stride + 8, high[u]);
  }
}

MICREC_AVX2 void score_tile_avx2(const float* users, std::int64_t user_panels, const float* items,
                                 std::int64_t item_panels, std::int64_t dim, float* scores) {
  const std::int64_t stride = item_panels * kItemLanes;
  for (std::int64_t ip = 0; ip < item_panels; ++ip) {
    for (std::int64_t half = 0; half < kItemLanes; half += 16) {
      const float* item_half = items + ip * dim * kItemLanes + half;
      for (std::int64_t u = 0; u < user_panels * kUserLanes; u += 6) {
        const float* user_half = users + (u / kUserLanes) * dim * kUserLanes + u % kUserLanes;
        score_6x16(user_half, item_half, dim, scores + u * stride + ip * kItemLanes + half, stride);
      }
    }
  }
}

template <int kPredicate>
MICREC_AVX2 std::int32_t count_avx2(const float* scores, std::int64_t count, float threshold) {
  const __m256 limit = _mm256_set1_ps(threshold);
  __m256i matches = _mm256_setzero_si256();  // A true comparison is -1.
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 match = _mm256_cmp_ps(_mm256_loadu_ps(scores + i), limit, kPredicate);
    matches = _mm256_sub_epi32(matches, _mm256_castps_si256(match));
  }
  alignas(32) std::int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), matches);
  std::int32_t sum = 0;
  for (int lane = 0; lane < 8; ++lane) sum += lanes[lane];
  for (; i < count; ++i)
    sum += kPredicate == _CMP_GT_OQ ? scores[i] > threshold : scores[i] >= threshold;
  return sum;
}

constexpr ScoreKernels kAvx2 = {"AVX2", score_tile_avx2, score_pair_fma, count_avx2<_CMP_GT_OQ>,
                                count_avx2<_CMP_GE_OQ>};

// --- AVX-512: 12 users x 32 items in 24 of 32 registers
// ----------------------------------------------

MICREC_AVX512 void score_12x32(const float* users, const float* items, std::int64_t dim,
                               float* scores, std::int64_t stride) {
  __m512 low[kUserLanes];
  __m512 high[kUserLanes];
#pragma GCC unroll 12
  for (int u = 0; u < kUserLanes; ++u) low[u] = high[u] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < dim; ++k) {
    const __m512 a = _mm512_loadu_ps(items + k * kItemLanes);
    const __m512 b = _mm512_loadu_ps(items + k * kItemLanes + 16);
#pragma GCC unroll 12
    for (int u = 0; u < kUserLanes; ++u) {
      const __m512 x = _mm512_set1_ps(users[k * kUserLanes + u]);
      low[u] = _mm512_fmadd_ps(x, a, low[u]);
      high[u] = _mm512_fmadd_ps(x, b, high[u]);
    }
  }
#pragma GCC unroll 12
  for (int u = 0; u < kUserLanes; ++u) {
    _mm512_storeu_ps(scores + u * stride, low[u]);
    _mm512_storeu_ps(scores + u * stride + 16, high[u]);
  }
}

MICREC_AVX512 void score_tile_avx512(const float* users, std::int64_t user_panels,
                                     const float* items, std::int64_t item_panels, std::int64_t dim,
                                     float* scores) {
  const std::int64_t stride = item_panels * kItemLanes;
  for (std::int64_t ip = 0; ip < item_panels; ++ip) {
    for (std::int64_t up = 0; up < user_panels; ++up) {
      score_12x32(users + up * dim * kUserLanes, items + ip * dim * kItemLanes, dim,
                  scores + up * kUserLanes * stride + ip * kItemLanes, stride);
    }
  }
}

template <int kPredicate>
MICREC_AVX512 std::int32_t count_avx512(const float* scores, std::int64_t count, float threshold) {
  const __m512 limit = _mm512_set1_ps(threshold);
  std::int32_t matches = 0;
  std::int64_t i = 0;
#pragma GCC unroll 8
  for (; i + 16 <= count; i += 16) {
    const __mmask16 match = _mm512_cmp_ps_mask(_mm512_loadu_ps(scores + i), limit, kPredicate);
    matches += __builtin_popcount(_cvtmask16_u32(match));
  }
  if (i < count) {
    const __mmask16 valid = static_cast<__mmask16>((1U << (count - i)) - 1);
    const __m512 rest = _mm512_maskz_loadu_ps(valid, scores + i);
    const __mmask16 match = _mm512_mask_cmp_ps_mask(valid, rest, limit, kPredicate);
    matches += __builtin_popcount(_cvtmask16_u32(match));
  }
  return matches;
}

constexpr ScoreKernels kAvx512 = {"AVX-512", score_tile_avx512, score_pair_fma,
                                  count_avx512<_CMP_GT_OQ>, count_avx512<_CMP_GE_OQ>};
#endif

}  // namespace

std::vector<const ScoreKernels*> available_kernels() {
  std::vector<const ScoreKernels*> kernels;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f")) kernels.push_back(&kAvx512);
  if (avx2) kernels.push_back(&kAvx2);
#endif
  kernels.push_back(&kPortable);
  return kernels;
}

}  // namespace micrec
