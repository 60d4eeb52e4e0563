#include "evaluate/evaluator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/parallel.h"
#include "base/stopped.h"
#include "cluster/thread_communicator.h"
#include "evaluate/bootstrap.h"
#include "evaluate/user_metrics.h"
#include "io/hdf5.h"
#include "tests/evaluate/small_world.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"

namespace micrec {
namespace {

constexpr std::int64_t kDim = 6;

class EvaluatorTest : public testing::Test {
 protected:
  void make(const WorldShape& shape) {
    prepared_ = make_dataset(shape);
    write_dataset(prepared_, folder_ / "dataset.h5");
    dataset_.emplace(DatasetFile::open(folder_ / "dataset.h5"));
    space_.emplace(node_space(*dataset_));
  }

  Report evaluate(int ranks, const EvaluationOptions& options, const std::vector<float>& z) const {
    const Ownership ownership = make_ownership(*space_, ranks);
    std::vector<Report> reports(ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const Evaluator evaluator({*dataset_, *space_, ownership, rank}, options);
      const at::Tensor own =
          rows_of(ownership, rank, z, static_cast<std::int64_t>(z.size()) / space_->nodes());
      reports[rank] = evaluator.evaluate(own, communicator);
      EXPECT_EQ(evaluator.evaluate(own, communicator).to_json().dump(),
                reports[rank].to_json().dump());
    });
    for (const Report& report : reports) {
      EXPECT_EQ(report.to_json().dump(), reports.front().to_json().dump());
    }
    return reports.front();
  }

  /// Reports of several ways to mix, the same on all ranks.
  std::vector<Report> evaluate_ways(int ranks, EvaluationOptions options,
                                    const std::vector<float>& z, const SparseRows& coefficients,
                                    const std::vector<std::vector<ScoreMix>>& ways) const {
    options.histories = true;
    const Ownership ownership = make_ownership(*space_, ranks);
    std::vector<std::vector<Report>> reports(ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const Evaluator evaluator({*dataset_, *space_, ownership, rank}, options);
      const SparseRows own = coefficients_of(*space_, ownership, rank, coefficients);
      reports[rank] =
          evaluator.evaluate_ways({rows_of(ownership, rank, z, kDim), &own}, ways, communicator);
    });
    for (const std::vector<Report>& of_rank : reports) {
      EXPECT_EQ(in_one(of_rank), in_one(reports.front()));
    }
    return reports.front();
  }

  static std::string in_one(const std::vector<Report>& reports) {
    std::string all;
    for (const Report& report : reports) all += report.to_json().dump() + "\n";
    return all;
  }

  TemporaryFolder folder_;
  PreparedDataset prepared_;
  std::optional<DatasetFile> dataset_;
  std::optional<NodeSpace> space_;
};

/// The linear term of a domain's users and items, and the mix that it goes into.
struct LinearTerm {
  ScoreMix mix;
  SparseRows coefficients;                        // of all items of all domains
  std::int64_t first_item = 0;                    // the domain's first among them
  std::vector<std::set<std::int32_t>> histories;  // (users)
};

/// The whole evaluation again, from its definition: every user sorts every item.
class Oracle {
 public:
  Oracle(const PreparedDomain& domain, const std::set<std::int32_t>& overlapping,
         const EvaluationOptions& options, std::vector<float> users, std::vector<float> items)
      : domain_(domain),
        overlapping_(overlapping),
        options_(options),
        users_(std::move(users)),
        items_(std::move(items)) {
    for (std::int64_t n = 0; n < domain.interactions(); ++n) {
      splits_[{domain.user[n], domain.item[n]}] = domain.split[n];
      if (domain.split[n] == Split::train) ++degree_[domain.item[n]];
    }
  }

  void add(LinearTerm term) { linear_ = std::move(term); }

  bool is_candidate(std::int32_t item) const {
    return options_.with_new_nodes ||
           (domain_.new_items[item] == 0 && domain_.cold_items[item] == 0);
  }

