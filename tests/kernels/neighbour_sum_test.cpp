#include "kernels/neighbour_sum.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/parallel.h"
#include "kernels/dispatch.h"
#include "kernels/neighbour_sum_call.h"
#include "tests/support/on_threads.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

const std::vector<std::int64_t> kWidths = {1, 2, 3, 5, 8, 15, 16, 17, 33, 64, 100, 128, 256, 300};

// A plain loop in double precision over everything that SumOptions can ask for.
at::Tensor reference(const TestGraph& graph, const at::Tensor& x, const SumOptions& options,
                     bool weighted) {
  const std::int64_t dim = x.size(1);
  at::Tensor result = at::zeros({graph.nodes(), dim}, at::kDouble);
  const auto at_row = [](const at::Tensor& tensor, std::int64_t row) {
    return tensor.defined() ? tensor[row].item<double>() : 1.0;
  };
  const EdgeDropout& dropout = options.dropout;
  for (std::int32_t row = 0; row < graph.nodes(); ++row) {
    at::Tensor sum = at::zeros({dim}, at::kDouble);
    for (const std::int32_t column : graph.lists[row]) {
      const bool kept = dropout.transposed
                            ? keeps_edge(dropout.seed, dropout.probability, column, row)
                            : keeps_edge(dropout.seed, dropout.probability, row, column);
      if (!kept) continue;
      const double weight = weighted ? TestGraph::weight(row, column) : 1.0;
      sum += x[column].to(at::kDouble) * (weight * at_row(options.scaling.column, column));
    }
    sum *= at_row(options.scaling.row, row) / (1.0 - dropout.probability);
    if (options.horner.addend.defined()) {
      sum += options.horner.addend[row].to(at::kDouble) * at_row(options.horner.scale, row);
    }
    result[row] = sum * options.horner.factor;
  }
  return result;
}

at::Tensor take(const at::Tensor& x, const std::vector<std::int32_t>& rows) {
  return x.index_select(0,
                        at::tensor(std::vector<std::int64_t>(rows.begin(), rows.end()), at::kLong));
}

TEST(NeighbourSum, AgreesWithAPlainLoopAtEveryWidth) {
  const TestGraph graph = bipartite_graph(40, 25, 4);
  for (const std::int64_t dim : kWidths) {
    const at::Tensor x = random_matrix(graph.nodes(), dim, 1);
    EXPECT_LT(relative_error(neighbour_sum(graph.pattern(), x, {}), reference(graph, x, {}, false)),
              1e-6)
        << "dim " << dim;
  }
}

TEST(NeighbourSum, AppliesScalesWeightsDropoutAndHorner) {
  const TestGraph graph = bipartite_graph(40, 25, 4);
  const Pattern pattern = graph.pattern();
  const std::int64_t nodes = graph.nodes();
  at::Tensor mask = random_matrix(nodes, 1, 4).flatten();
  mask.mutable_data_ptr<float>()[3] = 0;
  for (std::int64_t i = 0; i < nodes; i += 3) mask.mutable_data_ptr<float>()[i] = 0;
  std::vector<GlobalNode> owned;
  for (std::int32_t i = 0; i < nodes; ++i) owned.push_back(GlobalNode(i));
  const std::vector<float> weights = graph.rows_of(owned).weights;
  for (const std::int64_t dim : {3, 17, 64}) {
    const at::Tensor x = random_matrix(nodes, dim, 2);
    for (int choice = 0; choice < 64; ++choice) {
      SumOptions options;
      if (choice & 1) options.scaling.row = random_matrix(nodes, 1, 3).flatten();
      if (choice & 2) options.scaling.column = mask;
      if (choice & 4) options.dropout = {0.4F, 9, (choice & 8) != 0};
      if (choice & 16)
        options.horner = {random_matrix(nodes, dim, 5), at::Tensor(), nullptr, 0.25F};
      if (choice & 32) {
        options.edge_weights = at::tensor(weights);
        if (choice & 16) options.horner.scale = random_matrix(nodes, 1, 6).flatten();
      }
      EXPECT_LT(relative_error(on_threads(2, [&] { return neighbour_sum(pattern, x, options); }),
                               reference(graph, x, options, (choice & 32) != 0)),
                1e-5)
          << "dim " << dim << ", choice " << choice;
    }
  }
}

