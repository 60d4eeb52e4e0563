// The row functions and the tables that rows are multiplied with on a device that the host plays,
// against those of the CPU.
#include "model/step/row_functions.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "graph/linear_operator.h"
#include "kernels/upload.h"
#include "model/modality.h"
#include "played_device.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

constexpr double kClose = 2e-6;
constexpr std::int64_t kRows = 1300;  // more than the threads of a block

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

/// The leaf of a table of scalars as rows are multiplied with it, on the device or on the CPU.
at::Tensor table_of(const at::Tensor& scalars, c10::Device device, std::int64_t width) {
  const std::int64_t columns = device.is_cpu() ? width : 1;
  return scalars.to(device)
      .view({1, -1, 1})
      .expand({1, scalars.size(0), columns})
      .requires_grad_(true);
}

/// Summed over the columns, as the step sums it, on the CPU.
at::Tensor gradient_of_table(const at::Tensor& table) { return table.grad().cpu().sum(2); }

TEST(RowFunctionsOnDevice, TimesTableIsTheCpus) {
  const at::Tensor index = numbers_below(kRows, 5, 1) - 1;  // -1: none
  const at::Tensor table = random_matrix(1, 4, 2)[0];
  struct Run {
    at::Tensor y, of_x, of_table;
  };
  for (const std::int64_t width : {16, 80}) {  // of one pass of a warp, and of several
    const auto run = [&](c10::Device device) {
      const at::Tensor x = leaf(random_matrix(kRows, width, 1).to(device));
      const at::Tensor copies = table_of(table, device, width);
      const at::Tensor y = times_table(x, index.to(device), copies, one_group(kRows));
      run_backward({y}, {random_matrix(kRows, width, 9).to(device)});
      return Run{y.detach().cpu(), x.grad().cpu(), gradient_of_table(copies)};
    };
    const Run expected = run(at::kCPU);
    const Run actual = run(played_device());
    EXPECT_TRUE(at::equal(actual.y, expected.y)) << width;
    EXPECT_TRUE(at::equal(actual.of_x, expected.of_x)) << width;
    EXPECT_LT(relative_error(actual.of_table, expected.of_table), kClose) << width;
  }
}

TEST(Uploads, AreCopiesOfAnySizeOnAnyDevice) {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1000}, (std::size_t{64} << 18) + 3}) {
    std::vector<std::int32_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), 7);
    const at::Tensor expected = at::tensor(numbers, at::kInt);
    for (const c10::Device device : {c10::Device(at::kCPU), played_device()}) {
      std::vector<std::int32_t> given = numbers;
      const at::Tensor there = upload(given, device);
      std::ranges::fill(given, -1);
      EXPECT_EQ(there.device(), device);
      EXPECT_TRUE(at::equal(there.cpu(), expected)) << count << " on " << device;
    }
  }
}

TEST(RowFunctionsOnDevice, TimesRowIsTheCpus) {
  const at::Tensor weights = random_matrix(kRows, 16, 9);
  const at::Tensor row = random_matrix(1, 16, 2);
  const at::Tensor x = leaf(random_matrix(kRows, 16, 1));
  const at::Tensor copies = leaf(row.unsqueeze(0));
  const at::Tensor expected = times_row(x, copies, one_group(kRows));
  run_backward({expected}, {weights});
  const at::Tensor other_x = leaf(x.detach().to(played_device()));
  const at::Tensor other_copies = leaf(row.unsqueeze(0).to(played_device()));
  const at::Tensor y = times_row(other_x, other_copies, one_group(kRows));
  run_backward({y}, {weights.to(played_device())});
  EXPECT_TRUE(at::equal(y.detach().cpu(), expected.detach()));
  EXPECT_TRUE(at::equal(other_x.grad().cpu(), x.grad()));
  EXPECT_LT(relative_error(other_copies.grad().cpu(), copies.grad()), kClose);
}

