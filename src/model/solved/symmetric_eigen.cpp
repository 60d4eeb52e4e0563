#include "model/solved/symmetric_eigen.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace micrec {
namespace {

struct Tridiagonal {
  std::vector<double> diagonal;  // (n)
  std::vector<double> beside;    // (n - 1)
  std::vector<double> vectors;   // (n, n) rows of the basis in which the matrix is that
};

/// The reflection I - factor v v' that turns x into a multiple of the first unit vector, which it
/// returns; v takes the place of x.
double reflect(std::vector<double>& x, double& factor) {
  double square = 0;
  for (const double value : x) square += value * value;
  factor = 0;
  const double norm = std::sqrt(square);
  if (norm == 0) return 0;
  const double first = x[0] > 0 ? -norm : norm;
  x[0] -= first;
  factor = 1 / (norm * std::abs(x[0]));
  return first;
}

/// Rows and columns from `begin` on, of a symmetric matrix, reflected from both sides.
void reflect_both_sides(std::vector<double>& matrix, std::int64_t n, std::int64_t begin,
                        const std::vector<double>& v, double factor) {
  const std::int64_t size = n - begin;
  std::vector<double> w(size);
  double along = 0;
  for (std::int64_t r = 0; r < size; ++r) {
    const double* const row = matrix.data() + (begin + r) * n + begin;
    double sum = 0;
    for (std::int64_t c = 0; c < size; ++c) sum += row[c] * v[c];
    w[r] = factor * sum;
    along += w[r] * v[r];
  }
  for (std::int64_t r = 0; r < size; ++r) w[r] -= factor / 2 * along * v[r];
  for (std::int64_t r = 0; r < size; ++r) {
    double* const row = matrix.data() + (begin + r) * n + begin;
    for (std::int64_t c = 0; c < size; ++c) row[c] -= v[r] * w[c] + w[r] * v[c];
  }
}

/// Rows of `vectors` from `begin` on, reflected.
void reflect_rows(std::vector<double>& vectors, std::int64_t n, std::int64_t begin,
                  const std::vector<double>& v, double factor) {
  const auto size = static_cast<std::int64_t>(v.size());
  std::vector<double> along(n, 0);
  for (std::int64_t r = 0; r < size; ++r) {
    const double* const row = vectors.data() + (begin + r) * n;
    for (std::int64_t c = 0; c < n; ++c) along[c] += v[r] * row[c];
  }
  for (std::int64_t r = 0; r < size; ++r) {
    double* const row = vectors.data() + (begin + r) * n;
    for (std::int64_t c = 0; c < n; ++c) row[c] -= factor * v[r] * along[c];
  }
}

Tridiagonal tridiagonal(std::vector<double> matrix, std::int64_t n) {
  Tridiagonal result{std::vector<double>(n), std::vector<double>(n - 1),
                     std::vector<double>(n * n, 0)};
  for (std::int64_t i = 0; i < n; ++i) result.vectors[i * n + i] = 1;
  for (std::int64_t k = 0; k + 1 < n; ++k) {
    std::vector<double> v;
    for (std::int64_t r = k + 1; r < n; ++r) v.push_back(matrix[r * n + k]);
    double factor = 0;
    result.diagonal[k] = matrix[k * n + k];
    result.beside[k] = reflect(v, factor);
    if (factor == 0) continue;
    reflect_both_sides(matrix, n, k + 1, v, factor);
    reflect_rows(result.vectors, n, k + 1, v, factor);
  }
  result.diagonal[n - 1] = matrix[n * n - 1];
  return result;
}

/// One implicit QR step on rows [first, last] with the shift of the last two.
void step(Tridiagonal& t, std::int64_t n, std::int64_t first, std::int64_t last) {
  std::vector<double>& d = t.diagonal;
  std::vector<double>& e = t.beside;
  const double half = (d[last - 1] - d[last]) / 2;
  const double below = e[last - 1] * e[last - 1];
  const double root = std::sqrt(half * half + below);
  const double shift = d[last] - below / (half + (half < 0 ? -root : root));
  double x = d[first] - shift;
  double z = e[first];
  for (std::int64_t k = first; k < last; ++k) {
    const double length = std::sqrt(x * x + z * z);
    const double c = length == 0 ? 1 : x / length;
    const double s = length == 0 ? 0 : z / length;
    if (k > first) e[k - 1] = length;
    const double d0 = d[k], d1 = d[k + 1], between = e[k];
    d[k] = c * c * d0 + 2 * c * s * between + s * s * d1;
    d[k + 1] = s * s * d0 - 2 * c * s * between + c * c * d1;
    e[k] = c * s * (d1 - d0) + (c * c - s * s) * between;
    if (k + 1 < last) {
      x = e[k];
      z = s * e[k + 1];
      e[k + 1] *= c;
    }
    double* const a = t.vectors.data() + k * n;
    double* const b = a + n;
    for (std::int64_t i = 0; i < n; ++i) {
      const double old = a[i];
      a[i] = c * old + s * b[i];
      b[i] = c * b[i] - s * old;
    }
  }
}

}  // namespace

SymmetricEigen symmetric_eigen(std::vector<double> matrix, std::int64_t n) {
  CHECK_EQ(static_cast<std::int64_t>(matrix.size()), n * n);
  for (const double value : matrix) CHECK(std::isfinite(value)) << "not a finite number";
  Tridiagonal t = tridiagonal(std::move(matrix), n);
  double largest = 0;
  for (const double value : t.diagonal) largest = std::max(largest, std::abs(value));
  for (const double value : t.beside) largest = std::max(largest, std::abs(value));
  const auto is_split = [&](std::int64_t k) {
    return std::abs(t.beside[k]) <= std::numeric_limits<double>::epsilon() * largest;
  };
  for (std::int64_t last = n - 1; last > 0;) {
    if (is_split(last - 1)) {
      --last;
      continue;
    }
    std::int64_t first = last - 1;
    while (first > 0 && !is_split(first - 1)) --first;
    step(t, n, first, last);
  }
  return {std::move(t.diagonal), std::move(t.vectors)};
}

}  // namespace micrec
