#include "graph/sharded_graph.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "base/parallel.h"
#include "cluster/thread_communicator.h"
#include "graph/weighted_graph.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

TEST(ShardedGraph, KeepsEveryRowInRisingGlobalOrder) {
  const TestGraph graph = bipartite_graph(60, 40, 4);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const std::vector<GlobalNode> owned = ownership.nodes_of(communicator.rank());
      const TestGraph::Rows rows = graph.rows_of(owned);
      const ShardedGraph shard(ownership, rows.neighbours, communicator);
      ASSERT_EQ(shard.owned_rows(), static_cast<std::int64_t>(owned.size()));
      ASSERT_EQ(shard.local_rows(), static_cast<std::int64_t>(shard.local_to_global().size()));
      for (std::int64_t row = 0; row < shard.owned_rows(); ++row) {
        const Pattern& pattern = shard.pattern();
        std::vector<std::int32_t> columns;
        for (std::int64_t i = pattern.offsets[row]; i < pattern.offsets[row + 1]; ++i) {
          columns.push_back(value(shard.local_to_global()[pattern.columns[i]]));
        }
        EXPECT_EQ(columns, graph.lists[value(owned[row])]);
      }
    });
  }
}

TEST(ShardedGraph, BringsTheRowsOfRemoteNeighbours) {
  const TestGraph graph = bipartite_graph(60, 40, 4);
  const at::Tensor values = random_matrix(graph.nodes(), 5, 3);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const TestGraph::Rows rows = graph.rows_of(ownership.nodes_of(communicator.rank()));
      const ShardedGraph shard(ownership, rows.neighbours, communicator);
      const at::Tensor own = values.index_select(0, node_numbers(shard.owned()));
      const at::Tensor wanted = values.index_select(0, node_numbers(shard.local_to_global()));
      const at::Tensor local = shard.with_halo("test.halo", own);
      EXPECT_TRUE(same_bits(local, wanted));
      if (ranks == 1) {
        EXPECT_EQ(local.const_data_ptr(), own.const_data_ptr());
      }
      // Any dtype and shape.
      EXPECT_TRUE(same_bits(shard.with_halo("test.numbers", node_numbers(shard.owned())),
                            node_numbers(shard.local_to_global())));
    });
  }
}

TEST(ShardedGraph, BringsTheRowsOfAPartWhileTheNextIsMade) {
  const TestGraph graph = bipartite_graph(600, 400, 4);
  const at::Tensor values = random_matrix(graph.nodes(), 5, 3);
  const ComputeThreads threads(2);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
    for (const int parts : {1, 3, 40}) {  // 40: some without rows
      run_ranks(ranks, [&](Communicator& communicator) {
        const TestGraph::Rows rows = graph.rows_of(ownership.nodes_of(communicator.rank()));
        const ShardedGraph shard(ownership, rows.neighbours, communicator, parts);
        ASSERT_EQ(shard.parts(), ranks == 1 ? 1 : parts);
        const at::Tensor own = values.index_select(0, node_numbers(shard.owned()));
        at::Tensor filled = at::full({shard.local_rows(), 5}, -1.0);
        ShardedGraph::Flight flight = shard.start_halo("test.flight", filled);
        std::int64_t next = 0;
        for (int part = 0; part < shard.parts(); ++part) {
          const Range range = shard.rows_of_part(part);
          ASSERT_EQ(range.begin, next);
          next = range.end;
          const std::int64_t count = range.end - range.begin;
          filled.narrow(0, range.begin, count).copy_(own.narrow(0, range.begin, count));
          flight.send(part);
          flight.poll();
        }
        ASSERT_EQ(next, shard.owned_rows());
        flight.wait();
        EXPECT_TRUE(
            same_bits(filled, values.index_select(0, node_numbers(shard.local_to_global()))));
      });
    }
  }
}

TEST(ShardedGraph, AFailureEndsAnExchangeInFlight) {
  const TestGraph graph = bipartite_graph(600, 400, 4);
  for (const int ranks : {2, 3, 5}) {
    const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
    std::atomic<int> ended{0};
    EXPECT_THROW(run_ranks(ranks,
                           [&](Communicator& communicator) {
                             const TestGraph::Rows rows =
                                 graph.rows_of(ownership.nodes_of(communicator.rank()));
                             const ShardedGraph shard(ownership, rows.neighbours, communicator, 3);
                             const at::Tensor x = at::zeros({shard.local_rows(), 5});
                             ShardedGraph::Flight flight = shard.start_halo("test.flight", x);
                             flight.send(0);
                             if (communicator.rank() == ranks - 1) throw std::out_of_range("row 7");
                             try {
                               flight.send(1);
                               flight.send(2);
                               flight.wait();
                             } catch (const PeerFailure& failure) {
                               EXPECT_EQ(failure.failed_rank(), ranks - 1);
                               ++ended;
                               throw;
                             }
                           }),
                 std::out_of_range);
    EXPECT_EQ(ended, ranks - 1);
  }
}

