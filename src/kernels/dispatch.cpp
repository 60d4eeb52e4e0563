#include "kernels/dispatch.h"

namespace micrec {

#define MICREC_DECLARE_KERNELS(set)                                                       \
  namespace set {                                                                         \
  void adam_numbers(const AdamFactors&, const AdamNumbers&, std::int64_t, std::int64_t);  \
  void sum_rows(const SumCall&, std::int64_t, std::int64_t);                              \
  void sum_hub_piece(const SumCall&, std::int64_t);                                       \
  void finish_hub(const SumCall&, std::int64_t);                                          \
  void multiply(const ProductBlock&);                                                     \
  extern const int panel_width;                                                           \
  extern const int panel_rows;                                                            \
  void add_exponentials(const SoftmaxTile&, double*, float*);                             \
  void weigh(const SoftmaxTile&, const SoftmaxNormalisers&, const SoftmaxNormalisers&);   \
  void score_tile(const ScoreTile&);                                                      \
  float score_pair(const float*, std::int64_t, const float*, std::int64_t, std::int64_t); \
  std::int32_t multiply_bytes(const std::int8_t*, const std::int8_t*, std::int64_t);      \
  std::int32_t count_above(const float*, std::int64_t, float);                            \
  std::int32_t count_at_least(const float*, std::int64_t, float);                         \
  void mix_scores(const float*, const float*, float, std::int64_t, float*);               \
  void solve_positive(const PositiveSystems&);                                            \
  void interleave(const SystemMatrices&);                                                 \
  }

#define MICREC_KERNELS(set, name)                                                               \
  Kernels {                                                                                     \
    name, set::adam_numbers, set::sum_rows, set::sum_hub_piece, set::finish_hub, set::multiply, \
        set::panel_width, set::panel_rows, set::add_exponentials, set::weigh, set::score_tile,  \
        set::score_pair, set::multiply_bytes, set::count_above, set::count_at_least,            \
        set::mix_scores, set::solve_positive, set::interleave                                   \
  }

#if defined(__x86_64__)

MICREC_DECLARE_KERNELS(x86_64_v2)
MICREC_DECLARE_KERNELS(x86_64_v3)
MICREC_DECLARE_KERNELS(x86_64_v4)

std::vector<const Kernels*> supported_kernels() {
  static const Kernels v2 = MICREC_KERNELS(x86_64_v2, "x86-64-v2");
  static const Kernels v3 = MICREC_KERNELS(x86_64_v3, "x86-64-v3");
  static const Kernels v4 = MICREC_KERNELS(x86_64_v4, "x86-64-v4");
  std::vector<const Kernels*> supported = {&v2};
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (has_v3) supported.push_back(&v3);
  const bool has_v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (has_v3 && has_v4) supported.push_back(&v4);
  return supported;
}

#else

MICREC_DECLARE_KERNELS(plain)

std::vector<const Kernels*> supported_kernels() {
  static const Kernels plain = MICREC_KERNELS(plain, "plain");
  return {&plain};
}

#endif

const Kernels& kernels() {
  static const Kernels& fastest = *supported_kernels().back();
  return fastest;
}

}  // namespace micrec
