#include "graph/operators.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "base/parallel.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "kernels/rows.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

// Rows of all ranks put together under their global numbers, from threads.
class Gathered {
 public:
  Gathered(std::int64_t nodes, std::int64_t dim) : rows_(at::full({nodes, dim}, NAN)) {}
  void put(const std::vector<GlobalNode>& nodes, const at::Tensor& rows) {
    const std::lock_guard<std::mutex> lock(mutex_);
    rows_.index_copy_(0, node_numbers(nodes), rows.detach());
  }
  const at::Tensor& rows() const { return rows_; }

 private:
  std::mutex mutex_;
  at::Tensor rows_;
};

// What one operator gives at some number of ranks: its rows and the gradient of its input, for a
// gradient of its rows that is a function of the node.
struct Answer {
  at::Tensor y;
  at::Tensor gradient;
};

// `apply(shard, x)` returns the rows of `rows_wanted(shard)` (owned local rows).
template <typename Shard, typename Apply>
Answer answer_of(const TestGraph& graph, const at::Tensor& x, int ranks, const Apply& apply,
                 const std::vector<std::int32_t>* wanted_nodes = nullptr, int parts = 0) {
  const ComputeThreads threads(2);
  const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
  const std::int64_t dim = x.size(1);
  const at::Tensor g = random_matrix(graph.nodes(), dim, 91);
  Gathered y(graph.nodes(), dim), gradient(graph.nodes(), dim);
  run_ranks(ranks, [&](Communicator& communicator) {
    const std::vector<GlobalNode> owned = ownership.nodes_of(communicator.rank());
    const TestGraph::Rows rows = graph.rows_of(owned);
    const Shard shard = [&] {
      if constexpr (std::is_same_v<Shard, WeightedGraph>) {
        return Shard(ownership, rows.neighbours, rows.weights, communicator);
      } else {
        return Shard(ownership, rows.neighbours, communicator, parts);
      }
    }();
    std::vector<std::int32_t> wanted;
    std::vector<GlobalNode> nodes;
    for (std::size_t row = 0; row < owned.size(); ++row) {
      if (wanted_nodes &&
          !std::binary_search(wanted_nodes->begin(), wanted_nodes->end(), value(owned[row]))) {
        continue;
      }
      wanted.push_back(static_cast<std::int32_t>(row));
      nodes.push_back(owned[row]);
    }
    at::Tensor own = x.index_select(0, node_numbers(owned)).set_requires_grad(true);
    const at::Tensor result = apply(shard, own, wanted_nodes ? &wanted : nullptr);
    y.put(nodes, result);
    if (!result.requires_grad()) return;
    result.backward(g.index_select(0, node_numbers(nodes)));
    gradient.put(owned, own.grad());
  });
  return {y.rows(), gradient.rows()};
}

at::Tensor local_values(const ShardedGraph& shard, const at::Tensor& values) {
  return values.index_select(0, node_numbers(shard.local_to_global()));
}

// (nodes, nodes) float64: what dropout multiplies each nonzero with.
at::Tensor dropout_matrix(std::int64_t nodes, const EdgeDropout& dropout) {
  at::Tensor matrix = at::zeros({nodes, nodes}, at::kDouble);
  for (std::int32_t r = 0; r < nodes; ++r) {
    for (std::int32_t c = 0; c < nodes; ++c) {
      matrix.mutable_data_ptr<double>()[r * nodes + c] =
          keeps_edge(dropout.seed, dropout.probability, r, c) ? 1 / (1.0 - dropout.probability) : 0;
    }
  }
  return matrix;
}

std::vector<std::int32_t> rows_of_every_third_node(const ShardedGraph& shard) {
  std::vector<std::int32_t> rows;
  for (std::int32_t row = 0; row < shard.owned_rows(); ++row) {
    if (value(shard.owned()[row]) % 3 == 0) rows.push_back(row);
  }
  return rows;
}

