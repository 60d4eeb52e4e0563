#pragma once

#include <cstdint>
#include <vector>

namespace micrec {

struct AdamFactors;
struct AdamNumbers;
struct SumCall;
struct ProductBlock;
struct SoftmaxTile;
struct SoftmaxNormalisers;
struct ScoreTile;
struct PositiveSystems;
struct SystemMatrices;

/// The inner loops, on raw pointers. Each <name>_cpu.cpp is compiled once for every instruction
/// set, so those sources and the headers with their arguments must not use inline functions of
/// other headers: the linker would keep one copy of them, of any instruction set.
struct Kernels {
  const char* instruction_set;

  // adam_element.h
  /// Numbers [begin, end) of a tensor.
  void (*adam_numbers)(const AdamFactors& factors, const AdamNumbers& of, std::int64_t begin,
                       std::int64_t end);

  // neighbour_sum_row.h
  /// Output rows [begin, end), but for hubs.
  void (*sum_rows)(const SumCall& call, std::int64_t begin, std::int64_t end);
  /// A piece of a hub, into its partial sum.
  void (*sum_hub_piece)(const SumCall& call, std::int64_t piece);
  /// The output row of a hub, from the sums of its pieces.
  void (*finish_hub)(const SumCall& call, std::int64_t hub);

  // packed_matrix.h
  void (*multiply)(const ProductBlock& block);
  int panel_width;
  int panel_rows;  // rows that one pass of `multiply` takes at a time

  // streamed_softmax.h
  /// Adds each row's exponentials to sums[row] * 2^exponents[row], and raises the exponent to the
  /// highest logit. Sums of nothing: 0, and an exponent below all logits.
  void (*add_exponentials)(const SoftmaxTile& tile, double* sums, float* exponents);
  /// Turns each value into exponential / sum of its row + exponential / sum of its column.
  void (*weigh)(const SoftmaxTile& tile, const SoftmaxNormalisers& rows,
                const SoftmaxNormalisers& columns);

  // scores.h
  void (*score_tile)(const ScoreTile& tile);
  /// The score of one pair; column k of a row is at [k * stride].
  float (*score_pair)(const float* user, std::int64_t user_stride, const float* item,
                      std::int64_t item_stride, std::int64_t dim);
  /// The product of two rows of whole numbers, at most 2^17 of them: exact.
  std::int32_t (*multiply_bytes)(const std::int8_t* a, const std::int8_t* b, std::int64_t count);
  /// How many of `count` scores are above (at least) a threshold.
  std::int32_t (*count_above)(const float* scores, std::int64_t count, float threshold);
  std::int32_t (*count_at_least)(const float* scores, std::int64_t count, float threshold);
  /// scores[i] = products[i] + weight * sums[i], with one rounding.
  void (*mix_scores)(const float* products, const float* sums, float weight, std::int64_t count,
                     float* scores);

  // cholesky.h
  /// Solves the systems of a group by Cholesky factorisation. One that has a pivot that is not
  /// positive gets NaN, and it alone.
  void (*solve_positive)(const PositiveSystems& systems);
  /// Puts matrices side by side as the matrix of a group.
  void (*interleave)(const SystemMatrices& matrices);
};

/// The fastest kernels that this processor runs.
const Kernels& kernels();

/// All that this processor runs, the fastest last; for comparing them.
std::vector<const Kernels*> supported_kernels();

}  // namespace micrec