  std::int64_t candidates() const {
    std::int64_t count = 0;
    for (std::int32_t i = 0; i < domain_.items(); ++i) count += is_candidate(i);
    return count;
  }

  /// Compares one slice, whose meaning it takes from the name. Returns how many users it has.
  std::int64_t expect_equal(const Report& report, const SliceReport& slice) const {
    SCOPED_TRACE(domain_.name + " " + slice.name);
    std::string name = slice.name;
    const std::string suffix = "/among_themselves";
    const bool among = name.size() > suffix.size() && name.ends_with(suffix);
    if (among) name.resize(name.size() - suffix.size());
    std::string users_part = "all";
    std::string items_part = "all";
    for (const std::string& part : split(name, '.')) {
      if (part.ends_with("_users")) {
        users_part = part;
      } else if (part != "all") {
        items_part = part;
      }
    }

    std::int64_t users = 0;
    std::int64_t positives = 0;
    std::vector<double> sums(report.k.size() * 6);
    for (std::int32_t u = 0; u < domain_.users(); ++u) {
      if (!has_user(users_part, u)) continue;
      struct Place {
        double score;
        std::int32_t item;
        bool positive;
      };
      std::vector<Place> list;
      std::int64_t n = 0;
      for (std::int32_t i = 0; i < domain_.items(); ++i) {
        if (!is_candidate(i) || (among && !has_item(items_part, i))) continue;
        const auto found = splits_.find({u, i});
        const bool relevant = found != splits_.end() && found->second == options_.split;
        if (found != splits_.end() && !relevant &&
            !(options_.split == Split::valid && found->second == Split::test)) {
          continue;
        }
        float score = 0;
        for (std::int64_t k = 0; k < kDim; ++k) {
          score = std::fma(users_[u * kDim + k], items_[i * kDim + k], score);
        }
        if (linear_) {
          const float sum =
              plain_sum(linear_->coefficients, linear_->first_item + i, linear_->histories[u]);
          score = linear_->mix.embeddings ? std::fma(linear_->mix.regression, sum, score) : sum;
        }
        const bool positive = relevant && has_item(items_part, i);
        n += positive;
        list.push_back({score, i, positive});
      }
      if (n == 0) continue;
      ++users;
      positives += n;
      std::sort(list.begin(), list.end(), [](const Place& a, const Place& b) {
        return a.score != b.score ? a.score > b.score : a.item < b.item;
      });
      for (std::size_t c = 0; c < report.k.size(); ++c) {
        const std::int64_t k = report.k[c];
        double hits = 0, gain = 0, ideal = 0, precisions = 0, first = 0;
        for (std::int64_t place = 0; place < k; ++place) {
          if (place < n) ideal += 1 / std::log2(place + 2.0);
          if (place >= static_cast<std::int64_t>(list.size()) || !list[place].positive) continue;
          hits += 1;
          gain += 1 / std::log2(place + 2.0);
          precisions += hits / (place + 1.0);
          if (first == 0) first = 1 / (place + 1.0);
        }
        const std::array<double, 6> values = {hits / static_cast<double>(n),
                                              gain / ideal,
                                              hits / static_cast<double>(k),
                                              hits > 0 ? 1.0 : 0.0,
                                              first,
                                              precisions / static_cast<double>(std::min(n, k))};
        for (std::size_t m = 0; m < 6; ++m) sums[c * 6 + m] += values[m];
      }
    }
    EXPECT_EQ(slice.users, users);
    EXPECT_EQ(slice.positives, positives);
    for (std::size_t v = 0; v < sums.size(); ++v) {
      EXPECT_NEAR(slice.values[v], users == 0 ? 0 : sums[v] / static_cast<double>(users), 1e-9);
    }
    return users;
  }

 private:
  bool has_user(const std::string& part, std::int32_t u) const {
    const bool is_new = domain_.new_users[u] != 0;
    if (is_new && !options_.with_new_nodes) return false;
    if (part == "all") return true;
    if (part == "old_users") return !is_new;
    if (part == "new_users") return is_new;
    if (part == "overlapping_users") return overlapping_.count(u) > 0;
    if (part == "other_users") return overlapping_.count(u) == 0;
    ADD_FAILURE() << "unknown users: " << part;
    return false;
  }