TEST(TemplateSum, AgreesWithAutogradOfTheDenseFormula) {
  const TestGraph graph = bipartite_graph(50, 30, 5);
  const at::Tensor s = random_matrix(graph.nodes(), 1, 1).flatten();
  at::Tensor t = random_matrix(graph.nodes(), 1, 2).flatten().gt(0).to(at::kFloat);
  for (const std::int64_t dim : {1, 3, 8, 17, 64, 100, 128}) {
    for (const EdgeDropout dropout : {EdgeDropout{}, EdgeDropout{0.3F, 5, false}}) {
      const at::Tensor x = random_matrix(graph.nodes(), dim, 3);
      const Answer answer = answer_of<ShardedGraph>(
          graph, x, 1, [&](const ShardedGraph& shard, const at::Tensor& own, const auto*) {
            return template_sum(shard, own, s, t, dropout).rows;
          });
      at::Tensor table = x.to(at::kDouble).set_requires_grad(true);
      const at::Tensor operation = graph.dense() * dropout_matrix(graph.nodes(), dropout) *
                                   s.to(at::kDouble).unsqueeze(1) * t.to(at::kDouble);
      const at::Tensor expected = operation.mm(table);
      expected.backward(random_matrix(graph.nodes(), dim, 91).to(at::kDouble));
      EXPECT_LT(relative_error(answer.y, expected), 1e-5) << dim;
      EXPECT_LT(relative_error(answer.gradient, table.grad()), 1e-5) << dim;
    }
  }
}

TEST(TemplateSum, AddsTokensAndTakesTheGradientOfRowsOfTheTableBack) {
  const TestGraph graph = bipartite_graph(50, 30, 5);
  const std::int64_t nodes = graph.nodes();
  const std::int64_t dim = 17;
  const at::Tensor s = random_matrix(nodes, 1, 1).flatten();
  const EdgeDropout dropout{0.3F, 5, false};
  // Two copies of three tokens; even nodes read the first copy.
  std::vector<std::int32_t> token_of;
  for (std::int32_t node = 0; node < nodes; ++node) token_of.push_back(node % 2 * 3 + node % 3);
  const Pattern rows_of_token = gathered_from(token_of, 6);
  const at::Tensor token_index = at::tensor(token_of, at::kInt);
  const at::Tensor weight = random_matrix(nodes, 1, 6).flatten();
  for (const bool has_mask : {true, false}) {
    const at::Tensor t =
        has_mask ? random_matrix(nodes, 1, 2).flatten().gt(0).to(at::kFloat) : at::Tensor();
    at::Tensor copies = random_matrix(3, dim, 7).unsqueeze(0).repeat({2, 1, 1});
    copies.set_requires_grad(true);
    at::Tensor templates;
    const Answer answer = answer_of<ShardedGraph>(
        graph, random_matrix(nodes, dim, 3), 1,
        [&](const ShardedGraph& shard, const at::Tensor& own, const auto*) {
          const RowTokens tokens{copies, token_index, weight, &rows_of_token};
          const std::vector<std::int32_t> some = rows_of_every_third_node(shard);
          const TemplateSum sum = template_sum(shard, own, s, t, dropout, &tokens,
                                               select_rows(shard.owned_rows(), some));
          templates = sum.templates.detach();
          return sum.rows.index_add(0, at::tensor(some, at::kInt), sum.templates * 2);
        });
    at::Tensor table = random_matrix(nodes, dim, 3).to(at::kDouble).set_requires_grad(true);
    at::Tensor wide = copies.detach().to(at::kDouble).set_requires_grad(true);
    at::Tensor operation =
        graph.dense() * dropout_matrix(nodes, dropout) * s.to(at::kDouble).unsqueeze(1);
    if (has_mask) operation = operation * t.to(at::kDouble);
    const at::Tensor third = at::arange(0, nodes, 3);
    const at::Tensor of_third = table.index_select(0, third);
    const at::Tensor expected =
        (operation.mm(table) +
         wide.reshape({6, dim}).index_select(0, token_index) * weight.to(at::kDouble).unsqueeze(1))
            .index_add(0, third, of_third * 2);
    expected.backward(random_matrix(nodes, dim, 91).to(at::kDouble));
    EXPECT_LT(relative_error(templates, of_third), 1e-7);
    EXPECT_LT(relative_error(answer.y, expected), 1e-5);
    EXPECT_LT(relative_error(answer.gradient, table.grad()), 1e-5);
    EXPECT_LT(relative_error(copies.grad(), wide.grad()), 1e-5);
  }
}

