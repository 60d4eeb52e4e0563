// The row functions as other devices than the CPU compute them, on the CPU: against those that are
// for the CPU.
#include "model/row_functions.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

constexpr double kClose = 2e-6;

RowGroups one_group(std::int64_t rows) { return {rows, 1, nullptr}; }

at::Tensor leaf(const at::Tensor& values) { return values.clone().requires_grad_(true); }

at::Tensor numbers_below(std::int64_t count, int below, int seed) {
  std::vector<std::int32_t> numbers;
  for (std::int64_t n = 0; n < count; ++n) {
    numbers.push_back(
        static_cast<std::int32_t>(mix(static_cast<std::uint32_t>(n * 31 + seed)) % below));
  }
  return at::tensor(numbers, at::kInt);
}

TEST(RowFunctionsOnDevice, TimesTableIsTheCpus) {
  constexpr std::int64_t kRows = 300;
  const at::Tensor index = numbers_below(kRows, 5, 1) - 1;  // -1: none
  const at::Tensor weights = random_matrix(kRows, 16, 9);
  const at::Tensor table = random_matrix(4, 16, 2);
  const at::Tensor x = leaf(random_matrix(kRows, 16, 1));
  const at::Tensor copies = leaf(table.unsqueeze(0));
  const at::Tensor expected = times_table(x, index, copies, one_group(kRows));
  (expected * weights).sum().backward();
  const at::Tensor other_x = leaf(x.detach());
  const at::Tensor other_copies = leaf(table.unsqueeze(0));
  const at::Tensor y = on_device::times_table(other_x, index, other_copies, one_group(kRows));
  (y * weights).sum().backward();
  EXPECT_TRUE(at::equal(y, expected));
  EXPECT_TRUE(at::equal(other_x.grad(), x.grad()));
  EXPECT_LT(relative_error(other_copies.grad(), copies.grad()), kClose);
}

TEST(RowFunctionsOnDevice, TimesRowIsTheCpus) {
  constexpr std::int64_t kRows = 300;
  const at::Tensor weights = random_matrix(kRows, 16, 9);
  const at::Tensor row = random_matrix(1, 16, 2);
  const at::Tensor x = leaf(random_matrix(kRows, 16, 1));
  const at::Tensor copies = leaf(row.unsqueeze(0));
  const at::Tensor expected = times_row(x, copies, one_group(kRows));
  (expected * weights).sum().backward();
  const at::Tensor other_x = leaf(x.detach());
  const at::Tensor other_copies = leaf(row.unsqueeze(0));
  const at::Tensor y = on_device::times_row(other_x, other_copies, one_group(kRows));
  (y * weights).sum().backward();
  EXPECT_TRUE(at::equal(y, expected));
  EXPECT_TRUE(at::equal(other_x.grad(), x.grad()));
  EXPECT_LT(relative_error(other_copies.grad(), copies.grad()), kClose);
}

TEST(RowFunctionsOnDevice, ContentRowsAreTheCpus) {
  constexpr std::int64_t kRows = 300;
  constexpr int kModalities = 2;
  const ColumnSums sums({1, 1}, 16, nullptr);
  at::Tensor projections = random_matrix(kModalities * kRows, 16, 3).view({kModalities, kRows, 16});
  projections[0][7].zero_();  // a row without a direction
  const at::Tensor pattern = numbers_below(kRows, 4, 2);
  const at::Tensor weights = random_matrix(kRows, 16, 9);
  struct Run {
    at::Tensor y, of_rows, of_first, of_second;
  };
  const auto run = [&](bool there) {
    const at::Tensor p = leaf(projections);
    const std::vector<at::Tensor> copies = {leaf(random_matrix(4, 16, 5).unsqueeze(0)),
                                            leaf(random_matrix(4, 16, 6).unsqueeze(0))};
    const at::Tensor y = there ? on_device::content_rows(p, pattern, copies, one_group(kRows), sums)
                               : content_rows(p, pattern, copies, one_group(kRows), sums);
    (y * weights).sum().backward();
    return Run{y, p.grad(), copies[0].grad(), copies[1].grad()};
  };
  const Run expected = run(false);
  const Run actual = run(true);
  EXPECT_LT(relative_error(actual.y, expected.y), kClose);
  EXPECT_LT(relative_error(actual.of_first, expected.of_first), kClose);
  EXPECT_LT(relative_error(actual.of_second, expected.of_second), kClose);
  // The row without a direction has a gradient a million times larger than the others'.
  EXPECT_LT(relative_error(actual.of_rows[0][7], expected.of_rows[0][7]), kClose);
  EXPECT_LT(relative_error(actual.of_rows.slice(1, 8), expected.of_rows.slice(1, 8)), kClose);
}

}  // namespace
}  // namespace micrec
