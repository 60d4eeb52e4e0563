#pragma once

#include <cstdint>
#include <vector>

namespace micrec {

/// The eigenvalues of a symmetric matrix and, in rows, its eigenvectors: A = V' diag(values) V.
struct SymmetricEigen {
  std::vector<double> values;   // (n), in no order
  std::vector<double> vectors;  // (n, n) V, orthonormal rows
};

/// By Householder reflections to a tridiagonal matrix, then implicit QR steps, in plain loops: a
/// library's bits may depend on its threads.
///
/// Shapes   matrix: (n, n), symmetric.
/// Ranks    local; the same bits on every rank.
/// Errors   CHECK where a number is not finite.
/// Cost     about 9 n^3 operations, one thread.
/// Source   Golub and Van Loan, Matrix Computations, algorithms 8.3.1 to 8.3.3.
SymmetricEigen symmetric_eigen(std::vector<double> matrix, std::int64_t n);

}  // namespace micrec