TEST(TemplateSum, UnderDropoutItsGradientIsItsDifference) {
  const TestGraph graph = bipartite_graph(30, 20, 4);
  const at::Tensor x = random_matrix(graph.nodes(), 4, 3);
  const at::Tensor direction = random_matrix(graph.nodes(), 4, 4);
  const at::Tensor s = at::ones({graph.nodes()});
  const EdgeDropout dropout{0.5F, 12, false};
  const auto answer_at = [&](const at::Tensor& point) {
    return answer_of<ShardedGraph>(
        graph, point, 2, [&](const ShardedGraph& shard, const at::Tensor& own, const auto*) {
          return template_sum(shard, own, local_values(shard, s), {}, dropout).rows;
        });
  };
  const at::Tensor g = random_matrix(graph.nodes(), 4, 91);
  const auto loss = [&](const at::Tensor& point) {
    return (answer_at(point).y.to(at::kDouble) * g).sum().item<double>();
  };
  const double difference = (loss(x + 0.5 * direction) - loss(x - 0.5 * direction));
  const double slope = (answer_at(x).gradient.to(at::kDouble) * direction).sum().item<double>();
  EXPECT_NEAR(slope, difference, 1e-4 * std::abs(difference));
  EXPECT_GT(std::abs(difference), 0.1);
}

TEST(TemplateSum, ShardedEqualsUnsharded) {
  const TestGraph graph = bipartite_graph(4700, 60, 3);  // with a hub beyond kHubChunk
  const at::Tensor s = random_matrix(graph.nodes(), 1, 1).flatten();
  const at::Tensor t = random_matrix(graph.nodes(), 1, 2).flatten().gt(0).to(at::kFloat);
  const at::Tensor x = random_matrix(graph.nodes(), 17, 3);
  const EdgeDropout dropout{0.25F, 99, false};
  const at::Tensor tokens = random_matrix(3, 17, 4).unsqueeze(0);
  const at::Tensor token_of = at::arange(graph.nodes(), at::kInt).remainder(3);
  const at::Tensor weight = random_matrix(graph.nodes(), 1, 5).flatten();
  const auto apply = [&](const ShardedGraph& shard, const at::Tensor& own, const auto*) {
    const at::Tensor nodes = node_numbers(shard.owned());
    const RowTokens of_rows{tokens, token_of.index_select(0, nodes), weight.index_select(0, nodes)};
    const std::vector<std::int32_t> some = rows_of_every_third_node(shard);
    const TemplateSum sum = template_sum(shard, own, local_values(shard, s), local_values(shard, t),
                                         dropout, &of_rows, select_rows(shard.owned_rows(), some));
    return sum.rows.index_add(0, at::tensor(some, at::kInt), sum.templates);
  };
  const Answer whole = answer_of<ShardedGraph>(graph, x, 1, apply);
  for (const int ranks : kRankCounts) {
    const Answer sharded = answer_of<ShardedGraph>(graph, x, ranks, apply);
    EXPECT_TRUE(same_bits(sharded.y, whole.y)) << ranks << " ranks";
    EXPECT_TRUE(same_bits(sharded.gradient, whole.gradient)) << ranks << " ranks";
  }
}

// The mean of A^0 x .. A^layers x, dense.
at::Tensor dense_propagation(const TestGraph& graph, const at::Tensor& x, int layers) {
  const at::Tensor q = graph.inverse_sqrt_degree().to(at::kDouble);
  const at::Tensor a = graph.dense() * q.unsqueeze(1) * q;
  at::Tensor layer = x;
  at::Tensor sum = x;
  for (int l = 0; l < layers; ++l) {
    layer = a.mm(layer);
    sum = sum + layer;
  }
  return sum / (layers + 1);
}

