#include "model/step/row_functions.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <vector>

#include "base/parallel.h"
#include "cluster/thread_communicator.h"
#include "model/step/column_exchange.h"

namespace micrec {
namespace {

constexpr std::int64_t kRows = 37;
constexpr int kDim = 8;

at::Tensor numbers(at::IntArrayRef shape, std::int64_t seed) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  at::Tensor x = at::empty({count}, at::kFloat);
  for (std::int64_t i = 0; i < count; ++i) {
    x.data_ptr<float>()[i] =
        std::sin(static_cast<float>(i * 0.7 + static_cast<double>(seed) * 1.3 + i % 7));
  }
  return x.reshape(shape);
}

at::Tensor leaf(const at::Tensor& x) { return x.detach().clone().requires_grad_(true); }

at::Tensor copies_of(const at::Tensor& value, std::int64_t groups) {
  std::vector<std::int64_t> shape = value.sizes().vec();
  shape.insert(shape.begin(), groups);
  return value.detach().unsqueeze(0).expand(shape).requires_grad_(true);
}

std::vector<std::int32_t> three_groups() {
  std::vector<std::int32_t> group;  // the second is empty
  for (std::int64_t row = 0; row < kRows; ++row) group.push_back(row % 3 == 1 ? 2 : 0);
  return group;
}

at::Tensor of_group(std::int32_t group) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < kRows; ++row) {
    if (three_groups()[row] == group) rows.push_back(row);
  }
  return at::tensor(rows, at::kLong);
}

void expect_near(const at::Tensor& got, const at::Tensor& expected) {
  ASSERT_EQ(got.sizes(), expected.sizes());
  const at::Tensor difference = (got.to(at::kDouble) - expected).abs();
  const double scale = expected.numel() > 0 ? expected.abs().max().item<double>() : 0;
  EXPECT_LE(difference.numel() > 0 ? difference.max().item<double>() : 0, 1e-5 * scale + 1e-7);
}

const ColumnSums kWhole({1, 1}, kDim, nullptr);

TEST(GroupedRowProduct, HasAGradientOfTheWeightForEachGroup) {
  const ComputeThreads threads(2);
  const at::Tensor x = leaf(numbers({kRows, 5}, 1));
  const at::Tensor weight = copies_of(numbers({5, kDim}, 2), 3);
  const at::Tensor g = numbers({kRows, kDim}, 3);
  const at::Tensor y = grouped_row_product(x, weight, group_rows(three_groups(), 3));
  torch::autograd::backward({y}, {g});
  expect_near(y.detach(), at::mm(x.detach().to(at::kDouble), weight.detach()[0].to(at::kDouble)));
  for (const std::int32_t group : {0, 1, 2}) {
    const at::Tensor rows = of_group(group);
    expect_near(weight.grad()[group], at::mm(x.detach().index_select(0, rows).t().to(at::kDouble),
                                             g.index_select(0, rows).to(at::kDouble)));
  }
  expect_near(x.grad(), at::mm(g.to(at::kDouble), weight.detach()[0].t().to(at::kDouble)));
}

TEST(TimesTable, MultipliesByTheRowNamedAndIsZeroWhereNoneIs) {
  const ComputeThreads threads(2);
  const at::Tensor x = leaf(numbers({kRows, kDim}, 1));
  const at::Tensor table = copies_of(numbers({4, kDim}, 2), 3);
  std::vector<std::int32_t> index;
  for (std::int64_t row = 0; row < kRows; ++row) {
    index.push_back(static_cast<std::int32_t>(row % 5) - 1);
  }
  const at::Tensor g = numbers({kRows, kDim}, 3);
  const at::Tensor y =
      times_table(x, at::tensor(index, at::kInt), table, group_rows(three_groups(), 3));
  torch::autograd::backward({y}, {g});
  at::Tensor expected_table = at::zeros({3, 4, kDim}, at::kDouble);
  for (std::int64_t row = 0; row < kRows; ++row) {
    if (index[row] < 0) {
      EXPECT_EQ(at::count_nonzero(y[row]).item<std::int64_t>(), 0);
      EXPECT_EQ(at::count_nonzero(x.grad()[row]).item<std::int64_t>(), 0);
      continue;
    }
    EXPECT_TRUE(at::equal(y[row], x[row] * table[0][index[row]]));
    EXPECT_TRUE(at::equal(x.grad()[row], g[row] * table[0][index[row]]));
    expected_table[three_groups()[row]][index[row]] += (g[row] * x.detach()[row]).to(at::kDouble);
  }
  expect_near(table.grad(), expected_table);
}

