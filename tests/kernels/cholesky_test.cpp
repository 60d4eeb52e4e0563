#include "kernels/cholesky.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "kernels/dispatch.h"

namespace micrec {
namespace {

struct Group {
  std::int64_t n;
  std::vector<float> matrix;
  std::vector<float> right;
};

/// A group of systems as their matrices G G' / size + size of the diagonal, in full.
struct Systems {
  std::int64_t n;
  std::vector<std::vector<float>> matrices;  // (16) of (n, n)
  std::vector<std::vector<float>> rights;    // (16) of (n)
};

/// Lane `lane` has n - lane unknowns (at least one), the rest is the identity.
Systems random_systems(std::int64_t n, std::uint64_t seed) {
  const Random random(seed, Purpose::synthetic);
  Systems systems{n, {}, {}};
  std::uint64_t draw = 0;
  for (std::int64_t lane = 0; lane < kSystemLanes; ++lane) {
    const auto size = std::max<std::int64_t>(1, n - lane);
    std::vector<double> g(size * size);
    for (double& value : g) value = random.normal(draw++)[0];
    std::vector<float> matrix(n * n, 0.0F);
    std::vector<float> right(n, 0.0F);
    for (std::int64_t r = 0; r < n; ++r) {
      matrix[r * n + r] = 1;
      if (r >= size) continue;
      right[r] = static_cast<float>(random.normal(draw++)[0]);
      for (std::int64_t c = 0; c < size; ++c) {
        double sum = r == c ? 0.5 : 0.0;
        for (std::int64_t k = 0; k < size; ++k) {
          sum += g[r * size + k] * g[c * size + k] / static_cast<double>(size);
        }
        matrix[r * n + c] = static_cast<float>(sum);
      }
    }
    systems.matrices.push_back(std::move(matrix));
    systems.rights.push_back(std::move(right));
  }
  return systems;
}

Group group_of(const Systems& systems, const Kernels& kernels) {
  const std::int64_t n = systems.n;
  Group group{n, std::vector<float>(floats_of_matrices(n), NAN),
              std::vector<float>(floats_of_right_sides(n))};
  SystemMatrices matrices{n, {}, group.matrix.data()};
  for (std::int64_t lane = 0; lane < kSystemLanes; ++lane) {
    matrices.matrix[lane] = systems.matrices[lane].data();
    for (std::int64_t r = 0; r < n; ++r) {
      group.right[r * kSystemLanes + lane] = systems.rights[lane][r];
    }
  }
  kernels.interleave(matrices);
  return group;
}

/// The solution by a Cholesky factorisation in plain loops.
std::vector<double> solved(std::int64_t n, const std::vector<float>& matrix,
                           const std::vector<float>& right) {
  std::vector<double> factor(n * n, 0);
  std::vector<double> x(right.begin(), right.end());
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t c = 0; c <= r; ++c) {
      double sum = matrix[r * n + c];
      for (std::int64_t k = 0; k < c; ++k) sum -= factor[r * n + k] * factor[c * n + k];
      factor[r * n + c] = r == c ? std::sqrt(sum) : sum / factor[c * n + c];
    }
  }
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t k = 0; k < r; ++k) x[r] -= factor[r * n + k] * x[k];
    x[r] /= factor[r * n + r];
  }
  for (std::int64_t r = n - 1; r >= 0; --r) {
    for (std::int64_t k = r + 1; k < n; ++k) x[r] -= factor[k * n + r] * x[k];
    x[r] /= factor[r * n + r];
  }
  return x;
}

TEST(Cholesky, SolvesSystemsOfDifferentSizesSideBySide) {
  for (const std::int64_t n : {4, 8, 12, 32, 36, 64, 100}) {
    SCOPED_TRACE(n);
    const Systems systems = random_systems(n, 11);
    Group group = group_of(systems, kernels());
    kernels().solve_positive({n, group.matrix.data(), group.right.data()});
    for (std::int64_t lane = 0; lane < kSystemLanes; ++lane) {
      const std::vector<double> x = solved(n, systems.matrices[lane], systems.rights[lane]);
      for (std::int64_t r = 0; r < n; ++r) {
        ASSERT_NEAR(group.right[r * kSystemLanes + lane], x[r], 1e-4) << lane << ' ' << r;
      }
    }
  }
}

TEST(Cholesky, HasTheSameBitsOnEveryInstructionSet) {
  for (const std::int64_t n : {4, 28, 40, 100}) {
    SCOPED_TRACE(n);
    const Systems systems = random_systems(n, 12);
    Group first;
    for (const Kernels* const kernel : supported_kernels()) {
      SCOPED_TRACE(kernel->instruction_set);
      Group group = group_of(systems, *kernel);
      kernel->solve_positive({n, group.matrix.data(), group.right.data()});
      if (first.matrix.empty()) first = group;
      ASSERT_EQ(std::memcmp(first.matrix.data(), group.matrix.data(), group.matrix.size() * 4), 0);
      ASSERT_EQ(std::memcmp(first.right.data(), group.right.data(), group.right.size() * 4), 0);
    }
  }
}

TEST(Cholesky, GivesASystemTheSameBitsInEveryLaneAndSize) {
  constexpr std::int64_t kSize = 37;
  const Systems systems = random_systems(padded_system(kSize), 13);  // lane 3 has 37 unknowns
  Group small = group_of(systems, kernels());
  kernels().solve_positive({small.n, small.matrix.data(), small.right.data()});

  Systems wide = random_systems(80, 14);
  for (std::int64_t r = 0; r < wide.n; ++r) {
    for (std::int64_t c = 0; c < wide.n; ++c) {
      const bool is_inside = r < small.n && c < small.n;
      wide.matrices[9][r * wide.n + c] =
          is_inside ? systems.matrices[3][r * small.n + c] : static_cast<float>(r == c);
    }
    wide.rights[9][r] = r < small.n ? systems.rights[3][r] : 0;
  }
  Group large = group_of(wide, kernels());
  kernels().solve_positive({large.n, large.matrix.data(), large.right.data()});
  for (std::int64_t r = 0; r < kSize; ++r) {
    ASSERT_EQ(small.right[r * kSystemLanes + 3], large.right[r * kSystemLanes + 9]) << r;
  }
}

TEST(Cholesky, MakesASystemThatIsNotPositiveNanAndLeavesTheOthers) {
  constexpr std::int64_t kSize = 40;
  const Systems systems = random_systems(kSize, 15);
  Systems bad = systems;
  bad.matrices[2][0] = 0;
  bad.matrices[5][17 * kSize + 17] = -1;
  bad.matrices[7][39 * kSize + 39] = NAN;
  for (const Kernels* const kernel : supported_kernels()) {
    SCOPED_TRACE(kernel->instruction_set);
    Group good_group = group_of(systems, *kernel);
    Group bad_group = group_of(bad, *kernel);
    kernel->solve_positive({kSize, good_group.matrix.data(), good_group.right.data()});
    kernel->solve_positive({kSize, bad_group.matrix.data(), bad_group.right.data()});
    for (std::int64_t r = 0; r < kSize; ++r) {
      for (std::int64_t lane = 0; lane < kSystemLanes; ++lane) {
        const float x = bad_group.right[r * kSystemLanes + lane];
        if (lane == 2 || lane == 5 || lane == 7) {
          EXPECT_TRUE(std::isnan(x)) << r << ' ' << lane;
        } else {
          EXPECT_EQ(x, good_group.right[r * kSystemLanes + lane]) << r << ' ' << lane;
        }
      }
    }
  }
}

}  // namespace
}  // namespace micrec