auto propagation(const TestGraph& graph, int layers) {
  return [q = graph.inverse_sqrt_degree(), layers](const ShardedGraph& shard, const at::Tensor& own,
                                                   const std::vector<std::int32_t>* rows) {
    return propagate(
        shard, own, local_values(shard, q), layers,
        rows == nullptr ? nullptr
                        : shard.plan_active("test.active", select_rows(shard.owned_rows(), *rows)));
  };
}

TEST(Propagate, HasTheSameBitsWhereNearRowsAreStoredTogether) {
  const TestGraph graph = bipartite_graph(500, 300, 5);
  const at::Tensor x = random_matrix(graph.nodes(), 17, 3);
  const ComputeThreads threads(2);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
    for (const int parts : {1, 3}) {
      run_ranks(ranks, [&](Communicator& communicator) {
        const std::vector<GlobalNode> owned = ownership.nodes_of(communicator.rank());
        const TestGraph::Rows rows = graph.rows_of(owned);
        std::vector<at::Tensor> results;
        for (const bool is_near : {false, true}) {
          ShardedGraph shard(ownership, rows.neighbours, communicator, parts);
          if (is_near) {
            const auto users = std::ranges::lower_bound(owned, GlobalNode(500)) - owned.begin();
            shard.store_near_rows_together(users);
            ASSERT_EQ(shard.pattern().row_at.size(), owned.size());
            if (ranks == 1) {
              EXPECT_LT(shard.pattern().row_at[499], 500);
              EXPECT_FALSE(std::ranges::is_sorted(shard.pattern().row_at));
            }
          }
          const at::Tensor q = local_values(shard, graph.inverse_sqrt_degree());
          const auto some = shard.plan_active(
              "test.active", select_rows(shard.owned_rows(), rows_of_every_third_node(shard)));
          for (const auto& wanted : {some, decltype(some)()}) {
            at::Tensor own = x.index_select(0, node_numbers(owned)).set_requires_grad(true);
            const at::Tensor y = propagate(shard, own, q, 3, wanted);
            y.backward(y.detach());
            results.push_back(y.detach());
            results.push_back(own.grad());
          }
        }
        for (std::size_t n = 0; n < 4; ++n) EXPECT_TRUE(same_bits(results[n], results[n + 4]));
      });
    }
  }
}

TEST(Propagate, AgreesWithAutogradOfTheDenseFormula) {
  const TestGraph graph = bipartite_graph(50, 30, 5);
  for (const std::int64_t dim : {1, 3, 8, 17, 64, 100, 128}) {
    for (int layers = 0; layers <= 4; ++layers) {
      const at::Tensor x = random_matrix(graph.nodes(), dim, 3);
      const Answer answer = answer_of<ShardedGraph>(graph, x, 1, propagation(graph, layers));
      at::Tensor e = x.to(at::kDouble).set_requires_grad(true);
      const at::Tensor expected = dense_propagation(graph, e, layers);
      expected.backward(random_matrix(graph.nodes(), dim, 91).to(at::kDouble));
      EXPECT_LT(relative_error(answer.y, expected), 1e-5) << dim << ", " << layers << " layers";
      EXPECT_LT(relative_error(answer.gradient,
                               layers == 0 ? random_matrix(graph.nodes(), dim, 91) : e.grad()),
                1e-5)
          << dim << ", " << layers << " layers";
    }
  }
}

TEST(Propagate, GivesOnlyTheRowsWantedAndTheirGradient) {
  const TestGraph graph = bipartite_graph(50, 30, 5);
  const at::Tensor x = random_matrix(graph.nodes(), 20, 3);
  const std::vector<std::int32_t> wanted = {0, 3, 4, 17, 49, 50, 51, 66, 79};
  const at::Tensor index = at::tensor(std::vector<std::int64_t>(wanted.begin(), wanted.end()));
  for (int layers = 0; layers <= 4; ++layers) {
    const auto apply = propagation(graph, layers);
    const Answer all = answer_of<ShardedGraph>(graph, x, 1, apply);
    const Answer some = answer_of<ShardedGraph>(graph, x, 1, apply, &wanted);
    EXPECT_TRUE(same_bits(some.y.index_select(0, index), all.y.index_select(0, index)));
    at::Tensor e = x.to(at::kDouble).set_requires_grad(true);
    const at::Tensor g =
        random_matrix(graph.nodes(), 20, 91).to(at::kDouble).index_select(0, index);
    dense_propagation(graph, e, layers).index_select(0, index).backward(g);
    EXPECT_LT(relative_error(some.gradient, e.grad()), 1e-5) << layers << " layers";
  }
}

