// The body of the kernel of neighbour_sum, lane by lane on the CPU: it must give the bits of the
// kernels for the CPU, so it gives them on a GPU too.
#include "kernels/row_sum.h"

#include <gtest/gtest.h>

#include "emulated_warp.h"
#include "kernels/row_sum_call.h"
#include "sum_cases.h"

namespace micrec {
namespace {

template <typename Stored>
void emulate(const RowSumCall& call, int width) {
  if (width == 4) return emulate_row_sum<Stored, 4>(call);
  if (width == 2) return emulate_row_sum<Stored, 2>(call);
  emulate_row_sum<Stored, 1>(call);
}

at::Tensor emulated(const SumCase& one, int width) {
  const std::int64_t dim = one.x.size(1);
  const std::int64_t rows =
      one.options.rows ? static_cast<std::int64_t>(one.options.rows->size()) : one.pattern.rows();
  const at::Tensor x = one.x.to(one.x_type);
  at::Tensor out = at::full({rows, dim}, SumCase::kUntouched, one.out_type);
  const RowSumCall call = prepare_row_sum(out, one.pattern, x, one.options);
  if (call.x_is_bfloat16) {
    emulate<Bfloat16Bits>(call, width);
  } else {
    emulate<float>(call, width);
  }
  return out;
}

TEST(RowSum, GivesTheBitsOfTheCpuAtEveryWidthOfItsReads) {
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

TEST(RowSum, ReadsWideWhereNoLaneIsLeftIdle) {
  EXPECT_EQ(pack_width<float>(16, 4096), 1);
  EXPECT_EQ(pack_width<float>(64, 4096), 2);
  EXPECT_EQ(pack_width<float>(128, 4096), 4);
  EXPECT_EQ(pack_width<float>(130, 4096), 2);
  EXPECT_EQ(pack_width<float>(300, 4096), 4);
  EXPECT_EQ(pack_width<float>(129, 4096), 1);
  EXPECT_EQ(pack_width<float>(128, 4096 + 8), 2) << "x may begin anywhere";
  EXPECT_EQ(pack_width<float>(128, 4096 + 4), 1);
  EXPECT_EQ(pack_width<Bfloat16Bits>(128, 4096 + 8), 4);
}

TEST(RowSum, CopiesAPatternOnceAndAgainWhereItIsAnother) {
  const TestGraph graph = bipartite_graph(20, 11, 3);
  Pattern pattern = graph.pattern();
  const at::Tensor x = random_matrix(graph.nodes(), 4, 1);
  at::Tensor out = at::empty({graph.nodes(), 4});
  const void* const first = prepare_row_sum(out, pattern, x, {}).work.columns;
  EXPECT_NE(first, pattern.columns.data());
  EXPECT_EQ(prepare_row_sum(out, pattern, x, {}).work.columns, first);
  const Pattern copy = pattern;
  EXPECT_NE(prepare_row_sum(out, copy, x, {}).work.columns, first);
  const Pattern moved = std::move(pattern);
  EXPECT_EQ(prepare_row_sum(out, moved, x, {}).work.columns, first);
}

TEST(RowSum, RoundsToBfloat16AsLibTorchDoes) {
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
