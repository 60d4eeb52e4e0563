#include "model/contrastive.h"

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
#include "cluster/thread_communicator.h"
#include "tests/support/dense_model.h"
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

/// Loss and gradients by softmax over the whole matrix of logits, in double precision.
std::vector<at::Tensor> explicit_loss(const at::Tensor& first, const at::Tensor& second,
                                      double temperature) {
  const at::Tensor a = first.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor b = second.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor logits =
      at::mm(a / a.norm(2, 1, true), (b / b.norm(2, 1, true)).t()) / temperature;
  const at::Tensor loss = -(at::log_softmax(logits, 1).diagonal().mean() +
                            at::log_softmax(logits, 0).diagonal().mean()) /
                          2;
  loss.backward();
  return {loss.detach(), a.grad(), b.grad()};
}

/// That the shares of ranks with these numbers of people add up to the explicit loss, gradients
/// included.
void expect_explicit_loss(const std::vector<std::int64_t>& rows_per_rank, std::int64_t dim,
                          double temperature) {
  std::int64_t people = 0;
  for (const std::int64_t rows : rows_per_rank) people += rows;
  const at::Tensor first = normal_rows(people, dim, 0);
  // Related to the first, so that the positives stand out as they do in training.
  const at::Tensor second = first + 0.5 * normal_rows(people, dim, 1);
  const std::vector<at::Tensor> expected = explicit_loss(first, second, temperature);
  const int ranks = static_cast<int>(rows_per_rank.size());
  std::vector<double> shares(ranks);
  std::vector<at::Tensor> first_gradients(ranks), second_gradients(ranks);
  run_ranks(ranks, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    std::int64_t begin = 0;
    for (int r = 0; r < rank; ++r) begin += rows_per_rank[r];
    const auto own = [&](const at::Tensor& all) {
      return all.slice(0, begin, begin + rows_per_rank[rank]).clone().requires_grad_(true);
    };
    const at::Tensor a = own(first), b = own(second);
    const at::Tensor share = contrastive_share(a, b, rows_per_rank, temperature, communicator);
    share.backward();
    shares[rank] = share.item<double>();
    first_gradients[rank] = a.grad();
    second_gradients[rank] = b.grad();
  });
  double loss = 0;
  for (const double share : shares) loss += share;
  const double wanted = expected[0].item<double>();
  EXPECT_NEAR(loss, wanted, 1e-5 * std::abs(wanted) + 1e-7);
  const auto expect_gradient = [&](const std::vector<at::Tensor>& parts, const at::Tensor& whole) {
    const at::Tensor got = at::cat(parts).to(at::kDouble);
    EXPECT_LE((got - whole).abs().max().item<double>(), 1e-4 * whole.abs().max().item<double>());
    EXPECT_LE((got - whole).norm().item<double>(), 1e-4 * whole.norm().item<double>());
  };
  expect_gradient(first_gradients, expected[1]);
  expect_gradient(second_gradients, expected[2]);
}

TEST(ContrastiveShare, IsTheExplicitSoftmax) {
  expect_explicit_loss({17}, 6, 0.2);
  expect_explicit_loss({9, 8}, 6, 0.2);
  expect_explicit_loss({0, 12, 0, 4, 1}, 6, 0.2);
  expect_explicit_loss({2}, 5, 0.2);
  expect_explicit_loss({1, 1}, 5, 0.5);
}

// More than 256 rows of one rank and more than 4096 people: logits lie in several tiles both ways.
TEST(ContrastiveShare, CrossesTilesInBothDirections) {
  expect_explicit_loss({4099 + 270}, 8, 0.2);
  expect_explicit_loss({300, 0, 4099}, 8, 0.2);
}

TEST(ContrastiveShare, StaysFiniteAtASmallTemperature) {
  expect_explicit_loss({300, 5}, 16, 0.005);
}

// One row of zeros has no direction: its cosines are zero and its gradient is not NaN.
TEST(ContrastiveShare, TakesRowsOfZeros) {
  run_ranks(1, [](Communicator& communicator) {
    at::Tensor rows = normal_rows(4, 5, 3);
    rows[1].zero_();
    const at::Tensor first = rows.requires_grad_(true);
    const at::Tensor loss = contrastive_share(first, normal_rows(4, 5, 4), {4}, 0.2, communicator);
    loss.backward();
    EXPECT_TRUE(std::isfinite(loss.item<double>()));
    EXPECT_TRUE(first.grad().isfinite().all().item<bool>());
  });
}

class ChoosePeople : public testing::Test {
 protected:
  ChoosePeople()
      : dataset_(write_small_world({.domains = 3, .users = 60}, folder_ / "world.h5")),
        summary_(summarise(dataset_)),
        pairs_(find_overlaps(summary_)) {}

  /// The chosen people of a pair as (first, second) nodes, and that every rank knows who owns them.
  std::set<std::pair<std::int32_t, std::int32_t>> chosen(const OverlapPair& pair, int ranks,
                                                         std::int64_t batch, std::int64_t step) {
    std::set<std::pair<std::int32_t, std::int32_t>> people;
    std::vector<std::vector<std::int64_t>> counts(ranks);
    std::vector<std::vector<std::pair<std::int32_t, std::int32_t>>> of_rank(ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const Shard shard = load_shard(dataset_, summary_, scattered_ownership(summary_, ranks),
                                     Observed::training, 1, communicator);
      const ContrastiveBatch own = choose_people(pair, shard, batch, 7, step);
      ASSERT_EQ(own.first_rows.size(), own.second_rows.size());
      counts[shard.rank()] = own.rows_per_rank;
      for (std::size_t n = 0; n < own.first_rows.size(); ++n) {
        of_rank[shard.rank()].emplace_back(value(shard.owned()[own.first_rows[n]]),
                                           value(shard.owned()[own.second_rows[n]]));
      }
    });
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(counts[rank], counts[0]);
      EXPECT_EQ(counts[0][rank], static_cast<std::int64_t>(of_rank[rank].size()));
      for (const auto& person : of_rank[rank]) EXPECT_TRUE(people.insert(person).second);
    }
    return people;
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  DatasetSummary summary_;
  std::vector<OverlapPair> pairs_;
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
    for (const int ranks : {2, 3, 5}) EXPECT_EQ(chosen(pair, ranks, 6, step), people);
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
                                   Observed::training, 1, communicator);
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
  DatasetSummary summary{NodeSpace({2, 2}, {1, 1}), {}, {}, {}};
  summary.people.count = 3;
  summary.people.person = {0, 1, 0, 2};
  summary.training_degree = {1, 1, 1, 1, 2, 2};
  EXPECT_TRUE(find_overlaps(summary).empty());
  summary.people.person = {0, 1, 0, 1};
  EXPECT_EQ(find_overlaps(summary).size(), 1U);
  summary.training_degree[3] = 0;
  EXPECT_TRUE(find_overlaps(summary).empty());
}

}  // namespace
}  // namespace micrec