TEST(Propagate, ShardedEqualsUnsharded) {
  const TestGraph graph = bipartite_graph(4700, 60, 3);
  const at::Tensor x = random_matrix(graph.nodes(), 17, 3);
  std::vector<std::int32_t> wanted;
  for (std::int32_t i = 0; i < graph.nodes(); i += 5) wanted.push_back(i);
  std::vector<std::int32_t> few;  // that the hub has in both of its pieces
  for (std::int32_t i = 19; i < 4700; i += 20) few.push_back(i);
  const std::vector<std::int32_t> one = {17};  // most ranks have nothing to give
  const std::vector<std::int32_t> none;
  for (const std::vector<std::int32_t>* const rows :
       {(const std::vector<std::int32_t>*)nullptr, (const std::vector<std::int32_t>*)&wanted,
        (const std::vector<std::int32_t>*)&few, &one, &none}) {
    for (const int layers : {0, 1, 3}) {
      const auto apply = propagation(graph, layers);
      const Answer whole = answer_of<ShardedGraph>(graph, x, 1, apply, rows);
      for (const int ranks : kRankCounts) {
        for (const int parts : {1, 4}) {  // 4: rows travel while others are computed
          const Answer sharded = answer_of<ShardedGraph>(graph, x, ranks, apply, rows, parts);
          EXPECT_TRUE(same_bits(sharded.y, whole.y))
              << ranks << " ranks, " << layers << " layers, " << parts << " parts";
          EXPECT_TRUE(same_bits(sharded.gradient, whole.gradient))
              << ranks << " ranks, " << layers << " layers, " << parts << " parts";
        }
      }
    }
  }
}

TEST(Propagate, LeavesALoneNodeWithItsShareOfItself) {
  const TestGraph graph = bipartite_graph(50, 30, 5);
  const at::Tensor x = random_matrix(graph.nodes(), 8, 3);
  const Answer answer = answer_of<ShardedGraph>(graph, x, 3, propagation(graph, 3));
  EXPECT_LT(relative_error(answer.y[49], x[49] / 4), 1e-6);
}

TEST(PropagateBeforeLast, IsWhatTheLastProductReads) {
  const TestGraph graph = bipartite_graph(50, 30, 5);
  const at::Tensor x = random_matrix(graph.nodes(), 8, 3);
  const at::Tensor q = graph.inverse_sqrt_degree();
  for (const int ranks : {1, 4}) {
    for (int layers = 1; layers <= 4; ++layers) {
      const Answer answer = answer_of<ShardedGraph>(
          graph, x, ranks, [&](const ShardedGraph& shard, const at::Tensor& own, const auto*) {
            const at::Tensor result =
                propagate_before_last(shard, own, local_values(shard, q), layers);
            EXPECT_FALSE(result.requires_grad());
            return result;
          });
      const at::Tensor expected =
          dense_propagation(graph, x.to(at::kDouble), layers - 1) * static_cast<double>(layers);
      EXPECT_LT(relative_error(answer.y, expected), 1e-5) << layers << " layers";
    }
  }
}

TEST(WeightedSum, AgreesWithAutogradAndWithItselfUnsharded) {
  const TestGraph graph = directed_graph(90, 6);
  const auto apply = [](const WeightedGraph& shard, const at::Tensor& own, const auto*) {
    return weighted_sum(shard, own);
  };
  for (const std::int64_t dim : {1, 3, 8, 17, 64, 100, 128}) {
    const at::Tensor x = random_matrix(graph.nodes(), dim, 3);
    at::Tensor input = x.to(at::kDouble).set_requires_grad(true);
    const at::Tensor expected = graph.dense(true).mm(input);
    expected.backward(random_matrix(graph.nodes(), dim, 91).to(at::kDouble));
    const Answer whole = answer_of<WeightedGraph>(graph, x, 1, apply);
    EXPECT_LT(relative_error(whole.y, expected), 1e-5) << dim;
    EXPECT_LT(relative_error(whole.gradient, input.grad()), 1e-5) << dim;
    for (const int ranks : kRankCounts) {
      const Answer sharded = answer_of<WeightedGraph>(graph, x, ranks, apply);
      EXPECT_TRUE(same_bits(sharded.y, whole.y)) << ranks << " ranks";
      EXPECT_TRUE(same_bits(sharded.gradient, whole.gradient)) << ranks << " ranks";
    }
  }
}

