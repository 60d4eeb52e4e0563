#include "evaluate/mix_choice.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "cluster/thread_communicator.h"
#include "evaluate/validation.h"
#include "tests/evaluate/small_world.h"

namespace micrec {
namespace {

constexpr std::int64_t kColumns = 6;
constexpr double kWeights[] = {0, 0.3, 0.6, 0.9, 1.3, 1.8, 3, 6, TriedMix::kAlone};

class MixChoiceTest : public testing::Test {
 protected:
  void make(const WorldShape& shape) {
    prepared_ = make_dataset(shape);
    write_dataset(prepared_, folder_ / "dataset.h5");
    dataset_.emplace(DatasetFile::open(folder_ / "dataset.h5"));
    space_.emplace(node_space(*dataset_));
    z_ = make_embeddings(space_->nodes(), kColumns, false);
    coefficients_ = make_coefficients(*space_, false);
  }

  /// Calls body(communicator, ownership, terms) on every rank.
  void on_ranks(
      int ranks,
      const std::function<void(Communicator&, const Ownership&, const ScoreTerms&)>& body) const {
    const Ownership ownership = make_ownership(*space_, ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const SparseRows own = coefficients_of(*space_, ownership, rank, coefficients_);
      body(communicator, ownership, {rows_of(ownership, rank, z_, kColumns), &own});
    });
  }

  MixChoice choose(int ranks, EvaluationOptions options, std::int64_t most_users = 10'000) const {
    std::vector<MixChoice> choices(ranks);
    on_ranks(ranks,
             [&](Communicator& communicator, const Ownership& ownership, const ScoreTerms& terms) {
               const MixChooser chooser({*dataset_, *space_, ownership, communicator.rank()},
                                        options, {}, most_users);
               choices[communicator.rank()] = chooser.choose(terms, communicator);
             });
    for (const MixChoice& choice : choices) EXPECT_EQ(in_one(choice), in_one(choices.front()));
    return choices.front();
  }

  Report evaluate(EvaluationOptions options, const std::vector<ScoreMix>& mixes) const {
    options.histories = true;
    Report report;
    on_ranks(1,
             [&](Communicator& communicator, const Ownership& ownership, const ScoreTerms& terms) {
               report = Evaluator({*dataset_, *space_, ownership, 0}, options)
                            .evaluate(terms, mixes, communicator);
             });
    return report;
  }

  static std::string in_one(const MixChoice& choice) {
    std::string all = choice.report.to_json().dump();
    for (const ScoreMix& mix : choice.mixes) all += text(" ", mix.embeddings, " ", mix.regression);
    for (const std::string& line : choice.in_words({"a", "b"})) all += " " + line;
    return all;
  }

  /// Both spreads from their definition; everybody and everything is in the sample of a small
  /// world.
  std::pair<double, double> plain_spreads(int domain) const {
    const PreparedDomain& of = prepared_.domains[domain];
    std::set<std::int32_t> users, items;
    for (std::int64_t n = 0; n < of.interactions(); ++n) {
      if (of.split[n] != Split::train) continue;
      users.insert(of.user[n]);
      items.insert(of.item[n]);
    }
    const auto histories = histories_of(prepared_, *space_, domain, false);
    std::vector<double> products, sums;
    for (const std::int32_t u : users) {
      std::vector<double> of_user;
      double mean = 0;
      for (const std::int32_t i : items) {
        const std::int64_t user = (space_->users_of(domain).begin + u) * kColumns;
        const std::int64_t item = (space_->items_of(domain).begin + i) * kColumns;
        double product = 0;
        for (std::int64_t k = 0; k < kColumns; ++k) product += double{z_[user + k]} * z_[item + k];
        of_user.push_back(product);
        mean += product / static_cast<double>(items.size());
        const std::int64_t row = space_->items_of(domain).begin + i - space_->users();
        double sum = 0;
        for (std::int64_t n = coefficients_.offsets[row]; n < coefficients_.offsets[row + 1]; ++n) {
          if (histories[u].contains(coefficients_.column[n])) sum += coefficients_.value[n];
        }
        sums.push_back(sum);
      }
      for (const double product : of_user) products.push_back(product - mean);
    }
    const auto deviation = [](const std::vector<double>& values) {
      double mean = 0, squares = 0;
      for (const double value : values) mean += value / static_cast<double>(values.size());
      for (const double value : values) squares += (value - mean) * (value - mean);
      return std::sqrt(squares / static_cast<double>(values.size()));
    };
    return {deviation(products), deviation(sums)};
  }

