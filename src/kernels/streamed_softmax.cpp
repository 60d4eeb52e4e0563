#include "kernels/streamed_softmax.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/parallel.h"
#include "kernels/dispatch.h"
#include "kernels/packed_matrix.h"

namespace micrec {
namespace {

// Rows of y in a tile: the blocks whose sums are added in order. Part of the result's bits.
constexpr std::int64_t kBlock = PackedMatrix::kInnerBlock;
// Values from one row of a tile to the next: not a power of two, so that the rows of a pass do not
// share a few sets of the first-level cache.
constexpr std::int64_t kTileStride = kBlock + kSoftmaxGroup;
// Rows of x in a tile, in passes of the kernel: 84 rows are 91 KB, within the second-level cache.
constexpr std::int64_t kPassesPerTile = 6;
// Packed rows of y at a time.
constexpr std::int64_t kPackedBytes = 4 << 20;
// No logit of float32 is below it.
constexpr float kLowestExponent = -1e30F;

struct PackedBlock {
  std::int64_t first;                 // row of y
  std::int64_t count;                 // of rows, at most kBlock
  PackedMatrix across;                // (width, count): for logits
  std::optional<PackedMatrix> along;  // (count, width): for sums of rows
};

PackedBlock pack_block(const SoftmaxFactor& y, std::int64_t first, bool for_sums_of_rows) {
  const std::int64_t count = std::min(kBlock, y.count - first);
  std::vector<float> rows(count * y.width);
  for (std::int64_t j = 0; j < count; ++j) {
    std::copy_n(y.data + y.place[first + j] * y.stride, y.width, rows.data() + j * y.width);
  }
  PackedBlock block{first, count, PackedMatrix(rows.data(), y.width, count, 1, y.width), {}};
  if (for_sums_of_rows) block.along.emplace(rows.data(), count, y.width, y.width, 1);
  return block;
}

// Calls body(first row of x, rows, blocks) for tiles of rows of x and all blocks of y in rising
// order, several blocks a call; calls for the same rows come one after the other.
template <typename Body>
void for_tiles(const SoftmaxRows& x, const SoftmaxFactor& y, bool for_sums_of_rows,
               const Body& body) {
  const std::int64_t blocks = (y.count + kBlock - 1) / kBlock;
  const std::int64_t block_bytes = kBlock * std::max<std::int64_t>(y.width, 1) *
                                   static_cast<std::int64_t>(sizeof(float)) *
                                   (for_sums_of_rows ? 2 : 1);
  const std::int64_t step = std::max<std::int64_t>(1, kPackedBytes / block_bytes);
  const std::int64_t pass = kernels().panel_rows;
  const std::int64_t even = x.count / (4 * compute_threads()) / pass;
  const std::int64_t tile = std::clamp<std::int64_t>(even, 1, kPassesPerTile) * pass;
  for (std::int64_t begin = 0; begin < blocks; begin += step) {
    std::vector<std::optional<PackedBlock>> packed(std::min(step, blocks - begin));
    parallel_for(static_cast<std::int64_t>(packed.size()), 1,
                 [&](std::int64_t b, std::int64_t end) {
                   for (; b < end; ++b) {
                     packed[b].emplace(pack_block(y, (begin + b) * kBlock, for_sums_of_rows));
                   }
                 });
    parallel_for(x.count, tile, [&](std::int64_t row, std::int64_t end) {
      for (; row < end; row += tile) body(row, std::min(tile, end - row), packed);
    });
  }
}

// The tile of values <x_i, y_j> of some rows and a block.
void multiply(const SoftmaxRows& x, std::int64_t row, std::int64_t rows, const PackedBlock& block,
              float* values) {
  block.across.multiply(x.data + row * x.stride, x.stride, 1, rows, false, values, kTileStride);
}

}  // namespace

void softmax_sums(const SoftmaxRows& x, const SoftmaxFactor& y, float scale, double* sums,
                  float* exponents, float* own_logits) {
  std::fill_n(sums, x.count, 0.0);
  std::fill_n(exponents, x.count, kLowestExponent);
  for_tiles(x, y, false, [&](std::int64_t row, std::int64_t rows, const auto& blocks) {
    std::vector<float> values(rows * kTileStride);
    for (const std::optional<PackedBlock>& block : blocks) {
      multiply(x, row, rows, *block, values.data());
      const SoftmaxTile tile{values.data(), kTileStride, rows, block->count, scale};
      kernels().add_exponentials(tile, sums + row, exponents + row);
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t own = x.own[row + r] - block->first;
        if (own < 0 || own >= block->count) continue;
        own_logits[row + r] = values[r * kTileStride + own] * scale;
      }
    }
  });
}

void softmax_gradient(const SoftmaxRows& x, const SoftmaxFactor& y, float scale,
                      const SoftmaxNormalisers& x_sums, const SoftmaxNormalisers& y_sums,
                      float* gradient) {
  std::fill_n(gradient, x.count * y.width, 0.0F);
  for_tiles(x, y, true, [&](std::int64_t row, std::int64_t rows, const auto& blocks) {
    std::vector<float> values(rows * kTileStride);
    for (const std::optional<PackedBlock>& block : blocks) {
      multiply(x, row, rows, *block, values.data());
      const SoftmaxTile tile{values.data(), kTileStride, rows, block->count, scale};
      kernels().weigh(tile, {x_sums.inverse + row, x_sums.exponent + row},
                      {y_sums.inverse + block->first, y_sums.exponent + block->first});
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t own = x.own[row + r] - block->first;
        if (own >= 0 && own < block->count) values[r * kTileStride + own] -= 2;
      }
      block->along->multiply(values.data(), kTileStride, 1, rows, true, gradient + row * y.width,
                             y.width);
    }
  });
}

}  // namespace micrec