  bool has_item(const std::string& part, std::int32_t i) const {
    if (part == "all") return true;
    if (part == "new_items") return domain_.new_items[i] != 0;
    if (part == "cold_items") return domain_.cold_items[i] != 0;
    if (part == "old_items") return domain_.new_items[i] == 0 && domain_.cold_items[i] == 0;
    const auto found = degree_.find(i);
    const int degree = found == degree_.end() ? 0 : found->second;
    if (part == "items_degree_0") return degree == 0;
    if (part == "items_degree_1_3") return degree >= 1 && degree <= 3;
    if (part == "items_degree_4_7") return degree >= 4 && degree <= 7;
    if (part == "items_degree_8_15") return degree >= 8 && degree <= 15;
    if (part == "items_degree_16_31") return degree >= 16 && degree <= 31;
    if (part == "items_degree_32_up") return degree >= 32;
    for (const FeatureTable& table : domain_.features) {
      if (part == "items_with_" + table.modality) return table.present[i] != 0;
      if (part == "items_without_" + table.modality) return table.present[i] == 0;
    }
    ADD_FAILURE() << "unknown items: " << part;
    return false;
  }

  const PreparedDomain& domain_;
  std::set<std::int32_t> overlapping_;
  EvaluationOptions options_;
  std::vector<float> users_, items_;
  std::map<std::pair<std::int32_t, std::int32_t>, Split> splits_;
  std::map<std::int32_t, int> degree_;
  std::optional<LinearTerm> linear_;
};

std::set<std::int32_t> overlapping_users(const PreparedDataset& dataset, std::size_t d) {
  std::set<std::int32_t> users;
  for (std::size_t u = 0; u < dataset.person_of_user[d].size(); ++u) {
    for (std::size_t other = 0; other < dataset.domains.size(); ++other) {
      const std::vector<std::int32_t>& people = dataset.person_of_user[other];
      if (other != d &&
          std::count(people.begin(), people.end(), dataset.person_of_user[d][u]) > 0) {
        users.insert(static_cast<std::int32_t>(u));
      }
    }
  }
  return users;
}

TEST_F(EvaluatorTest, EqualsItsDefinitionInEverySlice) {
  std::set<std::string> seen;
  for (const bool hold_outs : {true, false}) {
    make({.hold_outs = hold_outs});
    for (const bool whole : {true, false}) {
      const std::vector<float> z = make_embeddings(space_->nodes(), kDim, whole);
      for (const Split split : {Split::valid, Split::test}) {
        for (const bool with_new_nodes : {false, true}) {
          const EvaluationOptions options = {
              .split = split, .k = {1, 5, 20, 1000}, .with_new_nodes = with_new_nodes};
          const ComputeThreads threads(2);
          const Report report = evaluate(1, options, z);
          ASSERT_EQ(report.domains.size(), 2U);
          for (int d = 0; d < 2; ++d) {
            const auto part = [&](Range nodes) {
              return std::vector<float>(z.begin() + nodes.begin * kDim,
                                        z.begin() + nodes.end * kDim);
            };
            const Oracle oracle(prepared_.domains[d], overlapping_users(prepared_, d), options,
                                part(space_->users_of(d)), part(space_->items_of(d)));
            EXPECT_EQ(report.domains[d].candidates, oracle.candidates());
            EXPECT_EQ(report.domains[d].slices.front().name, "all");
            for (const SliceReport& slice : report.domains[d].slices) {
              EXPECT_GT(oracle.expect_equal(report, slice), 0);
              seen.insert(slice.name);
            }
          }
          EXPECT_DOUBLE_EQ(report.mean(Metric::ndcg, 5),
                           (report.value(report.domains[0].slices[0], Metric::ndcg, 5) +
                            report.value(report.domains[1].slices[0], Metric::ndcg, 5)) /
                               2);
        }
      }
    }
  }
  for (const char* name : {"all",
                           "old_users",
                           "new_users",
                           "overlapping_users",
                           "other_users",
                           "old_items",
                           "new_items",
                           "cold_items",
                           "new_users.new_items",
                           "old_users.cold_items/among_themselves",
                           "cold_items/among_themselves",
                           "new_items/among_themselves",
                           "old_items/among_themselves",
                           "items_degree_0",
                           "items_degree_1_3",
                           "items_degree_4_7",
                           "items_degree_8_15",
                           "items_degree_16_31",
                           "items_with_image",
                           "items_without_image",
                           "items_with_text",
                           "items_without_text"}) {
    EXPECT_EQ(seen.count(name), 1U) << name;
  }
}