  TemporaryFolder folder_;
  PreparedDataset prepared_;
  std::optional<DatasetFile> dataset_;
  std::optional<NodeSpace> space_;
  std::vector<float> z_;
  SparseRows coefficients_;
};

TEST_F(MixChoiceTest, SpreadsAreStandardDeviationsWithTheSameBitsAtAnyNumberOfRanks) {
  make({});
  std::vector<TermSpread> first;
  for (const int ranks : {1, 2, 3, 4}) {
    std::vector<std::vector<TermSpread>> spreads(ranks);
    on_ranks(ranks,
             [&](Communicator& communicator, const Ownership& ownership, const ScoreTerms& terms) {
               const int rank = communicator.rank();
               const ComputeThreads threads(1 + rank % 2);
               spreads[rank] =
                   PairSample({*dataset_, *space_, ownership, rank}).spreads(terms, communicator);
             });
    if (ranks == 1) first = spreads[0];
    for (const std::vector<TermSpread>& of_rank : spreads) {
      for (int d = 0; d < 2; ++d) {
        EXPECT_EQ(of_rank[d].product.value(), first[d].product.value()) << ranks;
        EXPECT_EQ(of_rank[d].regression.value(), first[d].regression.value()) << ranks;
      }
    }
  }
  for (int d = 0; d < 2; ++d) {
    const auto [product, regression] = plain_spreads(d);
    EXPECT_GT(regression, 0);
    EXPECT_NEAR(first[d].product.value() / product, 1, 1e-12);
    EXPECT_NEAR(first[d].regression.value() / regression, 1, 1e-12);
  }
}

TEST_F(MixChoiceTest, AMixPutsTheWeightBetweenSpreads) {
  const TermSpread spread = {.product = 3, .regression = 2};
  EXPECT_TRUE(mix_of(0, spread).is_product_alone());
  EXPECT_TRUE(mix_of(2, spread).embeddings);
  EXPECT_EQ(mix_of(2, spread).regression, 3);
  EXPECT_FALSE(mix_of(TriedMix::kAlone, spread).embeddings);
  const TermSpread without_coefficients = {.product = 3, .regression = std::nullopt};
  const TermSpread zero_coefficients = {.product = 3, .regression = 0};
  const TermSpread without_embeddings = {.product = std::nullopt, .regression = 2};
  const TermSpread zero_embeddings = {.product = 0, .regression = 2};
  for (const double weight : kWeights) {
    EXPECT_TRUE(mix_of(weight, without_coefficients).is_product_alone()) << weight;
    EXPECT_TRUE(mix_of(weight, zero_coefficients).is_product_alone()) << weight;
    EXPECT_FALSE(mix_of(weight, without_embeddings).embeddings) << weight;
    EXPECT_FALSE(mix_of(weight, zero_embeddings).embeddings) << weight;
  }
}

TEST_F(MixChoiceTest, HasTheBestNdcgInEachDomainAndTheReportOfIt) {
  make({.hold_outs = false});
  const EvaluationOptions options = {.split = Split::valid, .k = {10, 20}};
  const MixChoice choice = choose(1, options);
  std::vector<TermSpread> spreads;
  for (int d = 0; d < 2; ++d) {
    const auto [product, regression] = plain_spreads(d);
    spreads.push_back({.product = product, .regression = regression});
  }
  double best[2] = {-1, -1};
  for (std::size_t w = 0; w < std::size(kWeights); ++w) {
    std::vector<ScoreMix> mixes;
    for (int d = 0; d < 2; ++d) mixes.push_back(mix_of(kWeights[w], spreads[d]));
    const Report report = evaluate(options, mixes);
    for (int d = 0; d < 2; ++d) {
      ASSERT_EQ(choice.tried[d].size(), std::size(kWeights));
      const double ndcg = report.value(report.domains[d].slices[0], Metric::ndcg, 20);
      EXPECT_EQ(choice.tried[d][w].weight, kWeights[w]);
      EXPECT_NEAR(choice.tried[d][w].ndcg, ndcg, 1e-9);
      best[d] = std::max(best[d], ndcg);
    }
  }
  for (int d = 0; d < 2; ++d) {
    EXPECT_NEAR(choice.report.value(choice.report.domains[d].slices[0], Metric::ndcg, 20), best[d],
                1e-9);
  }
  EXPECT_EQ(evaluate(options, choice.mixes).to_json().dump(), choice.report.to_json().dump());
}

TEST_F(MixChoiceTest, IsTheSameAtAnyNumberOfRanks) {
  make({});
  const EvaluationOptions options = {.split = Split::valid, .k = {20}};
  const std::string expected = in_one(choose(1, options));
  for (const int ranks : {2, 3, 4}) EXPECT_EQ(in_one(choose(ranks, options)), expected) << ranks;
}

TEST_F(MixChoiceTest, TiesGoToTheSmallerWeight) {
  make({.hold_outs = false});
  // Both terms put the items in the order of their numbers: the product falls by 1 from item to
  // item, the linear term is the same for all items of a user.
  std::fill(z_.begin(), z_.end(), 0.F);
  for (std::int64_t node = 0; node < space_->nodes(); ++node) {
    const auto of = static_cast<GlobalNode>(node);
    z_[node * kColumns] =
        space_->is_user(of) ? 1.F : -static_cast<float>(space_->number_in_domain(of));
  }
  const auto items = static_cast<std::int32_t>(space_->nodes() - space_->users());
  coefficients_ = {};
  for (std::int32_t target = 0; target < items; ++target) {
    for (std::int32_t source = 0; source < items; source += 3) {
      coefficients_.column.push_back(source);
      coefficients_.value.push_back(0.25F);
    }
    coefficients_.offsets.push_back(static_cast<std::int64_t>(coefficients_.column.size()));
  }
  const MixChoice choice = choose(2, {.split = Split::valid, .k = {20}});
  for (int d = 0; d < 2; ++d) {
    ASSERT_EQ(choice.tried[d].size(), std::size(kWeights));
    for (const TriedMix& tried : choice.tried[d]) EXPECT_EQ(tried.ndcg, choice.tried[d][0].ndcg);
    EXPECT_GT(choice.tried[d][0].ndcg, 0);
    EXPECT_TRUE(choice.mixes[d].is_product_alone());
  }
}

TEST_F(MixChoiceTest, TriesWeightsOnSomeUsersAndReportsAll) {
  make({});
  const EvaluationOptions options = {.split = Split::valid, .k = {20}};
  const MixChoice choice = choose(2, options, 15);
  EXPECT_EQ(choice.report.to_json().dump(), evaluate(options, choice.mixes).to_json().dump());
  EXPECT_GT(choice.report.domains[0].slices[0].users, 15);
  EvaluationOptions some = options;
  some.most_users = 15;
  for (int d = 0; d < 2; ++d) {
    double best = -1;
    for (const TriedMix& tried : choice.tried[d]) best = std::max(best, tried.ndcg);
    const Report report = evaluate(some, choice.mixes);
    EXPECT_NEAR(report.value(report.domains[d].slices[0], Metric::ndcg, 20), best, 1e-12);
  }
}

TEST_F(MixChoiceTest, TheSampleOfAReportDoesNotChangeWhomWeightsAreTriedOn) {
  make({});
  EvaluationOptions options = {.split = Split::valid, .k = {20}};
  const MixChoice of_all = choose(1, options, 15);
  options.most_users = 25;
  options.sample_seed = 3;
  const MixChoice of_sample = choose(2, options, 15);
  EXPECT_EQ(of_sample.in_words({"a", "b"}), of_all.in_words({"a", "b"}));
  EXPECT_EQ(of_sample.report.to_json().dump(), evaluate(options, of_sample.mixes).to_json().dump());
  EXPECT_EQ(of_sample.report.domains[0].slices[0].users, 25);
  // A smaller sample is the trial as well.
  options.most_users = 10;
  const MixChoice of_few = choose(2, options, 15);
  EXPECT_EQ(of_few.report.to_json().dump(), evaluate(options, of_few.mixes).to_json().dump());
  for (int d = 0; d < 2; ++d) {
    double best = -1;
    for (const TriedMix& tried : of_few.tried[d]) best = std::max(best, tried.ndcg);
    EXPECT_EQ(of_few.report.value(of_few.report.domains[d].slices[0], Metric::ndcg, 20), best);
  }
}

TEST_F(MixChoiceTest, ValidationOfASampleTellsItsMarginAndWeighsTheResultOnAll) {
  make({});
  const std::vector<double> chosen;
  std::string told_by_one;
  for (const int ranks : {1, 2, 3}) {
    std::vector<std::string> told(ranks);
    on_ranks(ranks, [&](Communicator& communicator, const Ownership& ownership,
                        const ScoreTerms& terms) {
      const int rank = communicator.rank();
      Validation all({*dataset_, *space_, ownership, rank}, {.k = {20}}, chosen);
      const double ndcg_of_all = all(terms, communicator);
      EXPECT_FALSE(all.margin().has_value());
      EXPECT_FALSE(all.last_json().contains("sample"));

      Validation no_fewer({*dataset_, *space_, ownership, rank},
                          {.k = {20}, .most_users = 1000, .sample_seed = 4}, chosen);
      EXPECT_EQ(no_fewer(terms, communicator), ndcg_of_all);
      EXPECT_FALSE(no_fewer.margin().has_value()) << "all are in the sample";

      Validation some({*dataset_, *space_, ownership, rank},
                      {.k = {20}, .most_users = 15, .sample_seed = 4}, chosen);
      const double ndcg = some(terms, communicator);
      EXPECT_NE(ndcg, ndcg_of_all);
      ASSERT_TRUE(some.margin().has_value());
      EXPECT_GT(*some.margin(), 0);
      const nlohmann::ordered_json json = some.last_json();
      EXPECT_EQ(json["sample"]["domain0"]["users"], 15);
      EXPECT_GT(json["sample"]["domain0"]["of"], 15);
      EXPECT_EQ(json["mean"]["ndcg@20"], ndcg);
      EXPECT_EQ(some.rate_alone(*terms.coefficients, {}, terms.z.size(0), at::kCPU, communicator),
                all.rate_alone(*terms.coefficients, {}, terms.z.size(0), at::kCPU, communicator));

      some.weigh_result(terms, communicator);
      EXPECT_EQ(some.weights_in_words(), all.weights_in_words());
      for (int d = 0; d < 2; ++d) {
        EXPECT_EQ(some.mixes()[d].regression, all.mixes()[d].regression);
      }
      EXPECT_EQ(some.last_json()["mean"], json["mean"]) << "it is still that of the sample";
      told[rank] = json.dump() + text(" ", *some.margin());
    });
    for (const std::string& of_rank : told) EXPECT_EQ(of_rank, told.front());
    if (told_by_one.empty()) told_by_one = told.front();
    EXPECT_EQ(told.front(), told_by_one) << ranks << " ranks";
  }
}

TEST_F(MixChoiceTest, ADomainWithoutValidationHasTheDefaultWeight) {
  make({.valid_in_domain_1 = false});
  const MixChoice choice = choose(2, {.split = Split::valid, .k = {20}});
  EXPECT_FALSE(choice.tried[0].empty());
  EXPECT_TRUE(choice.tried[1].empty());
  const auto [product, regression] = plain_spreads(1);
  EXPECT_NEAR(choice.mixes[1].regression / (product / regression), MixChooser::kDefaultWeight,
              1e-6);
  EXPECT_EQ(choice.in_words({"a", "b"})[1], "b: nothing to validate on");
  on_ranks(2, [&](Communicator& communicator, const Ownership& ownership, const ScoreTerms& terms) {
    const EvaluationOptions options = {.split = Split::valid, .k = {20}};
    const MixChooser chooser({*dataset_, *space_, ownership, communicator.rank()}, options);
    EXPECT_EQ(chooser.without_validation(terms, communicator)[1].regression,
              choice.mixes[1].regression);
    const MixChooser given({*dataset_, *space_, ownership, communicator.rank()}, options, {2, 3});
    const MixChoice twice = given.choose(terms, communicator);
    EXPECT_EQ(twice.tried[0].size(), 1U);
    EXPECT_EQ(twice.tried[0][0].weight, 2);
    EXPECT_NEAR(twice.mixes[1].regression / choice.mixes[1].regression,
                3 / MixChooser::kDefaultWeight, 1e-6);
  });
}

TEST_F(MixChoiceTest, WhatIsMissingIsLeftOut) {
  make({});
  const EvaluationOptions options = {.split = Split::valid, .k = {20}};
  on_ranks(2, [&](Communicator& communicator, const Ownership& ownership, const ScoreTerms& terms) {
    const MixChooser chooser({*dataset_, *space_, ownership, communicator.rank()}, options);
    const MixChoice product = chooser.choose({terms.z, nullptr}, communicator);
    for (const ScoreMix& mix : product.mixes) EXPECT_TRUE(mix.is_product_alone());
    const Evaluator evaluator({*dataset_, *space_, ownership, communicator.rank()}, options);
    EXPECT_EQ(product.report.to_json().dump(),
              evaluator.evaluate(terms.z, communicator).to_json().dump());

    const MixChoice regression =
        chooser.choose({terms.z.narrow(1, 0, 0), terms.coefficients}, communicator);
    for (const ScoreMix& mix : regression.mixes) EXPECT_FALSE(mix.embeddings);
    EXPECT_EQ(regression.tried[0].size(), 1U);
    EXPECT_EQ(regression.tried[0][0].weight, TriedMix::kAlone);
  });
}

}  // namespace
}  // namespace micrec
