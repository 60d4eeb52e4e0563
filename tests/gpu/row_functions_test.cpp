// The row functions and the contrastive loss as other devices than the CPU compute them, on the
// CPU: against those that are for the CPU.
#include "model/row_functions.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "model/contrastive_share.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

constexpr double kClose = 2e-6;

RowGroups one_group(std::int64_t rows) { return {rows, 1, 2, nullptr}; }

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

TEST(ContrastiveOnDevice, IsTheCpusAtAnyNumberOfRanksAndAnySizeOfTiles) {
  const at::Tensor first = random_matrix(23, 8, 1);
  at::Tensor second = random_matrix(23, 8, 2);
  second[4].zero_();
  struct Run {
    double loss;
    at::Tensor of_first, of_second;
  };
  Run expected;
  run_ranks(1, [&](Communicator& alone) {
    std::vector<std::int32_t> positions(23);
    for (int n = 0; n < 23; ++n) positions[n] = n;
    const at::Tensor a = leaf(first), b = leaf(second);
    const at::Tensor loss = contrastive_share(a, b, {23}, positions, 0.2, alone, 1);
    (loss * 3).backward();
    expected = {loss.item<double>(), a.grad(), b.grad()};
  });
  for (const std::vector<std::int64_t>& rows_per_rank :
       {std::vector<std::int64_t>{23}, {20, 3}, {9, 0, 14}, {0, 23, 0, 0}}) {
    for (const std::int64_t tile_numbers :
         {std::int64_t{1}, std::int64_t{50}, std::int64_t{4096}}) {
      const auto ranks = static_cast<int>(rows_per_rank.size());
      std::vector<double> losses(ranks);
      std::vector<at::Tensor> of_first(ranks), of_second(ranks);
      run_ranks(ranks, [&](Communicator& group) {
        std::int64_t begin = 0;
        for (int q = 0; q < group.rank(); ++q) begin += rows_per_rank[q];
        const std::int64_t end = begin + rows_per_rank[group.rank()];
        const at::Tensor a = leaf(first.slice(0, begin, end));
        const at::Tensor b = leaf(second.slice(0, begin, end));
        const at::Tensor loss =
            contrastive_on_device(a, b, rows_per_rank, 0.2, group, tile_numbers);
        (loss * 3).backward();
        losses[group.rank()] = loss.item<double>();
        of_first[group.rank()] = a.grad();
        of_second[group.rank()] = b.grad();
      });
      double loss = 0;
      for (const double share : losses) loss += share;
      EXPECT_NEAR(loss, expected.loss, 1e-5 * std::abs(expected.loss)) << ranks;
      // The gradient of the row of zeros is divided by its smallest norm.
      const auto close = [](const at::Tensor& actual, const at::Tensor& wanted) {
        return relative_error(actual.slice(0, 5), wanted.slice(0, 5)) < 1e-5 &&
               relative_error(actual.slice(0, 0, 4), wanted.slice(0, 0, 4)) < 1e-5 &&
               relative_error(actual.slice(0, 4, 5), wanted.slice(0, 4, 5)) < 1e-5;
      };
      EXPECT_TRUE(close(at::cat(of_first), expected.of_first)) << ranks;
      EXPECT_TRUE(close(at::cat(of_second), expected.of_second)) << ranks;
    }
  }
}

TEST(ContrastiveOnDevice, NobodyIsLegal) {
  SelfCommunicator alone;
  const at::Tensor none = at::zeros({0, 8}).requires_grad_(true);
  const at::Tensor loss = contrastive_on_device(none, none, {0}, 0.2, alone);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0);
}

}  // namespace
}  // namespace micrec