TEST_F(EvaluatorTest, GivesTheSameBitsAtAnyNumberOfRanksThreadsAndBlocks) {
  make({});
  for (const bool whole : {true, false}) {
    const std::vector<float> z = make_embeddings(space_->nodes(), kDim, whole);
    EvaluationOptions options = {.split = Split::test, .k = {5, 20}, .with_new_nodes = true};
    const std::string expected = evaluate(1, options, z).to_json().dump();
    for (const int ranks : {1, 2, 3, 4, 5, 8}) {
      for (const int threads : {1, 3}) {
        for (const std::int64_t block_bytes : {1 << 20, 1000, 1}) {
          if (block_bytes == 1 && (ranks != 3 || threads != 1))
            continue;  // an item a block is slow
          const ComputeThreads scope(threads);
          options.block_bytes = block_bytes;
          EXPECT_EQ(evaluate(ranks, options, z).to_json().dump(), expected)
              << ranks << " ranks, " << threads << " threads, blocks of " << block_bytes;
        }
      }
    }
  }
}

TEST_F(EvaluatorTest, EqualsItsDefinitionWithALinearTermInEveryWay) {
  for (const bool hold_outs : {true, false}) {
    make({.hold_outs = hold_outs});
    for (const bool whole : {true, false}) {
      const std::vector<float> z = make_embeddings(space_->nodes(), kDim, whole);
      const SparseRows coefficients = make_coefficients(*space_, whole);
      const ScoreMix alone = {.embeddings = false, .regression = 1};
      const std::vector<std::vector<ScoreMix>> ways = {
          {{.regression = 0.5F}, alone}, {{}, {.regression = 2}}, {alone, {}}};
      for (const bool with_new_nodes : {false, true}) {
        const EvaluationOptions options = {
            .split = Split::test, .k = {1, 20}, .with_new_nodes = with_new_nodes};
        const ComputeThreads threads(2);
        const std::vector<Report> reports = evaluate_ways(2, options, z, coefficients, ways);
        ASSERT_EQ(reports.size(), ways.size());
        for (std::size_t way = 0; way < ways.size(); ++way) {
          for (int d = 0; d < 2; ++d) {
            const auto part = [&](Range nodes) {
              return std::vector<float>(z.begin() + nodes.begin * kDim,
                                        z.begin() + nodes.end * kDim);
            };
            Oracle oracle(prepared_.domains[d], overlapping_users(prepared_, d), options,
                          part(space_->users_of(d)), part(space_->items_of(d)));
            oracle.add({ways[way][d], coefficients, space_->items_of(d).begin - space_->users(),
                        histories_of(prepared_, *space_, d, with_new_nodes)});
            for (const SliceReport& slice : reports[way].domains[d].slices) {
              EXPECT_GT(oracle.expect_equal(reports[way], slice), 0);
            }
          }
        }
      }
    }
  }
}

