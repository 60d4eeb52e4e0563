// The loops of scores.h. Every multiply-add is a fused one: where the processor has them, by
// compiling with contraction; elsewhere by the C library's exact function, so that the bits are the
// same.
#include <cstdint>

#include "kernels/dispatch.h"
#include "kernels/scores.h"
#include "kernels/vector.h"

namespace micrec::MICREC_INSTRUCTION_SET {
namespace {

#if defined(__FMA__)

// 12 users x 32 items in 24 of 32 registers, or 6 x 16 in 12 of 16.
constexpr int kBlockUsers = kLanes == 16 ? 12 : 6;
constexpr int kBlockItems = 2 * kLanes;

MICREC_INLINE void score_block(const float* users, const float* items, std::int64_t dim,
                               float* scores, std::int64_t stride) {
  Vector<kLanes> low[kBlockUsers] = {};
  Vector<kLanes> high[kBlockUsers] = {};
  for (std::int64_t k = 0; k < dim; ++k) {
    const Vector<kLanes> a = load<kLanes>(items + k * kItemLanes);
    const Vector<kLanes> b = load<kLanes>(items + k * kItemLanes + kLanes);
#pragma GCC unroll 12
    for (int u = 0; u < kBlockUsers; ++u) {
      const float x = users[k * kUserLanes + u];
      low[u] = x * a + low[u];
      high[u] = x * b + high[u];
    }
  }
#pragma GCC unroll 12
  for (int u = 0; u < kBlockUsers; ++u) {
    store<kLanes>(scores + u * stride, low[u]);
    store<kLanes>(scores + u * stride + kLanes, high[u]);
  }
}

#else

constexpr int kBlockUsers = 1;
constexpr int kBlockItems = kItemLanes;

MICREC_INLINE void score_block(const float* users, const float* items, std::int64_t dim,
                               float* scores, std::int64_t /*stride*/) {
  float sums[kBlockItems] = {};
  for (std::int64_t k = 0; k < dim; ++k) {
    const float* const column = items + k * kItemLanes;
    const float x = users[k * kUserLanes];
    for (int i = 0; i < kBlockItems; ++i) sums[i] = __builtin_fmaf(x, column[i], sums[i]);
  }
  for (int i = 0; i < kBlockItems; ++i) scores[i] = sums[i];
}

#endif

// `matches` says for every lane whether the scores are among those counted, as 0 or -1.
template <typename Matches>
MICREC_INLINE std::int32_t count_matches(const float* scores, std::int64_t count,
                                         const Matches& matches) {
  typedef std::int32_t Counts __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
  Counts lanes = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) lanes -= matches(load<kLanes>(scores + i));
  std::int32_t sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
  for (; i < count; ++i) sum += matches(Vector<kLanes>{} + scores[i])[0] != 0;
  return sum;
}

}  // namespace

void score_tile(const ScoreTile& tile) {
  const std::int64_t stride = tile.item_panels * kItemLanes;
  for (std::int64_t i = 0; i < stride; i += kBlockItems) {
    const float* const items = tile.items + i / kItemLanes * tile.dim * kItemLanes + i % kItemLanes;
    for (std::int64_t u = 0; u < tile.user_panels * kUserLanes; u += kBlockUsers) {
      const float* const users =
          tile.users + u / kUserLanes * tile.dim * kUserLanes + u % kUserLanes;
      score_block(users, items, tile.dim, tile.scores + u * stride + i, stride);
    }
  }
}

float score_pair(const float* user, std::int64_t user_stride, const float* item,
                 std::int64_t item_stride, std::int64_t dim) {
  float sum = 0;
  for (std::int64_t k = 0; k < dim; ++k) {
    sum = __builtin_fmaf(user[k * user_stride], item[k * item_stride], sum);
  }
  return sum;
}

std::int32_t multiply_bytes(const std::int8_t* a, const std::int8_t* b, std::int64_t count) {
  std::int32_t sum = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    sum += static_cast<std::int32_t>(a[k]) * static_cast<std::int32_t>(b[k]);
  }
  return sum;
}

void mix_scores(const float* products, const float* sums, float weight, std::int64_t count,
                float* scores) {
  std::int64_t i = 0;
#if defined(__FMA__)
  for (; i + kLanes <= count; i += kLanes) {
    store<kLanes>(scores + i, weight * load<kLanes>(sums + i) + load<kLanes>(products + i));
  }
#endif
  for (; i < count; ++i) scores[i] = __builtin_fmaf(weight, sums[i], products[i]);
}

std::int32_t count_above(const float* scores, std::int64_t count, float threshold) {
  return count_matches(scores, count, [&](Vector<kLanes> score) { return score > threshold; });
}

std::int32_t count_at_least(const float* scores, std::int64_t count, float threshold) {
  return count_matches(scores, count, [&](Vector<kLanes> score) { return score >= threshold; });
}

}  // namespace micrec::MICREC_INSTRUCTION_SET
