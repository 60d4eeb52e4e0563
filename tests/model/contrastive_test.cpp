#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/text.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "model/contrastive_loss.h"
#include "model/contrastive_share.h"
#include "partition/overlap.h"
#include "tests/support/dense_model.h"
#include "tests/support/on_threads.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

at::Tensor normal_rows(std::int64_t rows, std::int64_t dim, std::uint32_t stream) {
  const Random random(2, Purpose::synthetic, stream);
  at::Tensor result = at::empty({rows, dim}, at::kFloat);
  for (std::int64_t n = 0; n < rows * dim; ++n) {
    result.data_ptr<float>()[n] = static_cast<float>(random.normal(n)[0]);
  }
  return result;
}

/// People with rows in two domains; the second are related to the first, so that the positives
/// stand out as they do in training.
struct Rows {
  Rows(std::int64_t people, std::int64_t dim)
      : first(normal_rows(people, dim, 0)), second(first + 0.5 * normal_rows(people, dim, 1)) {}
  at::Tensor first;
  at::Tensor second;
};

/// Loss and gradients by softmax over the whole matrix of logits, in double precision.
std::vector<at::Tensor> explicit_loss(const Rows& rows, double temperature) {
  const at::Tensor a = rows.first.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor b = rows.second.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor logits =
      at::mm(a / a.norm(2, 1, true), (b / b.norm(2, 1, true)).t()) / temperature;
  const at::Tensor loss = -(at::log_softmax(logits, 1).diagonal().mean() +
                            at::log_softmax(logits, 0).diagonal().mean()) /
                          2;
  loss.backward();
  return {loss.detach(), a.grad(), b.grad()};
}

/// Loss and gradients by the ranks, gradients in the order of the people.
struct Shared {
  double loss = 0;
  at::Tensor first;
  at::Tensor second;
};

/// Who owns whom: `rows_per_rank` of the people each, dealt out by a permutation.
std::vector<std::int32_t> dealt(const std::vector<std::int64_t>& rows_per_rank) {
  std::int64_t people = 0;
  for (const std::int64_t rows : rows_per_rank) people += rows;
  const Permutation permutation(std::max<std::int64_t>(people, 1), 3, Purpose::synthetic,
                                static_cast<std::uint32_t>(rows_per_rank.size()));
  std::vector<std::int32_t> positions(people);
  for (std::int64_t n = 0; n < people; ++n) {
    positions[n] = static_cast<std::int32_t>(permutation.at(n));
  }
  return positions;
}

Shared shared_loss(const Rows& rows, const std::vector<std::int64_t>& rows_per_rank,
                   double temperature) {
  const std::vector<std::int32_t> positions = dealt(rows_per_rank);
  Shared result{0, at::full_like(rows.first, NAN), at::full_like(rows.second, NAN)};
  const int ranks = static_cast<int>(rows_per_rank.size());
  std::vector<double> shares(ranks);
  run_ranks(ranks, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    std::int64_t begin = 0;
    for (int r = 0; r < rank; ++r) begin += rows_per_rank[r];
    const at::Tensor numbers =
        at::tensor(std::vector<std::int64_t>(positions.begin() + begin,
                                             positions.begin() + begin + rows_per_rank[rank]),
                   at::kLong);
    at::Tensor a = rows.first.index_select(0, numbers).requires_grad_(true);
    at::Tensor b = rows.second.index_select(0, numbers).requires_grad_(true);
    const at::Tensor share =
        contrastive_share(a, b, rows_per_rank, positions, temperature, communicator);
    share.backward();
    shares[rank] = share.item<double>();
    for (std::int64_t n = 0; n < rows_per_rank[rank]; ++n) {
      result.first[positions[begin + n]].copy_(a.grad()[n]);
      result.second[positions[begin + n]].copy_(b.grad()[n]);
    }
  });
  for (const double share : shares) result.loss += share;
  return result;
}