TEST(TakeRows, AgreesWithAutogradOfIndexSelect) {
  const at::Tensor x = random_matrix(9, 17, 1);
  const ComputeThreads threads(2);
  for (const std::vector<std::int32_t>& rows :
       {std::vector<std::int32_t>{8, 0, 3, 3, 8, 1, 3}, std::vector<std::int32_t>{}}) {
    const at::Tensor indices = at::tensor(rows, at::kInt);
    at::Tensor ours = x.clone().set_requires_grad(true);
    at::Tensor theirs = x.clone().set_requires_grad(true);
    const at::Tensor y = take_rows(ours, rows);
    const at::Tensor expected = theirs.index_select(0, indices);
    EXPECT_TRUE(same_bits(y, expected));
    const at::Tensor g = random_matrix(indices.numel(), 17, 2);
    y.backward(g);
    expected.backward(g);
    EXPECT_LT(relative_error(ours.grad(), theirs.grad()), 1e-6);
  }
}

TEST(TakeRowsDeathTest, RefusesARowThatIsNotThere) {
  EXPECT_DEATH(take_rows(at::zeros({3, 2}), std::vector<std::int32_t>{3}), "row 3 of 3");
}

TEST(Operators, SendZerosBackWhereNothingFlowed) {
  // The loss of rank 0 alone uses the rows, and every rank still takes part in the backward
  // exchange.
  const TestGraph graph = bipartite_graph(30, 20, 4);
  const at::Tensor x = random_matrix(graph.nodes(), 4, 3);
  const Ownership ownership = scattered_ownership(graph.nodes(), 2);
  const at::Tensor q = graph.inverse_sqrt_degree();
  run_ranks(2, [&](Communicator& communicator) {
    const TestGraph::Rows rows = graph.rows_of(ownership.nodes_of(communicator.rank()));
    const ShardedGraph shard(ownership, rows.neighbours, communicator);
    at::Tensor own = x.index_select(0, node_numbers(shard.owned())).set_requires_grad(true);
    const at::Tensor y = propagate(shard, own, local_values(shard, q), 2, nullptr);
    const at::Tensor loss =
        communicator.rank() == 0 ? y.sum() : at::mul(y.narrow(0, 0, 0).sum(), 1.0);
    loss.backward();
    at::Tensor e = x.to(at::kDouble).set_requires_grad(true);
    const at::Tensor first = node_numbers(ownership.nodes_of(0));
    dense_propagation(graph, e, 2).index_select(0, first).sum().backward();
    EXPECT_LT(relative_error(own.grad(), e.grad().index_select(0, node_numbers(shard.owned()))),
              1e-5);
  });
}

TEST(Operators, BuildNoGraphWithoutNeed) {
  const TestGraph graph = bipartite_graph(10, 8, 2);
  SelfCommunicator communicator;
  const Ownership ownership = scattered_ownership(graph.nodes(), 1);
  const TestGraph::Rows rows = graph.rows_of(ownership.nodes_of(0));
  const ShardedGraph shard(ownership, rows.neighbours, communicator);
  const at::Tensor x = random_matrix(graph.nodes(), 4, 3);
  EXPECT_FALSE(propagate(shard, x, graph.inverse_sqrt_degree(), 2, nullptr).requires_grad());
  at::Tensor needs = x.clone().set_requires_grad(true);
  EXPECT_TRUE(propagate(shard, needs, graph.inverse_sqrt_degree(), 2, nullptr).requires_grad());
}

}  // namespace
}  // namespace micrec