TEST(NeighbourSum, ReadsNoRowUnderAZeroColumnWeight) {
  const TestGraph graph = bipartite_graph(40, 25, 4);
  at::Tensor x = random_matrix(graph.nodes(), 8, 2);
  at::Tensor mask = at::zeros({graph.nodes()});
  mask.mutable_data_ptr<float>()[45] = 1;
  SumOptions options;
  options.scaling.column = mask;
  const at::Tensor expected = reference(graph, x, options, false);
  x.mutable_data_ptr<float>()[46 * 8] = NAN;
  EXPECT_LT(relative_error(neighbour_sum(graph.pattern(), x, options), expected), 1e-6);
}

TEST(NeighbourSum, GivesOnlyTheRowsWantedWithTheSameBits) {
  const TestGraph graph = bipartite_graph(9000, 30, 3);
  const Pattern pattern = graph.pattern();
  const RowList rows({0, 1, 7, 4999, 8999, 9000, 9003, 9029});
  const at::Tensor x = random_matrix(graph.nodes(), 17, 3);
  SumOptions options;
  for (const float probability : {0.0F, 0.5F}) {
    options.dropout.probability = probability;
    options.horner.addend = random_matrix(graph.nodes(), 17, 4);
    options.rows = nullptr;
    const at::Tensor all = neighbour_sum(pattern, x, options);
    options.rows = &rows;
    EXPECT_TRUE(same_bits(on_threads(2, [&] { return neighbour_sum(pattern, x, options); }),
                          take(all, rows.rows())));
  }
  const RowList none;
  options.rows = &none;
  EXPECT_EQ(on_threads(2, [&] { return neighbour_sum(pattern, x, options); }).sizes(),
            (std::vector<std::int64_t>{0, 17}));
}

TEST(NeighbourSum, SkipsColumnsThatAreNotActive) {
  const TestGraph graph = bipartite_graph(9000, 30, 3);
  const Pattern pattern = graph.pattern();
  std::vector<std::int32_t> active = {0, 5, 63, 64, 65, 8998, 9000, 9001, 9029};
  for (std::int32_t i = 100; i < 6000; i += 2) active.push_back(i);
  std::sort(active.begin(), active.end());
  const RowSet set(graph.nodes(), active);
  const at::Tensor compact = random_matrix(set.size(), 20, 4);
  const at::Tensor index = at::tensor(std::vector<std::int64_t>(active.begin(), active.end()));
  const at::Tensor full = at::zeros({graph.nodes(), 20}).index_copy(0, index, compact);
  SumOptions options;
  options.scaling = {random_matrix(graph.nodes(), 1, 5).flatten(),
                     random_matrix(graph.nodes(), 1, 6).flatten()};
  options.horner.addend = full;
  const at::Tensor expected = neighbour_sum(pattern, full, options);
  options.active_columns = &set;
  options.horner.addend = compact;
  options.horner.addend_rows = &set;
  EXPECT_TRUE(
      same_bits(on_threads(2, [&] { return neighbour_sum(pattern, compact, options); }), expected));
}

TEST(NeighbourSum, GivesEveryRowTheAddendThatItNames) {
  const TestGraph graph = bipartite_graph(4700, 60, 3);  // with a hub
  const std::int64_t nodes = graph.nodes();
  const at::Tensor x = random_matrix(nodes, 17, 3);
  const at::Tensor shared = random_matrix(4, 17, 4);
  std::vector<std::int32_t> of;
  for (std::int32_t row = 0; row < nodes; ++row) of.push_back(row % 7 % 4);
  SumOptions options;
  options.horner.scale = random_matrix(nodes, 1, 6).flatten();
  options.horner.addend = take(shared, of);
  const at::Tensor expected = neighbour_sum(graph.pattern(), x, options);
  options.horner.addend = shared;
  options.horner.addend_of = at::tensor(of, at::kInt);
  EXPECT_TRUE(same_bits(on_threads(2, [&] { return neighbour_sum(graph.pattern(), x, options); }),
                        expected));
  const RowList rows({0, 3, 4699, 4700, 4759});
  options.rows = &rows;
  EXPECT_TRUE(same_bits(neighbour_sum(graph.pattern(), x, options), take(expected, rows.rows())));
  options.rows = nullptr;
  at::Tensor parts = at::full({nodes, 17}, -1.0);
  for (const Range range : {Range{0, 128}, Range{128, nodes}}) {
    options.range = range;
    on_threads(2, [&] { neighbour_sum_into(parts, graph.pattern(), x, options); });
  }
  EXPECT_TRUE(same_bits(parts, expected));
}