TEST(ContentRows, AreUnitProjectionsTimesCoefficientsWithTheGradientOfAutograd) {
  const ComputeThreads threads(2);
  at::Tensor values = numbers({2, kRows, kDim}, 1);
  values[0][3].zero_();  // a projection without a direction
  const at::Tensor p = leaf(values);
  const std::vector<at::Tensor> tables = {copies_of(numbers({4, kDim}, 2), 3),
                                          copies_of(numbers({4, kDim}, 5), 3)};
  std::vector<std::int32_t> pattern;
  for (std::int64_t row = 0; row < kRows; ++row) pattern.push_back(static_cast<int>(row % 4));
  const at::Tensor g = numbers({kRows, kDim}, 3);
  const at::Tensor y =
      content_rows(p, at::tensor(pattern, at::kInt), tables, group_rows(three_groups(), 3), kWhole);
  torch::autograd::backward({y}, {g});

  const at::Tensor q = p.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor rows = at::tensor(std::vector<std::int64_t>(pattern.begin(), pattern.end()));
  std::vector<at::Tensor> expected_tables;
  at::Tensor expected;
  for (int m = 0; m < 2; ++m) {
    expected_tables.push_back(tables[m].detach()[0].to(at::kDouble).requires_grad_(true));
    const at::Tensor norm = (q[m] * q[m]).sum(1, true).clamp_min(1e-12).sqrt();
    const at::Tensor part = q[m] / norm * expected_tables[m].index_select(0, rows);
    expected = m == 0 ? part : expected + part;
  }
  torch::autograd::backward({expected}, {g.to(at::kDouble)});
  expect_near(y.detach(), expected.detach());
  for (int m = 0; m < 2; ++m) {
    // The row without a direction has the slope of the constant it is divided by.
    expect_near(p.grad()[m].slice(0, 4), q.grad()[m].slice(0, 4));
    expect_near(tables[m].grad().sum(0), expected_tables[m].grad());
    EXPECT_EQ(at::count_nonzero(tables[m].grad()[1]).item<std::int64_t>(), 0);
  }
}

TEST(BlockDots, AreDotProductsOfRowsOfTwoBlocks) {
  const at::Tensor x = leaf(numbers({3 * kRows, kDim}, 1));
  const std::vector<std::pair<int, int>> pairs = {{0, 1}, {0, 2}, {0, 0}};
  const at::Tensor y = block_dots("test.dots", x, 3, pairs, kWhole);
  const at::Tensor g = numbers({3, kRows}, 2).to(at::kDouble);
  torch::autograd::backward({y}, {g});
  const at::Tensor z = x.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor blocks = z.reshape({3, kRows, kDim});
  const at::Tensor expected =
      at::stack({(blocks[0] * blocks[1]).sum(1), (blocks[0] * blocks[2]).sum(1),
                 (blocks[0] * blocks[0]).sum(1)});
  torch::autograd::backward({expected}, {g});
  expect_near(y.detach(), expected.detach());
  expect_near(x.grad(), z.grad());
}

TEST(TripleLoss, IsTheWeightedSoftplusAndSquaresWithTheirSlopes) {
  const ComputeThreads threads(2);
  at::Tensor values = 3 * numbers({5, kRows}, 1).to(at::kDouble);
  values[0][0] = 900;  // neither overflows
  values[1][1] = 900;
  const at::Tensor dots = values.clone().requires_grad_(true);
  std::vector<double> weight;
  for (std::int64_t t = 0; t < kRows; ++t) weight.push_back(0.1 * static_cast<double>(t % 4));
  TripleSums parts;
  const at::Tensor w = at::tensor(weight, at::kDouble);
  const at::Tensor loss = triple_loss(dots, w, 0.3, group_rows(three_groups(), 3), parts);
  torch::autograd::backward({loss}, {at::full({}, 2.0, at::kDouble)});
  const at::Tensor same = values.clone().requires_grad_(true);
  const at::Tensor ranking = w * at::softplus(same[1] - same[0], 1, 100);
  const at::Tensor squares = w * (same[2] + same[3] + same[4]);
  const at::Tensor expected = ranking.sum() + 0.3 * squares.sum();
  torch::autograd::backward({expected}, {at::full({}, 2.0, at::kDouble)});
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-9 * expected.item<double>());
  EXPECT_TRUE(at::allclose(dots.grad(), same.grad(), 1e-12, 1e-14));
  for (const std::int32_t group : {0, 1, 2}) {
    EXPECT_NEAR(parts.ranking[group].item<double>(),
                ranking.index_select(0, of_group(group)).sum().item<double>(), 1e-9);
    EXPECT_NEAR(parts.squares[group].item<double>(),
                0.3 * squares.index_select(0, of_group(group)).sum().item<double>(), 1e-9);
  }
}

TEST(TripleLoss, OfNoTriplesIsZero) {
  TripleSums parts;
  const at::Tensor dots = at::zeros({2, 0}, at::kDouble).requires_grad_(true);
  const at::Tensor loss = triple_loss(dots, at::zeros({0}, at::kDouble), 0, RowGroups{}, parts);
  torch::autograd::backward({loss}, {at::ones({}, at::kDouble)});
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_EQ(dots.grad().numel(), 0);
}

