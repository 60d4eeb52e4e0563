#pragma once

#include <cmath>
#include <cstdint>

#include "base/kernel_inline.h"
#include "kernels/block_dots_warp.h"

// The contrastive loss on a GPU but for the products of its rows, which are LibTorch's: a warp a
// row, whose lanes take every 32nd column. A warp has, beside what neighbour_sum_warp.h and
// block_dots_warp.h say,
//   warp.largest(numbers)   the largest of all lanes' numbers, known to all
//
// People have two sides, their rows in two domains. The unit rows of a person lie side by side, the
// first side's columns before the second's.
namespace micrec {

/// Rows divided by their norms, or by the least norm where theirs is smaller.
struct UnitRowsCall {
  const float* sides[2];  // (people, dim) each
  std::int64_t people;
  std::int64_t dim;
  double least_square;  // of the least norm
  float* unit;          // (people, 2, dim)
  double* divisors;     // (2, people), minus the least norm where it is that
};

/// Row n of a side; tasks are (2 * people).
template <typename Warp>
MICREC_KERNEL_INLINE void unit_row(const Warp& warp, const UnitRowsCall& call, std::int64_t task) {
  const std::int64_t side = task / call.people;
  const std::int64_t n = task % call.people;
  const float* const x = (side == 0 ? call.sides[0] : call.sides[1]) + n * call.dim;
  const double square = dot_of_rows(warp, x, x, call.dim);
  const bool is_least = square < call.least_square;
  const double divisor = sqrt(is_least ? call.least_square : square);
  float* const unit = call.unit + (2 * n + side) * call.dim;
  warp.each([&](int lane) {
    for (std::int64_t c = lane; c < call.dim; c += kWarpLanes) {
      unit[c] = static_cast<float>(static_cast<double>(x[c]) / divisor);
    }
    if (lane == 0) call.divisors[task] = is_least ? -divisor : divisor;
  });
}

/// Adds a tile's cosines to the softmaxes of its rows.
struct SoftmaxTileCall {
  const float* cosines;  // (rows, columns)
  std::int64_t rows;
  std::int64_t columns;
  float sharpness;  // that a cosine is multiplied by: 1 / temperature
  bool is_first;    // of the tiles of these rows
  float* largest;   // (rows) cosine so far
  double* sums;     // (rows) of exp(sharpness * (cosine - largest))
};

template <typename Warp>
MICREC_KERNEL_INLINE void add_to_softmax(const Warp& warp, const SoftmaxTileCall& call,
                                         std::int64_t row) {
  const float* const cosines = call.cosines + row * call.columns;
  const float before = call.is_first ? -INFINITY : call.largest[row];
  typename Warp::template Lanes<float> largest_of;
  warp.each([&](int lane) {
    float largest = before;
    for (std::int64_t c = lane; c < call.columns; c += kWarpLanes) {
      largest = fmaxf(largest, cosines[c]);
    }
    largest_of[lane] = largest;
  });
  const float largest = warp.largest(largest_of);
  typename Warp::template Lanes<double> sums;
  warp.each([&](int lane) {
    double sum = 0;
    for (std::int64_t c = lane; c < call.columns; c += kWarpLanes) {
      sum += static_cast<double>(expf(call.sharpness * (cosines[c] - largest)));
    }
    sums[lane] = sum;
  });
  const double sum = warp.sum(sums);
  warp.each([&](int lane) {
    if (lane != 0) return;
    const double kept =
        call.is_first
            ? 0
            : call.sums[row] * exp(static_cast<double>(call.sharpness) * (before - largest));
    call.largest[row] = largest;
    call.sums[row] = kept + sum;
  });
}

/// What all ranks are told of a person: the logarithms of the sums of exponentials of both sides'
/// softmaxes, and both cross entropies together.
struct PersonLossCall {
  const float* unit;     // (people, 2, dim)
  const float* largest;  // (2, people)
  const double* sums;    // (2, people)
  std::int64_t people;
  std::int64_t dim;
  float sharpness;
  float* told;  // (people, 3)
};

template <typename Warp>
MICREC_KERNEL_INLINE void loss_of_person(const Warp& warp, const PersonLossCall& call,
                                         std::int64_t n) {
  const float* const first = call.unit + 2 * n * call.dim;
  const float* const second = first + call.dim;
  const auto sharpness = static_cast<double>(call.sharpness);
  const double own = sharpness * dot_of_rows(warp, first, second, call.dim);
  warp.each([&](int lane) {
    if (lane != 0) return;
    double both = 0;
    for (int side = 0; side < 2; ++side) {
      const std::int64_t at = side * call.people + n;
      const double log_sum = sharpness * static_cast<double>(call.largest[at]) + log(call.sums[at]);
      call.told[3 * n + side] = static_cast<float>(log_sum);
      both += log_sum - own;
    }
    call.told[3 * n + 2] = static_cast<float>(both);
  });
}

/// Turns a tile's cosines into what each column's row attracts each row with: the probabilities of
/// both softmaxes, for a person's own other side less 2.
struct AttractionCall {
  float* cosines;  // (rows, columns)
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t first_row;     // its person, among all
  std::int64_t first_column;  // likewise
  const float* told;          // (all people, 3)
  int side;                   // of the rows
  float sharpness;
};

MICREC_KERNEL_INLINE void attract(const AttractionCall& call, std::int64_t i) {
  const std::int64_t row = call.first_row + i / call.columns;
  const std::int64_t column = call.first_column + i % call.columns;
  const float logit = call.sharpness * call.cosines[i];
  const float of_row = expf(logit - call.told[3 * row + call.side]);
  const float of_column = expf(logit - call.told[3 * column + 1 - call.side]);
  call.cosines[i] = of_row + of_column - (row == column ? 2.0F : 0.0F);
}

/// The gradient in rows from that in their unit rows u, in place: upstream * factor * (g - u <u,
/// g>) / |x|.
struct UnitGradientCall {
  const float* unit;       // of a side; rows lie 2 * dim apart
  const double* divisors;  // (people) of the side
  std::int64_t people;
  std::int64_t dim;
  const double* upstream;  // one number
  double factor;
  float* gradient;  // (people, dim)
};

template <typename Warp>
MICREC_KERNEL_INLINE void through_unit_row(const Warp& warp, const UnitGradientCall& call,
                                           std::int64_t n) {
  const float* const unit = call.unit + 2 * n * call.dim;
  float* const gradient = call.gradient + n * call.dim;
  const double divisor = call.divisors[n];
  const double along = divisor > 0 ? dot_of_rows(warp, unit, gradient, call.dim) : 0;
  const double scale = *call.upstream * call.factor / fabs(divisor);
  warp.each([&](int lane) {
    for (std::int64_t c = lane; c < call.dim; c += kWarpLanes) {
      gradient[c] = static_cast<float>(
          (static_cast<double>(gradient[c]) - static_cast<double>(unit[c]) * along) * scale);
    }
  });
}

}  // namespace micrec