/// That the shares of ranks with these numbers of people add up to the explicit loss, gradients
/// included.
void expect_explicit_loss(const std::vector<std::int64_t>& rows_per_rank, std::int64_t dim,
                          double temperature, double tolerance = 1e-5) {
  std::int64_t people = 0;
  for (const std::int64_t rows : rows_per_rank) people += rows;
  const Rows rows(people, dim);
  const std::vector<at::Tensor> expected = explicit_loss(rows, temperature);
  const Shared got = shared_loss(rows, rows_per_rank, temperature);
  const double wanted = expected[0].item<double>();
  EXPECT_NEAR(got.loss, wanted, tolerance * std::abs(wanted) + 1e-7);
  const auto expect_gradient = [&](const at::Tensor& gradient, const at::Tensor& whole) {
    const at::Tensor difference = gradient.to(at::kDouble) - whole;
    EXPECT_LE(difference.abs().max().item<double>(), tolerance * whole.abs().max().item<double>());
    EXPECT_LE(difference.norm().item<double>(), tolerance * whole.norm().item<double>());
  };
  expect_gradient(got.first, expected[1]);
  expect_gradient(got.second, expected[2]);
}

TEST(ContrastiveShare, IsTheExplicitSoftmax) {
  expect_explicit_loss({17}, 6, 0.2);
  expect_explicit_loss({9, 8}, 6, 0.2);
  expect_explicit_loss({700, 0, 0}, 33, 0.2);
  expect_explicit_loss({0, 12, 0, 4, 1}, 6, 0.2);
  expect_explicit_loss({40, 0, 300, 1, 0, 0, 77, 110}, 64, 0.1);
  expect_explicit_loss({2}, 5, 0.2);
  expect_explicit_loss({1, 1}, 5, 0.5);
}

// Tiles are of 256 people one way and at most 84 the other, and of rows this wide 1792 people are
// packed at a time, or 768 for the gradient.
TEST(ContrastiveShare, CrossesTilesInBothDirections) {
  expect_explicit_loss({300, 0, 1700}, 520, 0.2);
}

// Logits of up to 200 have float32's rounding of 1e-5 in them.
TEST(ContrastiveShare, StaysExactAtASmallTemperature) {
  expect_explicit_loss({300, 5}, 16, 0.005, 1e-4);
}

TEST(ContrastiveShare, StaysFiniteAtAnyTemperature) {
  for (const double temperature : {1e-9, 1e-6, 1e-4, 1e-2, 1e3, 1e9}) {
    const Rows rows(300, 8);
    const Shared got = shared_loss(rows, {200, 100}, temperature);
    EXPECT_TRUE(std::isfinite(got.loss)) << temperature;
    EXPECT_GE(got.loss, -1e-6) << temperature;
    EXPECT_TRUE(got.first.isfinite().all().item<bool>()) << temperature;
    EXPECT_TRUE(got.second.isfinite().all().item<bool>()) << temperature;
  }
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return at::equal(a.view(at::kInt), b.view(at::kInt));
}

TEST(ContrastiveShare, HasTheSameBitsWhoeverOwnsWhomAndOnAnyThreads) {
  for (const double temperature : {0.2, 0.003}) {
    const Rows rows(1500, 40);
    const Shared expected = shared_loss(rows, {1500}, temperature);
    const std::vector<std::vector<std::int64_t>> all = {{1500},
                                                        {800, 700},
                                                        {0, 1500},
                                                        {1, 0, 1499},
                                                        {3, 600, 0, 700, 197},
                                                        {0, 0, 0, 1500, 0},
                                                        {200, 180, 190, 170, 0, 210, 250, 300}};
    for (const std::vector<std::int64_t>& rows_per_rank : all) {
      for (const int threads : {1, 3}) {
        const Shared got =
            on_threads(threads, [&] { return shared_loss(rows, rows_per_rank, temperature); });
        EXPECT_EQ(got.loss, expected.loss);
        EXPECT_TRUE(same_bits(got.first, expected.first));
        EXPECT_TRUE(same_bits(got.second, expected.second));
      }
    }
  }
}

TEST(ContrastiveShare, ScalesItsGradientByWhatComesBack) {
  const Rows rows(50, 7);
  SelfCommunicator communicator;
  const std::vector<std::int32_t> positions = dealt({50});
  std::vector<at::Tensor> gradients;
  for (const double factor : {1.0, 0.25}) {
    at::Tensor a = rows.first.clone().requires_grad_(true);
    const at::Tensor share = contrastive_share(a, rows.second, {50}, positions, 0.2, communicator);
    (share * factor).backward();
    gradients.push_back(a.grad());
  }
  EXPECT_TRUE(same_bits(gradients[0] * 0.25, gradients[1]));
}