// A row's result depends on its numbers alone, not on the rows before it or on who has which
// columns.
TEST(RowFunctions, HaveTheSameBitsForAnyColumnPartsAndPlaces) {
  constexpr int kWide = 48;
  const at::Tensor x = numbers({3 * kRows, kWide}, 1);
  const at::Tensor p = x.slice(0, 0, kRows).unsqueeze(0);
  const at::Tensor coefficients = copies_of(numbers({2, 1}, 4).expand({2, kWide}), 1);
  const at::Tensor pattern = at::ones({kRows}, at::kInt);
  const RowGroups all{kRows, 1, nullptr};
  const ColumnSums sums({1, 1}, kWide, nullptr);
  const std::vector<std::pair<int, int>> pairs = {{0, 1}, {2, 2}};
  const at::Tensor dots = block_dots("test.dots", x, 3, pairs, sums);
  const at::Tensor content = content_rows(p, pattern, {coefficients}, all, sums).detach();
  const at::Tensor last = content_rows(p.slice(1, kRows - 1).contiguous(), at::ones({1}, at::kInt),
                                       {coefficients}, RowGroups{1, 1, nullptr}, sums);
  EXPECT_TRUE(at::equal(last.detach()[0], content[kRows - 1]));
  for (const int parts : {2, 4, 8, 16}) {
    const ProcessGrid grid{1, parts};
    run_ranks(parts, [&](Communicator& columns) {
      const Range own = columns_of(grid, kWide, columns.rank());
      const ColumnSums of_part(grid, kWide, &columns);
      const auto cut = [&](const at::Tensor& of) {
        return of.slice(-1, own.begin, own.end).contiguous();
      };
      EXPECT_TRUE(at::equal(block_dots("test.dots", cut(x), 3, pairs, of_part), dots));
      EXPECT_TRUE(at::equal(
          content_rows(cut(p), pattern, {cut(coefficients.detach())}, all, of_part), cut(content)));
    });
  }
}

TEST(TreeSum, AddsNeighboursWhateverTheirNumber) {
  for (const std::int64_t count : {1, 2, 3, 7, 16}) {
    const at::Tensor x = numbers({count, 3}, 1).to(at::kDouble);
    EXPECT_TRUE(at::allclose(tree_sum(x), x.sum(0)));
  }
  const at::Tensor one = at::tensor({1e20, -1e20, 1.0, 2.0}, at::kDouble);
  EXPECT_EQ(tree_sum(one).item<double>(), 3);
  EXPECT_EQ(tree_sum(at::tensor({1.0, 1e20, -1e20}, at::kDouble)).item<double>(), 0);
}

TEST(ColumnExchange, MakesWholeRowsAndTakesThemApart) {
  for (const int parts : {1, 2, 4}) {
    const at::Tensor whole = numbers({11, 4 * 3}, 1);
    std::vector<std::int32_t> part_of_row;
    for (int row = 0; row < 11; ++row) part_of_row.push_back(row * row % 5 % parts);
    run_ranks(parts, [&](Communicator& world) {
      Communicator* columns = parts == 1 ? nullptr : &world;
      const ColumnExchange exchange(part_of_row, columns);
      const std::int64_t width = 12 / parts;
      const at::Tensor own =
          leaf(whole.slice(1, world.rank() * width, (world.rank() + 1) * width).contiguous());
      std::vector<std::int64_t> mine;
      for (int row = 0; row < 11; ++row) {
        if (part_of_row[row] == world.rank()) mine.push_back(row);
      }
      const at::Tensor rows = at::tensor(mine, at::kLong);
      const at::Tensor got = exchange.to_whole("test.whole", own);
      EXPECT_TRUE(at::equal(got.detach(), whole.index_select(0, rows)));
      EXPECT_TRUE(at::equal(exchange.to_columns("test.columns", got), own.detach()));
      // The transpose brings every column's gradient home.
      torch::autograd::backward({got}, {2 * got.detach()});
      if (parts > 1) {
        EXPECT_TRUE(at::equal(own.grad(), 2 * own.detach()));
      }
      const at::Tensor marks = at::arange(11, at::kByte);
      const at::Tensor picked = exchange.to_whole("test.marks", marks);
      EXPECT_TRUE(at::equal(picked, marks.index_select(0, rows)));
      EXPECT_TRUE(at::equal(exchange.to_columns("test.back", picked), marks));
      const at::Tensor matrix = numbers({2, 12}, 3);
      EXPECT_TRUE(at::equal(
          gather_columns(columns, "test.gather",
                         matrix.slice(1, world.rank() * width, (world.rank() + 1) * width)),
          matrix));
    });
  }
}

}  // namespace
}  // namespace micrec