TEST_F(EvaluatorTest, GivesTheSameBitsWithALinearTermAtAnyNumberOfRanksThreadsAndBlocks) {
  make({});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  const SparseRows coefficients = make_coefficients(*space_, false);
  const std::vector<std::vector<ScoreMix>> ways = {
      {{.regression = 0.5F}, {.embeddings = false, .regression = 1}}, {{}, {.regression = 2}}};
  EvaluationOptions options = {.split = Split::test, .k = {5, 20}, .with_new_nodes = true};
  const std::vector<Report> expected = evaluate_ways(1, options, z, coefficients, ways);
  for (const int ranks : {1, 2, 3, 4}) {
    for (const int threads : {1, 3}) {
      for (const std::int64_t block_bytes : {1 << 20, 3000}) {
        const ComputeThreads scope(threads);
        options.block_bytes = block_bytes;
        EXPECT_EQ(in_one(evaluate_ways(ranks, options, z, coefficients, ways)), in_one(expected))
            << ranks << " ranks, " << threads << " threads, blocks of " << block_bytes;
      }
    }
  }
  EXPECT_EQ(in_one(evaluate_ways(2, options, z, coefficients, {ways[1]})), in_one({expected[1]}))
      << "a way reports otherwise beside others";
}

TEST_F(EvaluatorTest, CoefficientsThatNoMixTakesChangeNothing) {
  make({});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  const EvaluationOptions options = {.split = Split::test, .k = {5}, .with_new_nodes = true};
  const Report product = evaluate(2, options, z);
  const std::vector<ScoreMix> alone(2);
  EXPECT_EQ(in_one(evaluate_ways(2, options, z, make_coefficients(*space_, false), {alone})),
            in_one({product}));
}

TEST_F(EvaluatorTest, RanksAsManyUsersAsAreWanted) {
  make({});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  EvaluationOptions options = {.split = Split::test, .k = {5}, .most_users = 40};
  const Report some = evaluate(1, options, z);
  for (const DomainReport& domain : some.domains) EXPECT_EQ(domain.slices[0].users, 40);
  EXPECT_EQ(in_one({evaluate(4, options, z)}), in_one({some}));
  options.most_users = 1000;
  const Report all = evaluate(2, options, z);
  options.most_users = 0;
  EXPECT_EQ(in_one({evaluate(1, options, z)}), in_one({all}));
  EXPECT_GT(all.domains[0].slices[0].users, 40);
}

TEST_F(EvaluatorTest, SamplesOfDomainsAreIndependentOfEachOther) {
  make({.users = {400, 400}, .hold_outs = false});
  const EvaluationOptions options = {.split = Split::test, .k = {5}, .most_users = 50};
  const Ownership ownership = make_ownership(*space_, 1);
  const Evaluator evaluator({*dataset_, *space_, ownership, 0}, options);
  std::vector<std::set<std::int32_t>> ranked;
  for (const EvaluatedDomain& domain : evaluator.domains()) {
    ranked.emplace_back(domain.user.begin(), domain.user.end());
    EXPECT_EQ(ranked.back().size(), 50U);
  }
  std::vector<std::int32_t> both;
  std::ranges::set_intersection(ranked[0], ranked[1], std::back_inserter(both));
  EXPECT_LT(both.size(), 20U) << "about 7 of 50 are in both by chance";
  EXPECT_FALSE(ranked[0].contains(0) && ranked[0].contains(1) && ranked[0].contains(2));
}

TEST_F(EvaluatorTest, WithoutSlicesReportsTheWholeAlone) {
  make({});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  EvaluationOptions options = {.split = Split::test, .k = {10}, .with_new_nodes = true};
  const Report all = evaluate(2, options, z);
  options.slices = false;
  const Report whole = evaluate(2, options, z);
  for (int d = 0; d < 2; ++d) {
    ASSERT_EQ(whole.domains[d].slices.size(), 1U);
    EXPECT_EQ(whole.domains[d].slices[0].values, all.domains[d].slices[0].values);
  }
}

TEST_F(EvaluatorTest, LeavesDomainsWithoutUsersOutOfTheMean) {
  make({.valid_in_domain_1 = false});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  const Report report = evaluate(2, {.split = Split::valid, .k = {10}}, z);
  EXPECT_EQ(report.domains[1].slices.at(0).users, 0);
  EXPECT_GT(report.mean(Metric::recall, 10), 0);
  EXPECT_EQ(report.mean(Metric::recall, 10),
            report.value(report.domains[0].slices[0], Metric::recall, 10));
  EXPECT_TRUE(report.has_users());
  expect_has(report.to_table(), {"domain1"});
}

