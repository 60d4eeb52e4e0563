// The body of the kernel of neighbour_sum, lane by lane on the CPU: it must give the bits of the
// kernels for the CPU, so it gives them on a GPU too.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "emulated_warp.h"
#include "kernels/neighbour_sum_call.h"
#include "kernels/neighbour_sum_warp.h"
#include "sum_cases.h"

namespace micrec {
namespace {

template <typename Number>
void emulate_width(const SumCall& call, int width) {
  if (width == 4) return emulate<Number, 4>(call);
  if (width == 2) return emulate<Number, 2>(call);
  emulate<Number, 1>(call);
}

at::Tensor emulated(const SumCase& one, int width) {
  const at::Tensor x = one.x.to(one.x_type);
  at::Tensor out = at::full({one.output_rows(), x.size(1)}, SumCase::kUntouched, one.out_type);
  const PreparedSum sum = prepare_sum(out, one.pattern, x, one.options, ListsOf::device);
  if (sum.call.x_type == Stored::bfloat16) {
    emulate_width<Bfloat16Bits>(sum.call, width);
  } else {
    emulate_width<float>(sum.call, width);
  }
  return out;
}

TEST(NeighbourSumByWarps, GivesTheBitsOfTheCpuAtEveryWidthOfItsReads) {
  int compared = 0;
  for (const auto& one : sum_cases()) {
    const at::Tensor expected = one->expected();
    for (const int width : {1, 2, 4}) {
      if (one->x.size(1) % width != 0) continue;
      EXPECT_TRUE(same_bits(emulated(*one, width), expected)) << one->name << ", width " << width;
      ++compared;
    }
  }
  EXPECT_GT(compared, 2000);
}

TEST(NeighbourSumByWarps, ReadsWideWhereNoLaneIsLeftIdle) {
  const auto at = [](std::uintptr_t address) { return reinterpret_cast<const void*>(address); };
  EXPECT_EQ(pack_width<float>(16, at(4096)), 1);
  EXPECT_EQ(pack_width<float>(64, at(4096)), 2);
  EXPECT_EQ(pack_width<float>(128, at(4096)), 4);
  EXPECT_EQ(pack_width<float>(130, at(4096)), 2);
  EXPECT_EQ(pack_width<float>(300, at(4096)), 4);
  EXPECT_EQ(pack_width<float>(129, at(4096)), 1);
  EXPECT_EQ(pack_width<float>(128, at(4096 + 8)), 2) << "x may begin anywhere";
  EXPECT_EQ(pack_width<float>(128, at(4096 + 4)), 1);
  EXPECT_EQ(pack_width<Bfloat16Bits>(128, at(4096 + 8)), 4);
}

TEST(NeighbourSumByWarps, TakesRowsByFallingDegreeWhereAllOfARangeAreWanted) {
  Pattern pattern;
  const std::vector<std::int64_t> degrees = {3, 0, kHubChunk + 2, 3, 1, 7, 0, kHubChunk + 9};
  for (int turn = 0; turn < 9; ++turn) {  // 72 rows
    for (const std::int64_t degree : degrees) {
      for (std::int32_t c = 0; c < degree; ++c) pattern.columns.push_back(c);
      pattern.offsets.push_back(pattern.offsets.back() + degree);
    }
  }
  const at::Tensor x = random_matrix(kHubChunk + 9, 2, 1);
  at::Tensor out = at::empty({pattern.rows(), 2});
  for (const Range range : {Range{0, 72}, Range{0, 64}, Range{64, 72}}) {
    SumOptions options;
    options.range = range;
    const SumCall call = prepare_sum(out, pattern, x, options, ListsOf::device).call;
    ASSERT_NE(call.order, nullptr);
    std::vector<std::int32_t> expected(range.size());
    std::iota(expected.begin(), expected.end(), 0);
    std::stable_sort(expected.begin(), expected.end(), [&](std::int32_t a, std::int32_t b) {
      return degrees[a % 8] > degrees[b % 8];
    });
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), call.order));
  }
  const RowList some({1, 2, 9});
  SumOptions options;
  options.rows = &some;
  EXPECT_EQ(prepare_sum(out, pattern, x, options, ListsOf::device).call.order, nullptr);
  EXPECT_EQ(prepare_sum(out, pattern, x, {}, ListsOf::host).call.order, nullptr);
}

TEST(NeighbourSumByWarps, CopiesAPatternOnceAndAgainWhereItIsAnother) {
  const TestGraph graph = bipartite_graph(20, 11, 3);
  Pattern pattern = graph.pattern();
  const at::Tensor x = random_matrix(graph.nodes(), 4, 1);
  at::Tensor out = at::empty({graph.nodes(), 4});
  const auto columns_of = [&](const Pattern& one) {
    return prepare_sum(out, one, x, {}, ListsOf::device).call.columns;
  };
  const std::int32_t* const first = columns_of(pattern);
  EXPECT_NE(first, pattern.columns.data());
  EXPECT_EQ(columns_of(pattern), first);
  const Pattern copy = pattern;
  EXPECT_NE(columns_of(copy), first);
  const Pattern moved = std::move(pattern);
  EXPECT_EQ(columns_of(moved), first);
}

TEST(NeighbourSumByWarps, RoundsToBfloat16AsLibTorchDoes) {
  std::vector<float> values = {0.0F,   -0.0F,    1.0F,      1.00390625F, 1.01171875F, 3.4e38F,
                               1e-40F, INFINITY, -INFINITY, NAN,         65535.9F};
  for (int i = 0; i < 1000; ++i) values.push_back(std::ldexp(1.0F + i / 977.0F, i % 60 - 30));
  const at::Tensor expected = at::tensor(values).to(at::kBFloat16);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Bfloat16Bits bits = 0;
    store_as(values[i], &bits);
    Bfloat16Bits wanted = 0;
    std::memcpy(&wanted, static_cast<const char*>(expected.const_data_ptr()) + 2 * i,
                sizeof wanted);
    if (std::isnan(values[i])) {
      EXPECT_TRUE(std::isnan(as_float(bits)));
    } else {
      EXPECT_EQ(bits, wanted) << values[i];
      EXPECT_EQ(as_float(bits), expected[static_cast<std::int64_t>(i)].item<float>());
    }
  }
}

}  // namespace
}  // namespace micrec