TEST(NeighbourSumDeathTest, RefusesAddendsThatNoRowNames) {
  const TestGraph graph = bipartite_graph(9, 8, 2);
  const at::Tensor x = random_matrix(graph.nodes(), 4, 3);
  SumOptions options;
  options.horner.addend = random_matrix(2, 4, 4);
  options.horner.addend_of = at::zeros({graph.nodes() - 1}, at::kInt);
  EXPECT_DEATH(neighbour_sum(graph.pattern(), x, options), "an int32 for each of the 17");
}

TEST(NeighbourSum, SumsHubsInFixedChunks) {
  const TestGraph graph = bipartite_graph(9001, 3, 0);
  const Pattern pattern = graph.pattern();
  ASSERT_EQ(pattern.degree(9001), 9000);
  const at::Tensor x = random_matrix(graph.nodes(), 3, 7);
  const at::Tensor sum = neighbour_sum(pattern, x, {});
  std::vector<float> expected(3);
  for (std::int64_t begin = 0; begin < 9000; begin += kHubChunk) {
    std::vector<float> chunk(3);
    for (std::int64_t i = begin; i < std::min(begin + kHubChunk, std::int64_t{9000}); ++i) {
      for (int c = 0; c < 3; ++c) chunk[c] += x.const_data_ptr<float>()[i * 3 + c];
    }
    for (int c = 0; c < 3; ++c) expected[c] += chunk[c];
  }
  for (int c = 0; c < 3; ++c) EXPECT_EQ(sum[9001][c].item<float>(), expected[c]);
}

TEST(NeighbourSum, HasTheSameBitsWithAnyNumberOfThreads) {
  const TestGraph graph = bipartite_graph(9000, 300, 5);
  const Pattern pattern = graph.pattern();
  for (const std::int64_t dim : {3, 64, 100}) {
    const at::Tensor x = random_matrix(graph.nodes(), dim, 8);
    SumOptions options;
    options.scaling.column = random_matrix(graph.nodes(), 1, 9).flatten();
    options.dropout = {0.2F, 3, false};
    const at::Tensor plain = neighbour_sum(pattern, x, {});
    const at::Tensor dropped = neighbour_sum(pattern, x, options);
    for (const int threads : {2, 3, 7}) {
      EXPECT_TRUE(
          same_bits(on_threads(threads, [&] { return neighbour_sum(pattern, x, {}); }), plain))
          << dim;
      EXPECT_TRUE(same_bits(on_threads(threads, [&] { return neighbour_sum(pattern, x, options); }),
                            dropped))
          << dim;
    }
  }
}

TEST(NeighbourSum, HasTheSameBitsOnEveryInstructionSet) {
  const TestGraph graph = bipartite_graph(300, 40, 25);
  const Pattern pattern = graph.pattern();
  const std::int64_t nodes = graph.nodes();
  const at::Tensor scale = random_matrix(nodes, 1, 1).flatten().relu();  // half of them zero
  for (const std::int64_t dim : kWidths) {
    const at::Tensor x = random_matrix(nodes, dim, 8);
    SumCall call;
    call.offsets = pattern.offsets.data();
    call.columns = pattern.columns.data();
    call.nonzeros = pattern.nonzeros();
    call.x = x.const_data_ptr();
    call.dim = dim;
    call.factor = 0.3F;
    for (int choice = 0; choice < 8; ++choice) {
      call.row_scale = call.column_scale = choice & 1 ? scale.const_data_ptr<float>() : nullptr;
      call.skips_zero_columns = (choice & 2) != 0;
      call.dropout = {dropout_key(5), choice & 4 ? dropout_threshold(0.3F) : 0, false};
      at::Tensor expected;
      for (const Kernels* const kernel : supported_kernels()) {
        at::Tensor out = at::full({nodes, dim}, NAN);
        call.out = out.mutable_data_ptr();
        kernel->sum_rows(call, 0, nodes);
        if (!expected.defined()) expected = out;
        EXPECT_TRUE(same_bits(out, expected)) << kernel->instruction_set << ", dim " << dim;
      }
    }
  }
}