TEST_F(EvaluatorTest, ASampleOfUsersHasTheSameBitsAnywhereAndAnotherSeedAnother) {
  make({});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  EvaluationOptions options = {.split = Split::valid,
                               .k = {20},
                               .slices = false,
                               .most_users = 20,
                               .sample_seed = 7,
                               .squares = true};
  const Report expected = evaluate(1, options, z);
  EXPECT_EQ(expected.domains[0].slices[0].users, 20);
  EXPECT_GT(expected.domains[0].eligible_users, 20);
  EXPECT_LE(expected.domains[1].eligible_users, 20) << "all of these are ranked";
  EXPECT_EQ(expected.margin_95(expected.domains[1], Metric::ndcg, 20), 0);
  for (const int ranks : {2, 3, 4}) {
    const ComputeThreads threads(ranks - 1);
    const Report report = evaluate(ranks, options, z);
    EXPECT_EQ(report.to_json().dump(), expected.to_json().dump());
    EXPECT_EQ(report.margin_95(Metric::ndcg, 20), expected.margin_95(Metric::ndcg, 20));
  }
  const Report unseeded = [&] {
    options.sample_seed.reset();
    return evaluate(1, options, z);
  }();
  options.sample_seed = 8;
  EXPECT_NE(evaluate(1, options, z).to_json().dump(), expected.to_json().dump());
  EXPECT_NE(unseeded.to_json().dump(), expected.to_json().dump());
  options.sample_seed = std::uint64_t{7} << 32;
  EXPECT_NE(evaluate(1, options, z).to_json().dump(), expected.to_json().dump());
}