// A row of zeros has no direction: its cosines are zero. The gradient there is that of dividing by
// the least norm, 1e-8, and so finite.
TEST(ContrastiveShare, TakesRowsOfZeros) {
  Rows rows(4, 5);
  rows.first[1].zero_();
  const Shared got = shared_loss(rows, {3, 1}, 0.2);
  at::Tensor unit = rows.first / rows.first.norm(2, 1, true).clamp_min(1e-8);
  const at::Tensor logits =
      at::mm(unit.to(at::kDouble),
             (rows.second / rows.second.norm(2, 1, true)).to(at::kDouble).t()) /
      0.2;
  const at::Tensor expected = -(at::log_softmax(logits, 1).diagonal().mean() +
                                at::log_softmax(logits, 0).diagonal().mean()) /
                              2;
  EXPECT_NEAR(got.loss, expected.item<double>(), 1e-6);
  EXPECT_TRUE(got.first.isfinite().all().item<bool>());
  EXPECT_TRUE(got.second.isfinite().all().item<bool>());
}

// One person has no negatives and so nothing to lose; nobody has nothing at all.
TEST(ContrastiveShare, OfOnePersonOrNobodyIsZero) {
  const Shared one = shared_loss(Rows(1, 5), {0, 1}, 0.2);
  EXPECT_NEAR(one.loss, 0, 1e-6);
  EXPECT_LT(one.first.abs().max().item<double>(), 1e-5);
  EXPECT_EQ(shared_loss(Rows(0, 5), {0, 0}, 0.2).loss, 0);
}

TEST(ContrastiveShare, OfANaNIsNaN) {
  Rows rows(30, 5);
  rows.first[7][2] = NAN;
  EXPECT_TRUE(std::isnan(shared_loss(rows, {10, 20}, 0.2).loss));
}

class ChoosePeople : public testing::Test {
 protected:
  ChoosePeople()
      : dataset_(write_small_world({.domains = 3, .users = 60}, folder_ / "world.h5")),
        summary_(summarise(dataset_)),
        pairs_(find_overlaps(summary_.space, summary_.people, summary_.training_degree)) {}

  /// The chosen people of a pair as (first, second) nodes, and that every rank knows who owns them.
  std::set<std::pair<std::int32_t, std::int32_t>> chosen(const OverlapPair& pair, int ranks,
                                                         std::int64_t batch, std::int64_t step) {
    std::set<std::pair<std::int32_t, std::int32_t>> people;
    std::vector<std::vector<std::int64_t>> counts(ranks);
    std::vector<std::vector<std::int32_t>> positions(ranks);
    std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> of_rank(ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const Shard shard = load_shard(dataset_, summary_, scattered_ownership(summary_, ranks),
                                     Observed::training, communicator);
      const ContrastiveBatch own = choose_people(pair, shard, batch, 7, step);
      ASSERT_EQ(own.first_rows.size(), own.second_rows.size());
      counts[shard.rank()] = own.rows_per_rank;
      positions[shard.rank()] = own.positions;
      for (std::size_t n = 0; n < own.first_rows.size(); ++n) {
        of_rank[shard.rank()].emplace_back(value(shard.owned()[own.first_rows[n]]),
                                           value(shard.owned()[own.second_rows[n]]));
      }
    });
    in_order_.clear();
    for (int rank = 0, n = 0; rank < ranks; ++rank) {
      EXPECT_EQ(counts[rank], counts[0]);
      EXPECT_EQ(positions[rank], positions[0]);
      for (const auto& person : of_rank[rank]) in_order_[positions[0].at(n++)] = person;
      EXPECT_EQ(counts[0][rank], static_cast<std::int64_t>(of_rank[rank].size()));
      for (const auto& person : of_rank[rank]) EXPECT_TRUE(people.insert(person).second);
    }
    return people;
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  DatasetSummary summary_;
  std::vector<OverlapPair> pairs_;
  // Of the last choice, by position.
  std::map<std::int32_t, std::pair<std::int32_t, std::int32_t>> in_order_;
};