TEST(RowFunctionsOnDevice, ContentRowsAreTheCpus) {
  const ColumnSums sums({1, 1}, 16, nullptr);
  for (const std::int64_t modalities : {1, 2, 3}) {
    at::Tensor projections = random_matrix(modalities * kRows, 16, 3).view({modalities, kRows, 16});
    projections[0][6].mul_(1e-7);  // a row that is too short to be divided by its norm
    projections[0][7].zero_();     // one without a direction
    const int sets = 1 << modalities;
    const at::Tensor pattern = numbers_below(kRows, sets, 2);
    struct Run {
      at::Tensor y, of_rows;
      std::vector<at::Tensor> of_tables;
    };
    const auto run = [&](c10::Device device) {
      const at::Tensor p = leaf(projections.to(device));
      std::vector<at::Tensor> copies;
      for (std::int64_t m = 0; m < modalities; ++m) {
        copies.push_back(table_of(random_matrix(1, sets, 5 + m)[0], device, 16));
      }
      const at::Tensor y = content_rows(p, pattern.to(device), copies, one_group(kRows), sums);
      run_backward({y}, {random_matrix(kRows, 16, 9).to(device)});
      Run result{y.detach().cpu(), p.grad().cpu(), {}};
      for (const at::Tensor& copy : copies) result.of_tables.push_back(gradient_of_table(copy));
      return result;
    };
    const Run expected = run(at::kCPU);
    const Run actual = run(played_device());
    EXPECT_LT(relative_error(actual.y, expected.y), kClose);
    for (std::int64_t m = 0; m < modalities; ++m) {
      EXPECT_LT(relative_error(actual.of_tables[m], expected.of_tables[m]), kClose) << m;
    }
    // Both have gradients a million times larger than the others'.
    EXPECT_LT(relative_error(actual.of_rows[0][6], expected.of_rows[0][6]), kClose);
    EXPECT_LT(relative_error(actual.of_rows[0][7], expected.of_rows[0][7]), kClose);
    EXPECT_LT(relative_error(actual.of_rows.slice(1, 8), expected.of_rows.slice(1, 8)), kClose);
  }
}

TEST(RowFunctionsOnDevice, TablesOfModalitiesAreTheCpus) {
  const at::Tensor logits = at::tensor({0.3F, -1.2F, 2.0F});
  const at::Tensor sets = every_modality_set(3);
  for (const at::Tensor& gains :
       {at::Tensor(), at::tensor({0.7F}), at::tensor({0.7F, -1.5F}).unsqueeze(1)}) {
    struct Run {
      std::vector<at::Tensor> tables;
      at::Tensor of_logits, of_gains;
    };
    const auto run = [&](c10::Device device) {
      const at::Tensor of_logits = leaf(logits.to(device));
      const at::Tensor of_gains = gains.defined() ? leaf(gains.to(device)) : at::Tensor();
      const std::vector<at::Tensor> tables = modality_tables(of_logits, sets.to(device), of_gains);
      std::vector<at::Tensor> slopes;
      for (const at::Tensor& table : tables) {
        const auto seed = static_cast<std::int64_t>(slopes.size());
        slopes.push_back(random_matrix(1, table.numel(), seed)[0].to(device));
      }
      run_backward(tables, slopes);
      Run result{{}, of_logits.grad().cpu(), {}};
      for (const at::Tensor& table : tables) result.tables.push_back(table.detach().cpu());
      if (gains.defined()) result.of_gains = of_gains.grad().cpu();
      return result;
    };
    const Run expected = run(at::kCPU);
    const Run actual = run(played_device());
    ASSERT_EQ(actual.tables.size(), 3U);
    for (std::size_t m = 0; m < 3; ++m) {
      EXPECT_LT(relative_error(actual.tables[m], expected.tables[m]), kClose) << m;
    }
    EXPECT_LT(relative_error(actual.of_logits, expected.of_logits), kClose);
    if (!gains.defined()) continue;
    EXPECT_LT(relative_error(actual.of_gains, expected.of_gains), kClose);
  }
}

}  // namespace
}  // namespace micrec