TEST_F(EvaluatorTest, TheMarginOfASampleIsThatOfItsUsersValuesAndOfABootstrap) {
  make({.users = {400, 60}, .hold_outs = false});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  const EvaluationOptions options = {.split = Split::valid,
                                     .k = {5, 20},
                                     .slices = false,
                                     .most_users = 150,
                                     .sample_seed = 1,
                                     .squares = true};
  const MetricTable metrics(options.k, space_->nodes());
  std::vector<double> ndcg;
  std::optional<double> margin;
  double eligible = 0;
  run_ranks(1, [&](Communicator& communicator) {
    const Ownership ownership = make_ownership(*space_, 1);
    const Evaluator evaluator({*dataset_, *space_, ownership, 0}, options);
    ItemsAhead ahead;
    const Report report = evaluator.evaluate(rows_of(ownership, 0, z, kDim), communicator, &ahead);
    margin = report.margin_95(report.domains[0], Metric::ndcg, 20);
    eligible = static_cast<double>(report.domains[0].eligible_users);
    for_each_user_block({evaluator.domains()[0], ahead[0], metrics}, communicator, at::kCPU,
                        1 << 20, [&](const UserBlock& block) {
                          const auto& values = block.slices[0].values[6 + 1];  // second cutoff
                          ndcg.insert(ndcg.end(), values.begin(), values.end());
                        });
  });
  ASSERT_EQ(ndcg.size(), 150U);
  ASSERT_GT(eligible, 200);
  double mean = 0, squares = 0;
  for (const double value : ndcg) mean += value / 150;
  for (const double value : ndcg) squares += (value - mean) * (value - mean);
  const double left_out = 1 - 150 / eligible;
  ASSERT_TRUE(margin.has_value());
  EXPECT_NEAR(*margin, 1.959964 * std::sqrt(squares / 149 / 150 * left_out), 1e-7);

  const std::vector<double> means = resampled_means(ndcg, 1, {.resamples = 10'000});
  const Interval interval = middle_95(means);
  const double half = (interval.high - interval.low) / 2 * std::sqrt(left_out);
  EXPECT_NEAR(*margin / half, 1, 0.05);
}

TEST_F(EvaluatorTest, TheMarginsOfMostSamplesHoldTheValueOfAllUsers) {
  make({.users = {400, 300}, .hold_outs = false});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  EvaluationOptions options = {
      .split = Split::valid, .k = {20}, .slices = false, .most_users = 40, .squares = true};
  const double of_all = evaluate(1, {.split = Split::valid, .k = {20}}, z).mean(Metric::ndcg, 20);
  int held = 0;
  double sum = 0;
  constexpr int kSamples = 80;
  for (int seed = 0; seed < kSamples; ++seed) {
    options.sample_seed = seed;
    const Report report = evaluate(1, options, z);
    const double value = report.mean(Metric::ndcg, 20);
    const std::optional<double> margin = report.margin_95(Metric::ndcg, 20);
    ASSERT_TRUE(margin.has_value());
    held += std::abs(value - of_all) <= *margin;
    sum += value;
  }
  EXPECT_GE(held, kSamples * 85 / 100);
  EXPECT_LT(held, kSamples) << "so wide a margin says nothing";
  EXPECT_NEAR(sum / kSamples / of_all, 1, 0.05) << "a sample is not biased";
  options.most_users = 1;
  EXPECT_FALSE(evaluate(1, options, z).margin_95(Metric::ndcg, 20).has_value());
}

TEST_F(EvaluatorTest, TakesADomainOfOneUserAndOneItem) {
  make({.users = {30, 1}, .items = {40, 1}, .hold_outs = false, .modalities = false});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  const Report report = evaluate(3, {.split = Split::test, .k = {10}}, z);
  EXPECT_EQ(report.domains[1].candidates, 1);
  EXPECT_GT(report.domains[0].slices[0].users, 0);
}

TEST_F(EvaluatorTest, RefusesScoresThatAreNotFiniteOnAllRanks) {
  make({});
  for (const float bad : {std::nanf(""), HUGE_VALF, 3e38F}) {
    std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
    z[7] = bad;
    const Ownership ownership = make_ownership(*space_, 3);
    run_ranks(3, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const Evaluator evaluator({*dataset_, *space_, ownership, rank}, {});
      expect_error(Cause::diverged, {},
                   [&] { evaluator.evaluate(rows_of(ownership, rank, z, kDim), communicator); });
    });
    SparseRows coefficients = make_coefficients(*space_, false);
    coefficients.value[5] = bad;
    const std::vector<float> sound = make_embeddings(space_->nodes(), kDim, false);
    EXPECT_THROW(evaluate_ways(3, {}, sound, coefficients, {{{}, {.regression = 1}}}), Error)
        << bad;
  }
}

// Whichever rank is asked, and whenever, all leave together and can evaluate again.
TEST_F(EvaluatorTest, IsStoppedOnAllRanksWhereOneIsAskedTo) {
  make({});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  const std::string expected = evaluate(1, {}, z).to_json().dump();
  const Ownership ownership = make_ownership(*space_, 3);
  struct Case {
    int asked;  // rank
    int after;  // questions
    std::int64_t block_bytes = std::int64_t{512} << 20;
  };
  for (const auto& [asked, after, block_bytes] :
       {Case{0, 0}, {0, 1}, {2, 0}, {2, 2}, {0, 3, 500}, {2, 1, 500}}) {
    std::array<int, 3> stopped = {};
    run_ranks(3, [&, asked = asked, after = after, bytes = block_bytes](Communicator& ranks) {
      const int rank = ranks.rank();
      std::atomic<int> questions = 0;
      EvaluationOptions options;
      options.block_bytes = bytes;
      // Asked to once, and no more: that must do.
      options.is_asked_to_stop = [&] { return rank == asked && questions++ == after; };
      const Evaluator evaluator({*dataset_, *space_, ownership, rank}, options);
      const at::Tensor own = rows_of(ownership, rank, z, kDim);
      try {
        evaluator.evaluate(own, ranks);
      } catch (const Stopped&) {
        stopped[rank] = 1;
      }
      EXPECT_EQ(evaluator.evaluate(own, ranks).to_json().dump(), expected);
    });
    EXPECT_EQ(stopped, (std::array<int, 3>{1, 1, 1})) << asked << " " << after;
  }
}

TEST_F(EvaluatorTest, RefusesAPairOfTwoSplits) {
  make({});
  // The writer makes no such file, so a training pair is put into the place of a test pair.
  const std::string path = folder_ / "dataset.h5";
  dataset_.reset();  // HDF5 opens no file for writing that is open for reading.
  Hdf5File file = Hdf5File::open(path);
  std::vector<std::int32_t> users = file.read<std::int32_t>("/domains/domain0/test/user");
  std::vector<std::int32_t> items = file.read<std::int32_t>("/domains/domain0/test/item");
  const std::vector<std::int32_t> train_users =
      file.read<std::int32_t>("/domains/domain0/train/user");
  const std::vector<std::int32_t> train_items =
      file.read<std::int32_t>("/domains/domain0/train/item");
  users.front() = train_users.front();
  items.front() = train_items.front();
  file.close();
  {
    Hdf5Edit edit(path);
    edit.write_rows("/domains/domain0/test/user", {0, 1}, users.data());
    edit.write_rows("/domains/domain0/test/item", {0, 1}, items.data());
  }
  expect_error(Cause::data, {}, [&] {
    const DatasetFile damaged = DatasetFile::open(path);
    const Evaluator evaluator({damaged, *space_, make_ownership(*space_, 1), 0},
                              {.split = Split::test});
  });
}

TEST(Report, TableHasTheSameColumnsForAllDomains) {
  Report report;
  report.k = {20};
  const auto values = [](double recall, double ndcg) {
    return std::vector<double>{recall, ndcg, 0, 0, 0, 0};
  };
  report.domains = {{"food",
                     9000,
                     {{"all", 7144, 8689, values(0.14521, 0.06857)},
                      {"items_degree_4_7", 1303, 1341, values(0.0649, 0.029)},
                      {"overlapping_users.new_items", 3, 3, values(1, 1)}}},
                    {"kitchen", 70, {{"all", 0, 0, values(0, 0)}}}};
  EXPECT_EQ(report.to_table(),
            "food (test, 9,000 items ranked)\n"
            "  slice                 users  positives  recall@20   ndcg@20\n"
            "  all                   7,144      8,689     0.1452    0.0686\n"
            "  items_degree_4_7      1,303      1,341     0.0649    0.0290\n"
            "kitchen (test, 70 items ranked)\n"
            "  slice                 users  positives  recall@20   ndcg@20\n"
            "  all                       0          0          -         -\n"
            "mean of 1 domain: recall@20 0.1452 ndcg@20 0.0686\n");
  const nlohmann::json json = report.to_json();
  EXPECT_EQ(json["domains"]["food"]["slices"]["all"]["ndcg@20"], 0.06857);
  EXPECT_TRUE(json["domains"]["kitchen"]["slices"]["all"]["ndcg@20"].is_null()) << "of nobody";
}

TEST_F(EvaluatorTest, JsonIsAsDocumented) {
  make({});
  const std::vector<float> z = make_embeddings(space_->nodes(), kDim, false);
  Report report = evaluate(1, {.split = Split::test, .k = {10, 20}, .with_new_nodes = true}, z);
  report.checkpoint = "step-000000000007";
  const nlohmann::json json = nlohmann::json::parse(report.to_json().dump());
  EXPECT_EQ(json["split"], "test");
  EXPECT_EQ(json["checkpoint"], "step-000000000007");
  EXPECT_EQ(json["mean"]["ndcg@20"], report.mean(Metric::ndcg, 20));
  const nlohmann::json& all = json["domains"]["domain0"]["slices"]["all"];
  EXPECT_EQ(all["users"], report.domains[0].slices[0].users);
  EXPECT_EQ(all["recall@10"], report.value(report.domains[0].slices[0], Metric::recall, 10));
  EXPECT_EQ(all.size(), 2U + 2 * 6);
}

}  // namespace
}  // namespace micrec
