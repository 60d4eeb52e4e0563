#pragma once

#include <cstdint>
#include <vector>

#include "kernels/row_set.h"

// The inner loops, on raw pointers. Each is compiled once for every instruction set, so these
// declarations and the kernels' own sources must not use inline functions of other headers: the
// linker would keep one copy of them, of any instruction set.
namespace micrec {

/// One call of neighbour_sum; see there. Pointers that may be null say so.
struct SumWork {
  const std::int64_t* offsets;
  const std::int32_t* columns;
  std::int64_t nonzeros;
  const float* x;  // (factor rows, dim)
  std::int64_t dim;
  float* out;                          // (output rows, dim)
  const std::int32_t* rows;            // (output rows) or null: all
  const float* row_scale;              // or null
  const float* column_scale;           // or null
  bool skips_zero_columns;             // rows under a zero column scale must not be read
  const float* edge_weights;           // (nonzeros) or null
  const RowSet::Word* active_columns;  // or null
  const std::int32_t* global_numbers;  // of local rows; null: the same
  bool has_dropout;
  bool transposed_dropout;
  std::uint32_t dropout_key;        // the mixed seed
  std::uint32_t dropout_threshold;  // hashes below it are dropped
  float kept_scale;                 // 1 / (1 - p)
  const float* addend;              // or null
  const float* addend_scale;        // (pattern rows) or null
  const RowSet::Word* addend_rows;  // or null
  float factor;
  std::int64_t hub_chunk;  // rows with more nonzeros are left to sum_chunk and finish_hub; at most
                           // kMaxHubChunk
};
inline constexpr int kMaxHubChunk = 4096;

/// One block of a matrix product: y (rows, columns) from x (rows, inner) and a packed panel (inner,
/// panel_width).
struct ProductBlock {
  const float* x;
  std::int64_t x_row_stride;
  std::int64_t x_inner_stride;
  std::int64_t rows;
  std::int64_t inner;
  const float* panel;
  float* y;
  std::int64_t y_stride;
  int columns;  // at most panel_width
  enum class Start {
    zero,       // y = x panel
    continued,  // every chain of multiply-adds goes on from the number in y
    added,      // y += x panel
  } start;
};

/// A tile of the values whose logits are scale * value, in units of log 2: the exponential is
/// 2^logit. Rows have room for whole groups of kSoftmaxGroup columns.
struct SoftmaxTile {
  float* values;  // (rows, stride)
  std::int64_t stride;
  std::int64_t rows;
  std::int64_t columns;
  float scale;
};
inline constexpr int kSoftmaxGroup = 16;

/// Sums of exponentials: that of row (or column) n is 2^exponent[n] / inverse[n].
struct SoftmaxNormalisers {
  const float* inverse;
  const float* exponent;
};

struct Kernels {
  const char* instruction_set;
  /// Output rows [begin, end), but for hubs.
  void (*sum_rows)(const SumWork& work, std::int64_t begin, std::int64_t end);
  /// The sum of nonzeros [begin, end) of an output row, without its row scale and addend.
  void (*sum_chunk)(const SumWork& work, std::int64_t output_row, std::int64_t begin,
                    std::int64_t end, float* partial);
  /// An output row from the sums of its chunks: partials (chunks, dim).
  void (*finish_hub)(const SumWork& work, std::int64_t output_row, const float* partials,
                     std::int64_t chunks);
  void (*multiply)(const ProductBlock& block);
  int panel_width;
  int panel_rows;  // rows that one pass of `multiply` takes at a time
  /// Adds each row's exponentials to sums[row] * 2^exponents[row], and raises the exponent to the
  /// highest logit. Sums of nothing: 0, and an exponent below all logits.
  void (*add_exponentials)(const SoftmaxTile& tile, double* sums, float* exponents);
  /// Turns each value into exponential / sum of its row + exponential / sum of its column.
  void (*weigh)(const SoftmaxTile& tile, const SoftmaxNormalisers& rows,
                const SoftmaxNormalisers& columns);
};

/// The fastest kernels that this processor runs.
const Kernels& kernels();

/// All that this processor runs, the fastest last; for comparing them.
std::vector<const Kernels*> supported_kernels();

}  // namespace micrec