TEST(NeighbourSum, HasTheSameBitsWhereItIsLargeEnoughToBeWrittenPastTheCaches) {
  const TestGraph graph = bipartite_graph(60'000, 50, 2);
  const Pattern pattern = graph.pattern();
  const std::int64_t nodes = graph.nodes();
  std::vector<std::int32_t> some;
  for (std::int32_t row = 3; row < nodes; row += 11) some.push_back(row);
  for (const std::int64_t dim : {64, 68, 72}) {  // which vectors divide and which do not
    const at::Tensor x = random_matrix(nodes, dim, 8);
    SumOptions options;
    options.scaling = {random_matrix(nodes, 1, 3).flatten(), random_matrix(nodes, 1, 4).flatten(),
                       false};
    options.horner.addend = random_matrix(nodes, dim, 5);
    const RowList wanted(some);
    options.rows = &wanted;
    const at::Tensor expected = neighbour_sum(pattern, x, options);
    options.rows = nullptr;
    for (const int threads : {1, 3}) {
      const at::Tensor all =
          on_threads(threads, [&] { return neighbour_sum(pattern, x, options); });
      ASSERT_GE(all.nbytes(), std::size_t{12} << 20);
      EXPECT_TRUE(same_bits(take(all, some), expected)) << dim << ", " << threads << " threads";
    }
    at::Tensor of_first;
    for (const Kernels* const kernel : supported_kernels()) {
      at::Tensor out = at::full({nodes, dim}, NAN);
      const PreparedSum sum = prepare_sum(out, pattern, x, options, ListsOf::host);
      kernel->sum_rows(sum.call, 0, nodes);
      if (!of_first.defined()) of_first = out;
      EXPECT_TRUE(same_bits(out, of_first)) << kernel->instruction_set << ", dim " << dim;
    }
    EXPECT_TRUE(same_bits(of_first.slice(0, 0, 1000),
                          neighbour_sum(pattern, x, options).slice(0, 0, 1000)));
  }
}

// The same rows, stored in another order.
Pattern stored_otherwise(const Pattern& rising) {
  Pattern stored;
  for (std::int64_t row = 0; row < rising.rows(); ++row) {
    stored.row_at.push_back(static_cast<std::int32_t>(row));
  }
  std::ranges::sort(stored.row_at, {}, [](std::int32_t row) {
    return std::pair(row / 1024, mix(static_cast<std::uint32_t>(row)));
  });
  stored.place_of.resize(rising.rows());
  for (const std::int32_t row : stored.row_at) {
    stored.place_of[row] = static_cast<std::int32_t>(stored.rows());
    stored.columns.insert(stored.columns.end(), rising.columns.begin() + rising.begin(row),
                          rising.columns.begin() + rising.end(row));
    stored.offsets.push_back(static_cast<std::int64_t>(stored.columns.size()));
  }
  return stored;
}

TEST(NeighbourSum, HasTheSameBitsInWhateverOrderRowsAreStored) {
  const TestGraph graph = bipartite_graph(60'000, 50, 2);  // with hubs; written past the caches
  const Pattern pattern = graph.pattern();
  const Pattern stored = stored_otherwise(pattern);
  const std::int64_t nodes = graph.nodes();
  std::vector<std::int32_t> some;
  for (std::int32_t row = 3; row < nodes; row += 11) some.push_back(row);
  some.push_back(60'000);  // a hub
  const RowSet active(nodes, some);
  const RowList wanted(some);
  const at::Tensor half = random_matrix(nodes, 1, 2).flatten().relu();
  for (const std::int64_t dim : {17, 64}) {
    const at::Tensor x = random_matrix(nodes, dim, 8);
    for (int choice = 0; choice < 32; ++choice) {
      SumOptions options;
      at::Tensor factor = x;
      if (choice & 1) options.scaling = {half, half, (choice & 2) != 0};
      if (choice & 4) options.dropout = {0.3F, 7, (choice & 2) != 0};
      if (choice & 8) {
        options.horner.addend = random_matrix(nodes, dim, 5);
        options.horner.scale = random_matrix(nodes, 1, 6).flatten();
      }
      if (choice & 16) {
        options.active_columns = &active;
        factor = x.slice(0, 0, active.size());
      }
      const ComputeThreads threads(2);
      const at::Tensor expected = neighbour_sum(pattern, factor, options);
      EXPECT_TRUE(same_bits(neighbour_sum(stored, factor, options), expected)) << choice;
      options.rows = &wanted;
      EXPECT_TRUE(same_bits(neighbour_sum(stored, factor, options), take(expected, some)))
          << choice;
      options.rows = nullptr;
      if (options.dropout.probability > 0) continue;
      at::Tensor parts = at::full({nodes, dim}, -1.0);
      for (const Range range : {Range{0, 2048}, Range{2048, nodes}}) {
        options.range = range;
        neighbour_sum_into(parts, stored, factor, options);
      }
      EXPECT_TRUE(same_bits(parts, expected)) << choice;
    }
  }
}

TEST(NeighbourSum, LeavesTheRowsBehindItsOwnAlone) {
  const TestGraph graph = bipartite_graph(20, 10, 2);
  const at::Tensor x = random_matrix(graph.nodes(), 17, 1);
  at::Tensor out = at::full({graph.nodes() + 2, 17}, 42.0);
  on_threads(2, [&] { neighbour_sum_into(out, graph.pattern(), x, {}); });
  EXPECT_TRUE(same_bits(out.narrow(0, 0, graph.nodes()), neighbour_sum(graph.pattern(), x, {})));
  EXPECT_TRUE(out.narrow(0, graph.nodes(), 2).eq(42).all().item<bool>());
}

TEST(NeighbourSum, GivesTheSameBitsRangeByRange) {
  const TestGraph graph = bipartite_graph(4700, 60, 3);  // with a hub, in the last range
  const Pattern pattern = graph.pattern();
  const std::int64_t nodes = graph.nodes();
  const at::Tensor x = random_matrix(nodes, 17, 1);
  std::vector<std::int32_t> some;
  for (std::int32_t i = 5; i < nodes; i += 3) some.push_back(i);
  const RowSet active(nodes, some);
  const at::Tensor compact = random_matrix(active.size(), 17, 6);
  for (int choice = 0; choice < 8; ++choice) {
    SumOptions options;
    at::Tensor factor = x;
    options.horner.factor = 0.25F;
    if (choice & 1) {
      options.scaling.row = random_matrix(nodes, 1, 3).flatten();
      options.horner.addend = random_matrix(nodes, 17, 5);
      options.horner.scale = random_matrix(nodes, 1, 4).flatten();
    }
    if (choice & 2) {
      options.horner.addend = compact;
      options.horner.addend_rows = &active;
    }
    if (choice & 4) {
      options.active_columns = &active;
      factor = compact;
    }
    const at::Tensor whole = neighbour_sum(pattern, factor, options);
    for (const int threads : {1, 3}) {
      at::Tensor parts = at::full({nodes, 17}, -1.0);
      int calls = 0;
      options.meanwhile = [&calls] { ++calls; };
      for (const Range range : {Range{0, 128}, Range{128, 128}, Range{128, 3200},
                                Range{3200, nodes}, Range{nodes, nodes}}) {
        const at::Tensor before = parts.clone();
        options.range = range;
        on_threads(threads, [&] { neighbour_sum_into(parts, pattern, factor, options); });
        EXPECT_TRUE(same_bits(parts.narrow(0, range.end, nodes - range.end),
                              before.narrow(0, range.end, nodes - range.end)));
      }
      EXPECT_TRUE(same_bits(parts, whole)) << choice << ", " << threads << " threads";
      if (threads == 1) {
        EXPECT_GE(calls, 3);
      }
      options.range.reset();
      options.meanwhile = nullptr;
    }
  }
}

TEST(NeighbourSum, TakesAPatternWithoutRowsOrNonzeros) {
  const at::Tensor x = random_matrix(4, 5, 1);
  const ComputeThreads threads(2);
  EXPECT_EQ(neighbour_sum(Pattern{}, x, {}).sizes(), (std::vector<std::int64_t>{0, 5}));
  Pattern lone;
  lone.offsets = {0, 0, 0};
  EXPECT_TRUE(same_bits(neighbour_sum(lone, x, {}), at::zeros({2, 5})));
  EXPECT_TRUE(same_bits(neighbour_sum(lone, at::empty({0, 5}), {}), at::zeros({2, 5})));
}

TEST(EdgeDropout, KeepsTheShareItShould) {
  constexpr int kRows = 1000;
  constexpr int kColumns = 1000;
  for (const float probability : {0.1F, 0.3F, 0.9F}) {
    const double keep = 1.0 - probability;
    double kept = 0, both_seeds = 0, both_ways = 0, neighbouring_rows = 0, neighbouring_columns = 0;
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kColumns; ++c) {
        const bool here = keeps_edge(7, probability, r, c + 5000);
        kept += here;
        both_seeds += here && keeps_edge(8, probability, r, c + 5000);
        both_ways += here && keeps_edge(7, probability, c + 5000, r);
        neighbouring_rows += here && keeps_edge(7, probability, r + 1, c + 5000);
        neighbouring_columns += here && keeps_edge(7, probability, r, c + 5001);
      }
    }
    constexpr double kEdges = 1.0 * kRows * kColumns;
    const auto within = [&](double count, double share) {
      return std::abs(count / kEdges - share) < 5 * std::sqrt(share * (1 - share) / kEdges);
    };
    EXPECT_TRUE(within(kept, keep)) << kept / kEdges;
    // Decisions about different nonzeros and of different steps have nothing to do with each other.
    EXPECT_TRUE(within(both_seeds, keep * keep)) << both_seeds / kEdges;
    EXPECT_TRUE(within(both_ways, keep * keep)) << both_ways / kEdges;
    EXPECT_TRUE(within(neighbouring_rows, keep * keep)) << neighbouring_rows / kEdges;
    EXPECT_TRUE(within(neighbouring_columns, keep * keep)) << neighbouring_columns / kEdges;
  }
}

TEST(EdgeDropout, KeepsEverythingAtZeroAndDecidesEveryRowAndColumnEvenly) {
  EXPECT_TRUE(keeps_edge(1, 0, 5, 6));
  double kept = 0, squares = 0;
  constexpr int kRows = 2000, kColumns = 400;
  for (int r = 0; r < kRows; ++r) {
    int in_row = 0;
    for (int c = 0; c < kColumns; ++c) in_row += keeps_edge(3, 0.5F, r, c);
    kept += in_row;
    squares += (in_row - kColumns / 2.0) * (in_row - kColumns / 2.0);
  }
  EXPECT_NEAR(kept / (1.0 * kRows * kColumns), 0.5, 0.003);
  EXPECT_NEAR(squares / kRows, kColumns / 4.0, 12) << "variance of the kept of a row";
}

TEST(EdgeDropout, MeansLocalRowsByTheirGlobalNumbers) {
  // Node i of the graph is local row 30 - i.
  const TestGraph graph = bipartite_graph(20, 11, 3);
  const std::int64_t nodes = graph.nodes();
  const at::Tensor x = random_matrix(nodes, 8, 1);
  SumOptions options;
  options.dropout = {0.5F, 21, false};
  const at::Tensor expected = neighbour_sum(graph.pattern(), x, options);
  Pattern reversed;
  std::vector<GlobalNode> numbers;
  for (std::int64_t local = 0; local < nodes; ++local) {
    numbers.push_back(GlobalNode(static_cast<std::int32_t>(nodes - 1 - local)));
    for (const std::int32_t column : graph.lists[nodes - 1 - local]) {
      reversed.columns.push_back(static_cast<std::int32_t>(nodes - 1 - column));
    }
    reversed.offsets.push_back(static_cast<std::int64_t>(reversed.columns.size()));
  }
  options.local_to_global = &numbers;
  EXPECT_TRUE(
      same_bits(neighbour_sum(reversed, x.flip(0).contiguous(), options).flip(0), expected));
}

}  // namespace
}  // namespace micrec
