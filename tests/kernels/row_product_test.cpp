#include "kernels/row_product.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "kernels/packed_matrix.h"
#include "tests/support/on_threads.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

TEST(RowProduct, AgreesWithAutogradOfMatrixProducts) {
  const ComputeThreads threads(2);
  for (const std::int64_t rows : {0, 1, 5, 14, 37, 1024, 2500}) {
    for (const std::int64_t inner : {1, 7, 64, 300, 600}) {
      for (const std::int64_t columns : {1, 3, 8, 17, 64, 100}) {
        if (rows * inner * columns > 4'000'000) continue;
        const at::Tensor x = random_matrix(rows, inner, 1);
        const at::Tensor weight = random_matrix(inner, columns, 2);
        at::Tensor x_double = x.to(at::kDouble).set_requires_grad(true);
        at::Tensor weight_double = weight.to(at::kDouble).set_requires_grad(true);
        const at::Tensor g = random_matrix(rows, columns, 3);
        const at::Tensor y = row_product(x, weight);
        const at::Tensor expected = x_double.mm(weight_double);
        expected.backward(g.to(at::kDouble));
        EXPECT_LT(relative_error(y, expected), 1e-5);
        EXPECT_LT(relative_error(row_product_transposed(g, weight), x_double.grad()), 1e-5);
        EXPECT_LT(relative_error(row_product_gradient(x, g), weight_double.grad()), 1e-5)
            << rows << " x " << inner << " x " << columns;
        EXPECT_TRUE(same_bits(row_product_transposed(x, weight.t().contiguous()), y));
      }
    }
  }
}

TEST(RowProduct, GivesARowTheSameBitsInAnyCompanyAndOnAnyThreads) {
  const at::Tensor x = random_matrix(333, 290, 1);
  const at::Tensor weight = random_matrix(290, 45, 2);
  const at::Tensor all = row_product(x, weight);
  for (const int threads : {2, 3, 7})
    EXPECT_TRUE(same_bits(on_threads(threads, [&] { return row_product(x, weight); }), all));
  for (const std::int64_t begin : {0, 1, 13, 332}) {
    for (const std::int64_t count : {1, 2, 3, 7, 29}) {
      if (begin + count > 333) continue;
      EXPECT_TRUE(
          same_bits(on_threads(2, [&] { return row_product(x.narrow(0, begin, count), weight); }),
                    all.narrow(0, begin, count)));
    }
  }
  EXPECT_TRUE(same_bits(row_product(x, weight.narrow(1, 7, 30)), all.narrow(1, 7, 30)));
}

TEST(RowProduct, GradientOfTheWeightHasTheSameBitsOnAnyThreads) {
  const at::Tensor x = random_matrix(3000, 50, 1);
  const at::Tensor g = random_matrix(3000, 33, 3);
  std::vector<at::Tensor> gradients;
  for (const int threads : {1, 2, 5}) {
    gradients.push_back(on_threads(threads, [&] { return row_product_gradient(x, g); }));
  }
  EXPECT_TRUE(same_bits(gradients[1], gradients[0]));
  EXPECT_TRUE(same_bits(gradients[2], gradients[0]));
}

TEST(RowProduct, IsOneChainOfFusedMultiplyAddsWhereTheProcessorHasThem) {
  constexpr std::int64_t kRows = 31, kInner = 700, kColumns = 50;
  const at::Tensor x = random_matrix(kRows, kInner, 1);
  const at::Tensor weight = random_matrix(kInner, kColumns, 2);
  const float* const a = x.const_data_ptr<float>();
  const float* const b = weight.const_data_ptr<float>();
  at::Tensor expected = at::zeros({kRows, kColumns});
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      float sum = 0;
      for (std::int64_t k = 0; k < kInner; ++k)
        sum = std::fma(a[r * kInner + k], b[k * kColumns + c], sum);
      expected.mutable_data_ptr<float>()[r * kColumns + c] = sum;
    }
  }
  const ComputeThreads threads(2);
  for (const Kernels* const kernel : supported_kernels()) {
    at::Tensor y = at::full({kRows, kColumns}, NAN);
    PackedMatrix(b, kInner, kColumns, kColumns, 1, *kernel)
        .multiply(a, kInner, 1, kRows, false, y.mutable_data_ptr<float>(), kColumns);
    const std::string set = kernel->instruction_set;
    if (set == "x86-64-v3" || set == "x86-64-v4") {
      EXPECT_TRUE(same_bits(y, expected)) << set;
    } else {
      EXPECT_LT(relative_error(y, expected), 1e-5) << set;
    }
  }
}

TEST(RowProduct, OfNothingIsZero) {
  const ComputeThreads threads(2);
  EXPECT_TRUE(same_bits(row_product(at::empty({3, 0}), at::empty({0, 4})), at::zeros({3, 4})));
  EXPECT_EQ(row_product(at::empty({3, 2}), at::empty({2, 0})).numel(), 0);
}

}  // namespace
}  // namespace micrec
