#pragma once

#include <cstdint>

#include "base/kernel_inline.h"

// Symmetric positive systems of equations, M x = r, 16 side by side: every number of a system
// stands beside the same number of the others, so that each operation is one over whole vectors.
// The bits of a solution depend on its own system alone: neither on the lane, the other systems,
// the instruction set nor the number of threads.
namespace micrec {

inline constexpr std::int64_t kSystemLanes = 16;  // systems solved at a time
inline constexpr std::int64_t kSystemStep = 4;    // n is a multiple of it

/// n of the smallest group that takes systems of `size` unknowns. The rest is filled up with the
/// identity: ones on the diagonal, zeros elsewhere and in the right side. So are smaller systems of
/// a group.
constexpr std::int64_t padded_system(std::int64_t size) {
  return (size + kSystemStep - 1) / kSystemStep * kSystemStep;
}

/// Where the lower triangle, row by row without gaps, has element (row, column), column <= row.
MICREC_SHARED_INLINE constexpr std::int64_t triangle_place(std::int64_t row, std::int64_t column) {
  return row * (row + 1) / 2 + column;
}

constexpr std::int64_t floats_of_matrices(std::int64_t n) {
  return triangle_place(n, 0) * kSystemLanes;
}
constexpr std::int64_t floats_of_right_sides(std::int64_t n) { return n * kSystemLanes; }

/// A group of systems; number `lane` has every 16th number from `lane` on.
struct PositiveSystems {
  std::int64_t n;  // unknowns, a multiple of kSystemStep
  float* matrix;   // (n (n + 1) / 2, 16) lower triangle; afterwards its factor L, with 1 / L_ii on
                   // the diagonal
  float* right;    // (n, 16); afterwards the solution
};

/// Square matrices that become those of a group.
struct SystemMatrices {
  std::int64_t n;
  const float* matrix[kSystemLanes];  // (n, n) each; of a row the elements after the diagonal are
                                      // not used
  float* to;                          // (n (n + 1) / 2, 16), written
};

}  // namespace micrec
