#pragma once

#include "base/kernel_inline.h"

// How the numbers of a system of item regression (model/item_regression/item_systems.h) are made of
// products of columns and of features: the same operations in the same order wherever it is solved.
namespace micrec {

/// A product with that of a modality's features, times the square of its alpha.
MICREC_SHARED_INLINE float with_features(float product, float squared_alpha, float alike) {
  return product + squared_alpha * alike;
}

/// How much a neighbour counts: not at all where its right side is not positive.
MICREC_SHARED_INLINE float keep_of(float right, float cross) { return right > 0 ? cross : 0; }

MICREC_SHARED_INLINE float matrix_number(float product, float keep_row, float keep_column) {
  return product * (keep_row * keep_column);
}

/// How much less a column that many met may say by itself: as if each of its numbers were left out
/// at random in a third of all histories (EDLAE; Steck, NeurIPS 2020).
inline constexpr float kDenoising = 0.5F;  // p / (1 - p), p = 1/3

/// A number of the diagonal with what the ridge adds. The row of a neighbour that does not stay is
/// the identity's.
MICREC_SHARED_INLINE float on_diagonal(float number, float keep, float lambda) {
  return keep > 0 ? (1 + kDenoising) * number + lambda : 1;
}

}  // namespace micrec