TEST_F(ChoosePeople, OverlapsAreThePeopleTrainedOnInBoth) {
  const DenseWorld world = read_dense_world(dataset_);
  const at::Tensor degree = world.training.sum(1);
  ASSERT_EQ(pairs_.size(), 3U);
  for (const OverlapPair& pair : pairs_) {
    std::vector<std::pair<std::int32_t, std::int32_t>> expected, got;
    for (std::int64_t person = 0; person < dataset_.people(); ++person) {
      const std::int32_t a = world.user_of_person[pair.first_domain][person];
      const std::int32_t b = world.user_of_person[pair.second_domain][person];
      if (a < 0 || b < 0) continue;
      if (degree[a].item<double>() > 0 && degree[b].item<double>() > 0) expected.emplace_back(a, b);
    }
    for (std::size_t n = 0; n < pair.first.size(); ++n) {
      got.emplace_back(value(pair.first[n]), value(pair.second[n]));
    }
    EXPECT_GT(expected.size(), 8U);
    EXPECT_EQ(got, expected);
  }
}

TEST_F(ChoosePeople, TakesEverybodyOnce) {
  for (const OverlapPair& pair : pairs_) {
    for (const std::int64_t batch :
         {std::int64_t{0}, std::int64_t{100'000}, static_cast<std::int64_t>(pair.first.size())}) {
      for (const int ranks : {1, 3}) {
        EXPECT_EQ(chosen(pair, ranks, batch, 0).size(), pair.first.size());
      }
    }
  }
}

TEST_F(ChoosePeople, TakesTheSamePeopleAtAnyNumberOfRanksAndOthersInEachStep) {
  const OverlapPair& pair = pairs_[0];
  std::set<std::set<std::pair<std::int32_t, std::int32_t>>> batches;
  for (std::int64_t step = 0; step < 5; ++step) {
    const auto people = chosen(pair, 1, 6, step);
    EXPECT_EQ(people.size(), 6U);
    const auto in_order = in_order_;
    EXPECT_EQ(in_order.size(), 6U);
    EXPECT_EQ(in_order.rbegin()->first, 5);
    for (const int ranks : {2, 3, 5}) {
      EXPECT_EQ(chosen(pair, ranks, 6, step), people);
      EXPECT_EQ(in_order_, in_order);
    }
    batches.insert(people);
  }
  EXPECT_GT(batches.size(), 3U);
}

TEST_F(ChoosePeople, TakesEverybodyAboutAsOften) {
  const OverlapPair& pair = pairs_[0];
  std::map<std::int32_t, int> times;
  constexpr int kSteps = 2000, kBatch = 6;
  run_ranks(1, [&](Communicator& communicator) {
    const Shard shard = load_shard(dataset_, summary_, scattered_ownership(summary_, 1),
                                   Observed::training, communicator);
    for (int step = 0; step < kSteps; ++step) {
      for (const std::int32_t row : choose_people(pair, shard, kBatch, 7, step).first_rows) {
        ++times[row];
      }
    }
  });
  const double share = static_cast<double>(kBatch) / static_cast<double>(pair.first.size());
  EXPECT_EQ(times.size(), pair.first.size());
  for (const auto& [row, count] : times) {
    EXPECT_NEAR(count, kSteps * share, 6 * std::sqrt(kSteps * share)) << row;
  }
}

// One person has no negatives: there is no pair of domains then.
TEST(FindOverlaps, NeedsTwoPeople) {
  const NodeSpace space({2, 2}, {1, 1});
  People people{3, {0, 1, 0, 2}};
  std::vector<std::int32_t> training_degree = {1, 1, 1, 1, 2, 2};
  EXPECT_TRUE(find_overlaps(space, people, training_degree).empty());
  people.person = {0, 1, 0, 1};
  EXPECT_EQ(find_overlaps(space, people, training_degree).size(), 1U);
  training_degree[3] = 0;
  EXPECT_TRUE(find_overlaps(space, people, training_degree).empty());
}

}  // namespace
}  // namespace micrec
