#include "kernels/streamed_softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "kernels/dispatch.h"

namespace micrec {
namespace {

constexpr float kNothingBefore = -1e30F;

std::vector<float> normal_numbers(std::int64_t count, std::uint32_t stream) {
  const Random random(11, Purpose::synthetic, stream);
  std::vector<float> numbers(count);
  for (std::int64_t n = 0; n < count; ++n) numbers[n] = static_cast<float>(random.normal(n)[0]);
  return numbers;
}

std::vector<std::int32_t> permutation_of(std::int64_t count, std::uint32_t stream) {
  const Permutation permutation(count, 11, Purpose::synthetic, stream);
  std::vector<std::int32_t> numbers(count);
  for (std::int64_t n = 0; n < count; ++n)
    numbers[n] = static_cast<std::int32_t>(permutation.at(n));
  return numbers;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Two sides of as many rows, row i of x belonging to row i of y; y lies in the order of `place`.
struct Sides {
  Sides(std::int64_t rows, std::int64_t columns, float spread, std::uint32_t stream)
      : count(rows),
        width(columns),
        x(normal_numbers(rows * columns, 2 * stream)),
        y(normal_numbers(rows * columns, 2 * stream + 1)),
        place(permutation_of(std::max<std::int64_t>(rows, 1), stream)),
        own(rows) {
    for (float& number : x) number *= spread;
    place.resize(rows);
    std::iota(own.begin(), own.end(), 0);
    scattered.resize(y.size());
    for (std::int64_t j = 0; j < rows; ++j) {
      std::copy_n(y.data() + j * width, width, scattered.data() + place[j] * width);
    }
  }

  SoftmaxRows rows(std::int64_t begin, std::int64_t size) const {
    return {x.data() + begin * width, width, size, own.data() + begin};
  }
  SoftmaxFactor factor() const { return {scattered.data(), width, width, count, place.data()}; }

  std::int64_t count;
  std::int64_t width;
  std::vector<float> x;
  std::vector<float> y;
  std::vector<float> scattered;
  std::vector<std::int32_t> place;
  std::vector<std::int32_t> own;
};

struct Sums {
  std::vector<double> sums;
  std::vector<float> exponents;
  std::vector<float> own_logits;
  std::vector<float> inverse;  // with room for whole groups, as `exponents` has
};

Sums sums_of(const SoftmaxRows& x, const SoftmaxFactor& y, float scale, int threads) {
  Sums result;
  result.sums.resize(x.count);
  result.exponents.resize(x.count + kSoftmaxGroup);
  result.own_logits.resize(x.count);
  result.inverse.resize(x.count + kSoftmaxGroup);
  const ComputeThreads scope(threads);
  softmax_sums(x, y, scale, result.sums.data(), result.exponents.data(), result.own_logits.data());
  for (std::int64_t n = 0; n < x.count; ++n) {
    result.inverse[n] = static_cast<float>(1 / result.sums[n]);
  }
  return result;
}

// Whatever sums the columns have: a gradient is asked for under given ones.
Sums column_sums(std::int64_t count) {
  Sums result;
  result.inverse.resize(count + kSoftmaxGroup);
  result.exponents.resize(count + kSoftmaxGroup);
  const Random random(11, Purpose::synthetic, 77);
  for (std::int64_t n = 0; n < count; ++n) {
    result.inverse[n] = static_cast<float>(0.01 + random.uniform(n));
    result.exponents[n] = static_cast<float>(random.index(12, n, 1));
  }
  return result;
}

std::vector<float> gradient_of(const Sides& sides, std::int64_t begin, std::int64_t size,
                               float scale, const Sums& of_rows, const Sums& of_columns,
                               int threads) {
  std::vector<float> gradient(size * sides.width, NAN);
  const ComputeThreads scope(threads);
  softmax_gradient(sides.rows(begin, size), sides.factor(), scale,
                   {of_rows.inverse.data(), of_rows.exponents.data()},
                   {of_columns.inverse.data(), of_columns.exponents.data()}, gradient.data());
  return gradient;
}

TEST(StreamedSoftmax, AgreesWithPlainLoops) {
  for (const std::int64_t count : {1, 2, 15, 256, 257, 700}) {
    for (const std::int64_t width : {1, 7, 64, 300}) {
      const auto root = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
      const Sides sides(count, width, root, 1);
      const float scale = 3;
      const Sums got = sums_of(sides.rows(0, count), sides.factor(), scale, 2);
      const Sums columns = column_sums(count);
      const std::vector<float> gradient = gradient_of(sides, 0, count, scale, got, columns, 2);
      double error = 0, norm = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        std::vector<double> logits(count);
        double sum = 0;
        for (std::int64_t j = 0; j < count; ++j) {
          for (std::int64_t c = 0; c < width; ++c) {
            logits[j] += double{scale} * sides.x[i * width + c] * sides.y[j * width + c];
          }
          sum += std::exp2(logits[j]);
        }
        EXPECT_NEAR(std::ldexp(got.sums[i], static_cast<int>(got.exponents[i])) / sum, 1, 1e-5);
        EXPECT_GT(got.sums[i], 1.0 / 3);
        EXPECT_NEAR(got.own_logits[i], logits[i], 1e-5);
        std::vector<double> expected(width);
        for (std::int64_t j = 0; j < count; ++j) {
          const double weight = std::exp2(logits[j]) / sum +
                                std::exp2(logits[j] - columns.exponents[j]) * columns.inverse[j] -
                                (i == j ? 2 : 0);
          for (std::int64_t c = 0; c < width; ++c) expected[c] += weight * sides.y[j * width + c];
        }
        for (std::int64_t c = 0; c < width; ++c) {
          error += std::pow(gradient[i * width + c] - expected[c], 2);
          norm += std::pow(expected[c], 2);
        }
      }
      EXPECT_LT(std::sqrt(error / norm), 3e-6) << count << " rows of " << width;
    }
  }
}

TEST(StreamedSoftmax, GivesARowTheSameBitsInAnyCompanyOnAnyThreadsAndFromAnyPlace) {
  const std::int64_t count = 1111, width = 33;
  const Sides sides(count, width, 1, 2);
  const Sums all = sums_of(sides.rows(0, count), sides.factor(), 1.5F, 1);
  const Sums columns = column_sums(count);
  const std::vector<float> gradient = gradient_of(sides, 0, count, 1.5F, all, columns, 1);
  for (const std::int64_t begin : {0, 1, 300, 1110}) {
    for (const std::int64_t size : {1, 2, 13, 97, 811}) {
      if (begin + size > count) continue;
      for (const int threads : {1, 2, 5}) {
        const Sums part = sums_of(sides.rows(begin, size), sides.factor(), 1.5F, threads);
        for (std::int64_t n = 0; n < size; ++n) {
          ASSERT_EQ(part.sums[n], all.sums[begin + n]);
          ASSERT_EQ(part.exponents[n], all.exponents[begin + n]);
          ASSERT_EQ(part.own_logits[n], all.own_logits[begin + n]);
        }
        const std::vector<float> rows =
            gradient_of(sides, begin, size, 1.5F, part, columns, threads);
        EXPECT_TRUE(same_bits(rows, std::vector<float>(gradient.begin() + begin * width,
                                                       gradient.begin() + (begin + size) * width)));
      }
    }
  }
  Sides elsewhere(count, width, 1, 2);
  std::iota(elsewhere.place.begin(), elsewhere.place.end(), 0);
  elsewhere.scattered = elsewhere.y;
  EXPECT_TRUE(
      same_bits(sums_of(elsewhere.rows(0, count), elsewhere.factor(), 1.5F, 2).sums, all.sums));
  EXPECT_TRUE(same_bits(gradient_of(elsewhere, 0, count, 1.5F, all, columns, 2), gradient));
}

// Row i of one side and row j of the other meet in one logit, from whichever side it is asked for.
TEST(StreamedSoftmax, HasTheSameLogitsFromBothSides) {
  const std::int64_t count = 300, width = 40;
  const Sides there(count, width, 1, 3);
  Sides back = there;
  back.x = there.y;
  back.y = there.x;
  back.scattered = there.x;
  std::iota(back.place.begin(), back.place.end(), 0);
  EXPECT_TRUE(same_bits(sums_of(there.rows(0, count), there.factor(), 2, 1).own_logits,
                        sums_of(back.rows(0, count), back.factor(), 2, 1).own_logits));
}

TEST(StreamedSoftmax, HasRoomForLogitsFarApart) {
  // The highest logit comes last, 2000 above the first; then 1e5 above.
  for (const float scale : {10.0F, 500.0F}) {
    const std::int64_t count = 600;
    std::vector<float> x(count, 1), y(count);
    for (std::int64_t j = 0; j < count; ++j) y[j] = static_cast<float>(j) / 3;
    std::vector<std::int32_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    const Sums got = sums_of({x.data(), 1, count, order.data()},
                             {y.data(), 1, 1, count, order.data()}, scale, 2);
    for (std::int64_t i = 0; i < count; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < count; ++j) {
        sum += std::exp2(double{scale * y[j]} - double{scale * y[count - 1]});
      }
      const double expected = std::log2(sum) + double{scale * y[count - 1]};
      EXPECT_NEAR(std::log2(got.sums[i]) + got.exponents[i], expected, 1e-6 * expected);
    }
  }
}

TEST(StreamedSoftmax, KeepsANaN) {
  const std::int64_t count = 20;
  Sides sides(count, 3, 1, 4);
  sides.x[5 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
  const Sums got = sums_of(sides.rows(0, count), sides.factor(), 1, 1);
  const std::vector<float> gradient = gradient_of(sides, 0, count, 1, got, column_sums(count), 1);
  for (std::int64_t i = 0; i < count; ++i) {
    EXPECT_EQ(std::isnan(got.sums[i]), i == 5) << i;
    EXPECT_EQ(std::isnan(gradient[i * 3]), i == 5) << i;
  }
}

TEST(SoftmaxKernels, TakePowersOfTwoToASeventhDigit) {
  const std::int64_t count = 200'001;
  double worst = 0;
  for (std::int64_t n = 0; n < count; ++n) {
    float value = static_cast<float>(-80 + 160.0 * static_cast<double>(n) / (count - 1));
    double sum = 0;
    float exponent = kNothingBefore;
    kernels().add_exponentials({&value, kSoftmaxGroup, 1, 1, 1}, &sum, &exponent);
    worst = std::max(
        worst,
        std::abs(std::ldexp(sum, static_cast<int>(exponent)) / std::exp2(double{value}) - 1));
  }
  EXPECT_LT(worst, 1.3e-7);
  EXPECT_GT(worst, 0);
}

TEST(SoftmaxKernels, HaveTheSameBitsOnEveryInstructionSetAtEveryWidth) {
  constexpr std::int64_t kRows = 5, kStride = 272;
  const std::vector<float> numbers = normal_numbers(kRows * kStride, 9);
  const Sums sums = column_sums(kStride);
  for (const std::int64_t columns : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 100, 255, 256}) {
    std::vector<double> first_sums;
    std::vector<float> first_exponents, first_weights;
    for (const Kernels* const kernel : supported_kernels()) {
      std::vector<float> values = numbers;
      std::vector<double> totals(kRows, 0);
      std::vector<float> exponents(kRows, kNothingBefore);
      const SoftmaxTile tile{values.data(), kStride, kRows, columns, 7.2F};
      // Twice, the second time onto a sum that is there.
      kernel->add_exponentials(tile, totals.data(), exponents.data());
      kernel->add_exponentials(tile, totals.data(), exponents.data());
      kernel->weigh(tile, {sums.inverse.data() + 3, sums.exponents.data() + 3},
                    {sums.inverse.data(), sums.exponents.data()});
      std::vector<float> weights;
      for (std::int64_t r = 0; r < kRows; ++r) {
        weights.insert(weights.end(), values.begin() + r * kStride,
                       values.begin() + r * kStride + columns);
      }
      if (first_sums.empty()) {
        first_sums = totals;
        first_exponents = exponents;
        first_weights = weights;
      }
      const std::string where =
          kernel->instruction_set + std::string(", ") + std::to_string(columns) + " columns";
      EXPECT_TRUE(same_bits(totals, first_sums)) << where;
      EXPECT_TRUE(same_bits(exponents, first_exponents)) << where;
      EXPECT_TRUE(same_bits(weights, first_weights)) << where;
    }
  }
}

TEST(SoftmaxKernels, TakeAnExponentialAlikeAtEveryPlaceOfARow) {
  for (const Kernels* const kernel : supported_kernels()) {
    for (const std::int64_t columns : {1, 13, 16, 30, 256}) {
      for (std::int64_t place = 0; place < columns; ++place) {
        std::vector<float> values(kSoftmaxGroup * 16, -1e6F);
        values[place] = 0.3F;
        double sum = 0;
        float exponent = kNothingBefore;
        kernel->add_exponentials({values.data(), 256, 1, columns, 3.3F}, &sum, &exponent);
        float alone = 0.3F;
        double sum_alone = 0;
        float exponent_alone = kNothingBefore;
        kernel->add_exponentials({&alone, kSoftmaxGroup, 1, 1, 3.3F}, &sum_alone, &exponent_alone);
        ASSERT_EQ(sum, sum_alone) << kernel->instruction_set << " " << place << " of " << columns;
        ASSERT_EQ(exponent, exponent_alone);
      }
    }
  }
}

}  // namespace
}  // namespace micrec