TEST(ShardedGraph, ReusesTheMemoryOfBuffersThatNobodyHolds) {
  const TestGraph graph = bipartite_graph(60, 40, 4);
  const Ownership ownership = scattered_ownership(graph.nodes(), 2);
  run_ranks(2, [&](Communicator& communicator) {
    const TestGraph::Rows rows = graph.rows_of(ownership.nodes_of(communicator.rank()));
    const ShardedGraph shard(ownership, rows.neighbours, communicator);
    at::Tensor first = shard.local_buffer(8, at::kFloat);
    const at::Tensor second = shard.local_buffer(8, at::kFloat);
    EXPECT_NE(first.const_data_ptr(), second.const_data_ptr());
    const void* const memory = first.const_data_ptr();
    const at::Tensor view = first.narrow(0, 0, 1);
    first.reset();
    EXPECT_NE(shard.local_buffer(8, at::kFloat).const_data_ptr(), memory) << "a view holds it";
    const at::Tensor other = shard.local_buffer(9, at::kFloat);
    EXPECT_EQ(other.size(1), 9);
  });
}

TEST(ShardedGraph, BringsOnlyActiveRows) {
  const TestGraph graph = bipartite_graph(60, 40, 4);
  const at::Tensor values = random_matrix(graph.nodes(), 5, 3);
  const auto is_active = [](GlobalNode node) { return value(node) % 3 == 1; };
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const TestGraph::Rows rows = graph.rows_of(ownership.nodes_of(communicator.rank()));
      const ShardedGraph shard(ownership, rows.neighbours, communicator);
      std::vector<std::int32_t> active;
      std::vector<GlobalNode> active_nodes;
      for (std::int32_t row = 0; row < shard.owned_rows(); ++row) {
        if (is_active(shard.owned()[row])) {
          active.push_back(row);
          active_nodes.push_back(shard.owned()[row]);
        }
      }
      const auto plan = shard.plan_active("test.active", select_rows(shard.owned_rows(), active));
      const at::Tensor result = shard.with_active_halo(
          "test.active", *plan, values.index_select(0, node_numbers(active_nodes)));
      std::vector<GlobalNode> wanted;
      for (std::int32_t local = 0; local < shard.local_rows(); ++local) {
        const GlobalNode node = shard.local_to_global()[local];
        EXPECT_EQ(plan->columns().contains(local), is_active(node));
        if (is_active(node)) wanted.push_back(node);
      }
      EXPECT_TRUE(same_bits(result, values.index_select(0, node_numbers(wanted))));
    });
  }
}

TEST(ShardedGraphDeathTest, RefusesNeighboursThatDoNotRise) {
  EXPECT_DEATH(
      run_ranks(
          1,
          [&](Communicator& communicator) {
            const Ownership ownership{1, {0, 0, 0}};
            ShardedGraph(ownership, {{0, 2, 2, 2}, {GlobalNode(2), GlobalNode(1)}}, communicator);
          }),
      "neighbours of node 0 are not rising");
}

TEST(WeightedGraph, TransposesAcrossRanks) {
  const TestGraph graph = directed_graph(50, 6);
  const at::Tensor dense = graph.dense(true);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(graph.nodes(), ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const TestGraph::Rows rows = graph.rows_of(ownership.nodes_of(communicator.rank()));
      const WeightedGraph shard(ownership, rows.neighbours, rows.weights, communicator);
      const Pattern& pattern = shard.transpose().pattern();
      at::Tensor found = at::zeros({shard.transpose().owned_rows(), graph.nodes()}, at::kDouble);
      for (std::int64_t row = 0; row < pattern.rows(); ++row) {
        for (std::int64_t i = pattern.offsets[row]; i < pattern.offsets[row + 1]; ++i) {
          const GlobalNode column = shard.transpose().local_to_global()[pattern.columns[i]];
          found[row][value(column)] = shard.transpose_weights()[i].item<double>();
        }
      }
      const at::Tensor owned = node_numbers(shard.transpose().owned());
      EXPECT_TRUE(same_bits(found, dense.t().index_select(0, owned)));
    });
  }
}

}  // namespace
}  // namespace micrec
