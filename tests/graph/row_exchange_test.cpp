#include "graph/row_exchange.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "base/parallel.h"
#include "cluster/thread_communicator.h"
#include "graph/operators.h"
#include "tests/support/test_graphs.h"

namespace micrec {
namespace {

constexpr std::int64_t kNodes = 300;

// What a rank needs: repeats, its own nodes and others' in no order; the last of several ranks
// needs nothing.
std::vector<GlobalNode> needed_by(int rank, int ranks) {
  std::vector<GlobalNode> needed;
  if (ranks > 1 && rank == ranks - 1) return needed;
  const Random random(31, Purpose::synthetic, static_cast<std::uint32_t>(rank));
  for (std::uint64_t i = 0; i < 120; ++i) {
    needed.push_back(GlobalNode(static_cast<std::int32_t>(random.index(kNodes / 2, i) * 2)));
  }
  return needed;
}

TEST(RowExchange, TellsOwnersWhatIsNeededAndFetchesItInOrder) {
  const at::Tensor table = random_matrix(kNodes, 17, 1);
  const ComputeThreads threads(2);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(kNodes, ranks);
    std::set<std::int32_t> needed_by_any;
    for (int q = 0; q < ranks; ++q) {
      for (const GlobalNode node : needed_by(q, ranks)) needed_by_any.insert(value(node));
    }
    run_ranks(ranks, [&](Communicator& communicator) {
      const std::vector<GlobalNode> owned = ownership.nodes_of(communicator.rank());
      const std::vector<GlobalNode> needed = needed_by(communicator.rank(), ranks);
      const RowExchange exchange(ownership, owned, needed, communicator);
      std::vector<std::int32_t> expected_rows;
      std::vector<GlobalNode> requested;
      for (std::size_t row = 0; row < owned.size(); ++row) {
        if (!needed_by_any.count(value(owned[row]))) continue;
        expected_rows.push_back(static_cast<std::int32_t>(row));
        requested.push_back(owned[row]);
      }
      EXPECT_EQ(exchange.requested_rows(), expected_rows);
      EXPECT_EQ(exchange.needed(), static_cast<std::int64_t>(needed.size()));
      const at::Tensor rows =
          fetch(exchange, "test.rows", table.index_select(0, node_numbers(requested)));
      EXPECT_TRUE(same_bits(rows, table.index_select(0, node_numbers(needed))));
    });
  }
}

TEST(RowExchange, SendsGradientsHome) {
  const at::Tensor table = random_matrix(kNodes, 9, 1);
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(kNodes, ranks);
    at::Tensor expected = at::zeros({kNodes, 9}, at::kDouble);
    std::vector<at::Tensor> gradients;
    for (int q = 0; q < ranks; ++q) {
      const std::vector<GlobalNode> needed = needed_by(q, ranks);
      gradients.push_back(random_matrix(static_cast<std::int64_t>(needed.size()), 9, 50 + q));
      expected.index_add_(0, node_numbers(needed), gradients.back().to(at::kDouble));
    }
    for (int repeat = 0; repeat < 2; ++repeat) {
      run_ranks(ranks, [&](Communicator& communicator) {
        const int rank = communicator.rank();
        const std::vector<GlobalNode> owned = ownership.nodes_of(rank);
        at::Tensor rows, compact;
        std::vector<GlobalNode> requested;
        {  // The backward pass must not need the exchange itself.
          const RowExchange exchange(ownership, owned, needed_by(rank, ranks), communicator);
          for (const std::int32_t row : exchange.requested_rows()) requested.push_back(owned[row]);
          compact = table.index_select(0, node_numbers(requested)).set_requires_grad(true);
          rows = fetch(exchange, "test.rows", compact);
        }
        rows.backward(gradients[rank]);
        EXPECT_LT(relative_error(compact.grad(), expected.index_select(0, node_numbers(requested))),
                  1e-6);
      });
    }
  }
}

TEST(RowExchange, AddsGradientsInListOrder) {
  // In float, 1e8 + 1 - 1e8 is 0 in this order and 1 in another.
  run_ranks(1, [](Communicator& communicator) {
    const Ownership ownership = scattered_ownership(4, 1);
    const auto node = GlobalNode(2);
    const RowExchange exchange(ownership, ownership.nodes_of(0), {node, node, GlobalNode(0), node},
                               communicator);
    at::Tensor compact = at::zeros({2, 1}).set_requires_grad(true);
    fetch(exchange, "test.rows", compact)
        .backward(at::tensor({1e8F, 1.0F, 5.0F, -1e8F}).unsqueeze(1));
    EXPECT_EQ(compact.grad()[0].item<float>(), 5);
    EXPECT_EQ(compact.grad()[1].item<float>(), 0);
  });
}

// Entries of all ranks with an order of their own: whoever has which, a node's gradients are added
// in that order.
TEST(RowExchange, AddsGradientsInOneOrderAtAnyNumberOfRanks) {
  constexpr std::int64_t kEntries = 400;
  const Random random(8, Purpose::synthetic);
  const at::Tensor gradients = random_matrix(kEntries, 5, 3);
  at::Tensor of_one;
  for (const int ranks : kRankCounts) {
    const Ownership ownership = scattered_ownership(kNodes, ranks);
    at::Tensor sums = at::zeros({kNodes, 5});
    run_ranks(ranks, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const std::vector<GlobalNode> owned = ownership.nodes_of(rank);
      std::vector<GlobalNode> needed;
      std::vector<std::int64_t> order, entries;
      for (std::int64_t entry = 0; entry < kEntries; ++entry) {
        if (static_cast<std::int64_t>(random.index(ranks, entry, 1)) != rank) continue;
        needed.push_back(GlobalNode(static_cast<std::int32_t>(random.index(20, entry, 0)) * 7));
        order.push_back(entry * (std::int64_t{1} << 33) + 4'000'000'000);
        entries.push_back(entry);
      }
      const RowExchange exchange(ownership, owned, needed, communicator, &order);
      at::Tensor compact =
          at::zeros({static_cast<std::int64_t>(exchange.requested_rows().size()), 5})
              .set_requires_grad(true);
      fetch(exchange, "test.rows", compact)
          .backward(gradients.index_select(0, at::tensor(entries, at::kLong)));
      std::int64_t at = 0;
      for (const std::int32_t row : exchange.requested_rows()) {  // no two ranks own a node
        sums[value(owned[row])].copy_(compact.grad()[at++]);
      }
    });
    if (ranks == 1) of_one = sums;
    EXPECT_TRUE(same_bits(sums, of_one)) << ranks << " ranks";
  }
  EXPECT_EQ(at::count_nonzero(of_one.abs().sum(1)).item<std::int64_t>(), 20);
}

TEST(RowExchangeDeathTest, RefusesANodeThatIsNotThere) {
  const Ownership ownership = scattered_ownership(4, 1);
  EXPECT_DEATH(run_ranks(1,
                         [&](Communicator& communicator) {
                           RowExchange(ownership, ownership.nodes_of(0), {GlobalNode(4)},
                                       communicator);
                         }),
               "node 4 of 4");
}

}  // namespace
}  // namespace micrec
