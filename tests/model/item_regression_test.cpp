// Item regression against plain loops in double, over the whole data set at once.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "base/parallel.h"
#include "cluster/thread_communicator.h"
#include "data/dataset_writer.h"
#include "data/training_graph.h"
#include "model/item_regression/item_regression_costs.h"
#include "model/item_regression/item_regression_fit.h"
#include "partition/planning/byte_plan.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using Matrix = std::vector<std::vector<double>>;

/// Coefficients of every target: source -> value, items numbered over all domains.
using Coefficients = std::vector<std::map<std::int32_t, float>>;

/// All that the formulas are made of, dense.
struct DenseData {
  std::vector<int> domain;  // of each item
  Matrix x;                 // [item][person] weighted
  Matrix f;                 // [item][column] features as ItemFeatures has them
  std::vector<Range> modalities;

  double dot(const std::vector<double>& a, const std::vector<double>& b) const {
    double sum = 0;
    for (std::size_t n = 0; n < a.size(); ++n) sum += a[n] * b[n];
    return sum;
  }
  /// An item that lacks a modality has zeros there.
  bool has(std::int32_t item, std::size_t modality) const {
    const Range columns = modalities[modality];
    return std::any_of(f[item].begin() + columns.begin, f[item].begin() + columns.end,
                       [](double value) { return value != 0; });
  }
};

DenseData dense_data(const DatasetFile& dataset) {
  DenseData data;
  std::vector<double> activity(dataset.people(), 0);
  std::vector<std::pair<int, int>> cells;
  int first = 0;
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    const std::vector<std::int32_t> person = dataset.person_of_user(d);
    const Interactions train = dataset.read(d, Split::train);
    for (std::size_t n = 0; n < train.user.size(); ++n) {
      ++activity[person[train.user[n]]];
      cells.emplace_back(first + train.item[n], person[train.user[n]]);
    }
    first += static_cast<int>(dataset.domains()[d].items);
    data.domain.resize(first, d);
  }
  double squares = 0;
  double active = 0;
  for (const double count : activity) {
    if (count == 0) continue;
    squares += 1 / std::sqrt(count);
    ++active;
  }
  data.x.assign(first, std::vector<double>(dataset.people(), 0));
  for (const auto& [item, person] : cells) {
    data.x[item][person] = std::sqrt(active / squares / std::sqrt(activity[person]));
  }
  return data;
}

std::vector<double> solve_densely(Matrix a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = a[i][k] / a[k][k];
      for (std::size_t j = k; j < n; ++j) a[i][j] -= factor * a[k][j];
      b[i] -= factor * b[k];
    }
  }
  for (std::size_t k = n; k-- > 0;) {
    for (std::size_t j = k + 1; j < n; ++j) b[k] -= a[k][j] * b[j];
    b[k] /= a[k][k];
  }
  return b;
}

/// The items with the largest scores, of equal ones the smaller numbers.
std::vector<std::int32_t> largest(std::vector<std::pair<double, std::int32_t>> scored,
                                  std::size_t most) {
  std::ranges::sort(scored, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (scored.size() > most) scored.resize(most);
  std::vector<std::int32_t> items;
  for (const auto& [score, item] : scored) items.push_back(item);
  return items;
}

Coefficients dense_coefficients(const DenseData& data,
                                const std::vector<ItemRegressionSettings>& of_domain) {
  const auto items = static_cast<std::int32_t>(data.x.size());
  Coefficients all(items);
  for (std::int32_t i = 0; i < items; ++i) {
    const ItemRegressionSettings& settings = of_domain[data.domain[i]];
    const auto cross = [&](std::int32_t j) {
      return data.domain[j] == data.domain[i] ? 1 : settings.cross;
    };
    std::vector<std::pair<double, std::int32_t>> by_people, by_features;
    for (std::int32_t j = 0; j < items; ++j) {
      if (j == i || cross(j) == 0) continue;
      const double length = data.dot(data.x[j], data.x[j]);
      const double together = data.dot(data.x[j], data.x[i]);
      if (together > 0) {
        by_people.emplace_back(
            cross(j) * together / std::sqrt(cross(j) * cross(j) * length + settings.lambda), j);
      }
      const double norm = std::sqrt(data.dot(data.f[j], data.f[j]));
      if (length > 0 && norm > 0 && data.dot(data.f[i], data.f[i]) > 0) {
        by_features.emplace_back(data.dot(data.f[j], data.f[i]) / norm, j);
      }
    }
    std::set<std::int32_t> chosen;
    const std::vector<std::int32_t> alike = largest(by_features, 30);
    for (const std::int32_t j : largest(by_people, 100 - alike.size())) chosen.insert(j);
    chosen.insert(alike.begin(), alike.end());
    const auto product = [&](std::int32_t a, std::int32_t b) {
      double sum = data.dot(data.x[a], data.x[b]);
      for (std::size_t m = 0; m < data.modalities.size(); ++m) {
        if (!data.has(i, m)) continue;
        for (std::int64_t c = data.modalities[m].begin; c < data.modalities[m].end; ++c) {
          sum += settings.alpha[m] * settings.alpha[m] * data.f[a][c] * data.f[b][c];
        }
      }
      return sum;
    };
    std::vector<std::int32_t> kept;
    for (const std::int32_t j : chosen) {
      if (product(j, i) > 0) kept.push_back(j);
    }
    Matrix a(kept.size(), std::vector<double>(kept.size()));
    std::vector<double> b(kept.size());
    for (std::size_t r = 0; r < kept.size(); ++r) {
      for (std::size_t c = 0; c < kept.size(); ++c) {
        a[r][c] = cross(kept[r]) * cross(kept[c]) * product(kept[r], kept[c]);
      }
      a[r][r] += 0.5 * a[r][r] + settings.lambda;
      b[r] = cross(kept[r]) * product(kept[r], i);
    }
    const std::vector<double> solution = solve_densely(a, b);
    for (std::size_t r = 0; r < kept.size(); ++r) {
      all[i][kept[r]] = static_cast<float>(solution[r]);
    }
  }
  return all;
}

/// What a fit on these ranks gives, put together, one for each settings of the tasks; and the
/// features that it took.
struct Fitted {
  std::vector<Coefficients> solutions;
  Matrix features;
  std::vector<Range> modalities;
};

Fitted fit(const DatasetFile& dataset, const std::vector<std::string>& modalities,
           const std::vector<ItemRegressionTask>& tasks, const ShardedSetting& setting,
           const HubRule& hubs = {}, NeighbourSearch search = NeighbourSearch::automatic) {
  Fitted fitted;
  std::mutex mutex;
  ModelConfig config;
  config.kind = ModelKind::mf;
  config.dim = 8;
  on_ranks(dataset, config, setting, [&](ModelRank& rank) {
    const ItemRegressionFit fit(rank.dataset, rank.shard, modalities, /*feature_dim=*/4, 3, hubs,
                                search);
    const std::vector<SparseRows> rows = fit.solve(tasks, [](double) {});
    const ItemFeatures features(rank.dataset, rank.shard, modalities, 4);
    const std::int64_t items = fit.histories().items();
    const std::lock_guard<std::mutex> lock(mutex);
    fitted.solutions.resize(rows.size(), Coefficients(items));
    const std::vector<std::int32_t>& own = fit.histories().own_items();
    for (std::size_t s = 0; s < rows.size(); ++s) {
      ASSERT_EQ(rows[s].rows(), static_cast<std::int64_t>(own.size()));
      for (std::size_t t = 0; t < own.size(); ++t) {
        for (std::int64_t n = rows[s].offsets[t]; n < rows[s].offsets[t + 1]; ++n) {
          if (n > rows[s].offsets[t]) {
            EXPECT_LT(rows[s].column[n - 1], rows[s].column[n]);
          }
          fitted.solutions[s][own[t]][rows[s].column[n]] = rows[s].value[n];
        }
      }
    }
    std::vector<float> values(items * features.width());
    features.read(0, items, values.data());
    fitted.features.assign(items, {});
    for (std::int64_t i = 0; i < items; ++i) {
      fitted.features[i].assign(values.begin() + i * features.width(),
                                values.begin() + (i + 1) * features.width());
    }
    fitted.modalities = features.columns();
  });
  return fitted;
}

class ItemRegressionTest : public testing::Test {
 protected:
  DatasetFile world(const SmallWorld& world) {
    return write_small_world(world, folder_ / "world.h5");
  }

  TemporaryFolder folder_;
};

void expect_near(const Coefficients& got, const Coefficients& expected) {
  ASSERT_EQ(got.size(), expected.size());
  std::int64_t coefficients = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(got[i].size(), expected[i].size()) << "target " << i;
    for (const auto& [source, value] : expected[i]) {
      ASSERT_TRUE(got[i].contains(source)) << i << " of " << source;
      EXPECT_NEAR(got[i].at(source), value, 1e-5) << i << " of " << source;
      ++coefficients;
    }
  }
  EXPECT_GT(coefficients, 100);
}

TEST_F(ItemRegressionTest, IsTheDenseSolutionOnItsNeighbourhood) {
  const DatasetFile dataset = world({.domains = 3, .users = 60, .items = 90});
  const std::vector<std::string> modalities = {"image", "text"};
  for (const double cross : {0.6, 0.0}) {
    const std::vector<ItemRegressionSettings> settings = {
        {3, cross, {1.5, 0.5}}, {0.7, cross, {0, 2}}, {20, cross, {1, 1}}};
    std::vector<ItemRegressionTask> tasks;
    for (const ItemRegressionSettings& of_domain : settings) {
      tasks.push_back({cross, of_domain.lambda, {of_domain}, 0});
    }
    const Fitted fitted = fit(dataset, modalities, tasks, {});
    DenseData data = dense_data(dataset);
    data.f = fitted.features;
    data.modalities = fitted.modalities;
    expect_near(fitted.solutions.front(), dense_coefficients(data, settings));
  }
}

TEST_F(ItemRegressionTest, TakesTheNeighboursThatGraphsFind) {
  const DatasetFile dataset = world({.domains = 2, .users = 60, .items = 90});
  const std::vector<std::string> modalities = {"image", "text"};
  const ItemRegressionTask task{0.6, 10, {{10, 0.6, {2, 1}}}, 0};
  const std::vector<ItemRegressionTask> tasks = {task, task};
  const Fitted exact = fit(dataset, modalities, tasks, {}, {}, NeighbourSearch::exact);
  const Fitted one = fit(dataset, modalities, tasks, {}, {}, NeighbourSearch::approximate);
  std::int64_t same = 0;
  std::int64_t all = 0;
  for (std::size_t i = 0; i < exact.solutions[0].size(); ++i) {
    for (const auto& [source, value] : exact.solutions[0][i]) {
      same += one.solutions[0][i].contains(source) ? 1 : 0;
      ++all;
    }
  }
  EXPECT_GE(static_cast<double>(same), 0.97 * static_cast<double>(all));
  for (const int ranks : {2, 3, 5}) {
    ShardedSetting setting;
    setting.ranks = ranks;
    const ComputeThreads threads(2);
    const Fitted some = fit(dataset, modalities, tasks, setting, {}, NeighbourSearch::approximate);
    EXPECT_EQ(some.solutions, one.solutions) << ranks << " ranks";
  }
}

// As item regression has no other use of features than in proportion to their spread.
TEST_F(ItemRegressionTest, FeaturesWithASpreadBelowNormalNumbersSayNothing) {
  const DatasetFile dataset = world({.domains = 1, .unit = 1e-40});
  const ItemRegressionTask task{0.6, 10, {{10, 0.6, {2, 1}}}, 0};
  const Fitted fitted = fit(dataset, {"image", "text"}, {task}, {});
  for (const auto& row : fitted.features) {
    for (const double value : row) EXPECT_LT(std::abs(value), 1e-30);
  }
  for (const auto& [source, value] : fitted.solutions.front().front()) {
    EXPECT_TRUE(std::isfinite(value)) << source;
  }
}

TEST_F(ItemRegressionTest, WithoutFeaturesItKnowsWhatPeopleDidAlone) {
  const DatasetFile dataset = world({.domains = 1, .users = 80, .items = 60});
  const ItemRegressionSettings settings{5, 0.6, {}};
  const Fitted fitted = fit(dataset, {}, {{0.6, 5, {settings}, 0}}, {});
  DenseData data = dense_data(dataset);
  data.f.assign(data.x.size(), {});
  expect_near(fitted.solutions.front(), dense_coefficients(data, {settings}));
}

TEST_F(ItemRegressionTest, HasTheSameBitsOnAnyRanksGridsAndThreads) {
  const DatasetFile dataset = world({.domains = 2, .users = 60, .items = 50});
  const std::vector<std::string> modalities = {"image", "text"};
  ItemRegressionTask task{0.6, 10, {}, 0};
  for (const double alpha : {0.0, 2.0}) task.settings.push_back({10, 0.6, {alpha, 1}});
  const std::vector<ItemRegressionTask> tasks = {task, task};
  const Fitted one = fit(dataset, modalities, tasks, {});
  EXPECT_NE(one.solutions[0], one.solutions[1]);
  for (const auto& [ranks, columns, threads] :
       {std::tuple{1, 1, 3}, {2, 1, 1}, {3, 1, 1}, {4, 1, 2}, {1, 2, 1}, {2, 2, 1}}) {
    ShardedSetting setting;
    setting.ranks = ranks;
    setting.columns = columns;
    const ComputeThreads scope(threads);
    const Fitted many = fit(dataset, modalities, tasks, setting);
    EXPECT_EQ(many.solutions, one.solutions) << ranks << " x " << columns;
    EXPECT_EQ(many.features, one.features);
  }
}

TEST_F(ItemRegressionTest, HubsChangeNoBitOnAnyRanks) {
  const DatasetFile dataset = world({.domains = 2, .users = 60, .items = 50});
  const ItemRegressionTask task{0.6, 10, {{10, 0.6, {2, 1}}}, 0};
  const std::vector<std::string> modalities = {"image", "text"};
  const Fitted none =
      fit(dataset, modalities, {task, task}, {}, {.more_people_than = 1000, .most = 100});
  // Who met a hub is known by its column, by what is told of people, or by either.
  constexpr double kNoLimit = 1e9;
  for (const HubRule& rule :
       {HubRule{0, 100, 1e6}, HubRule{8, 100, 1e6}, HubRule{0, 7, 1e6},
        HubRule{8, 100, 1e6, kNoLimit, 0}, HubRule{8, 100, 1e6, kNoLimit, 12}}) {
    for (const int ranks : {1, 2, 3, 4}) {
      ShardedSetting setting;
      setting.ranks = ranks;
      const Fitted some = fit(dataset, modalities, {task, task}, setting, rule);
      EXPECT_EQ(some.solutions, none.solutions)
          << rule.more_people_than << " " << rule.walked_up_to << " " << ranks;
    }
  }
}

TEST_F(ItemRegressionTest, HubsAreTheItemsOfMostPeopleWithTheProductsOfTheirColumns) {
  const DatasetFile dataset = world({.domains = 2, .users = 60, .items = 50});
  const DenseData data = dense_data(dataset);
  std::vector<std::pair<double, std::int32_t>> by_degree;
  for (std::size_t i = 0; i < data.x.size(); ++i) {
    const auto met = std::ranges::count_if(data.x[i], [](double value) { return value > 0; });
    by_degree.emplace_back(met, static_cast<std::int32_t>(i));
  }
  const std::vector<std::int32_t> expected = largest(by_degree, 9);
  ShardedSetting setting;
  setting.ranks = 3;
  ModelConfig config;
  config.kind = ModelKind::mf;
  config.dim = 8;
  on_ranks(dataset, config, setting, [&](ModelRank& rank) {
    const TrainingHistories histories(rank.shard, 3);
    const ItemHubs hubs(histories, {0, 9, 1e6}, *rank.shard.world);
    ASSERT_EQ(hubs.count(), 9);
    for (int a = 0; a < 9; ++a) {
      EXPECT_EQ(hubs.number_of(expected[a]), a);
      for (int b = 0; b < 9; ++b) {
        EXPECT_NEAR(hubs.product(a, b), data.dot(data.x[expected[a]], data.x[expected[b]]), 1e-3);
      }
    }
    for (std::int32_t person = 0; person < histories.people(); ++person) {
      std::vector<std::uint16_t> met;
      for (std::uint16_t a = 0; a < 9; ++a) {
        if (data.x[expected[a]][person] > 0) met.push_back(a);
      }
      const ItemHubs::Met told = hubs.met_at(hubs.place_of(person));
      EXPECT_EQ(std::vector<std::uint16_t>(told.hubs.begin(), told.hubs.end()), met) << person;
      EXPECT_EQ(told.squared_weight, histories.squared_weight()[person]);
    }
    const ItemHubs fewer(histories, {0, 9, 2.0 * 16 / 1000}, *rank.shard.world);
    EXPECT_LT(fewer.count(), 9);  // their table would take more than it may
  });
}

/// What a fit on this grid was planned to send, on each rank held against what it sent; of some
/// names that is a bound.
void expect_sent_as_planned(const DatasetFile& dataset, const std::vector<std::string>& modalities,
                            ProcessGrid grid, NeighbourSearch search, double cross) {
  const std::set<std::string> bounded = {"item_regression.columns", "item_regression.features",
                                         "item_regression.hub_products", "batch.plan",
                                         "neighbours.found"};
  const HubRule rule{.more_people_than = 6, .most = 20, .table_bytes = 1e6, .walked_up_to = 10};
  const ItemRegressionSettings settings{10, cross, std::vector<double>(modalities.size(), 1)};
  const ItemRegressionTask all{cross, 10, {settings}, 0};
  const ItemRegressionTask some{cross, 10, {settings, settings}, 30};
  const DatasetSummary summary = summarise(dataset);
  const Adjacency graph = read_training_graph(dataset, summary.space);
  const Layout layout = make_layout(summary.space, summary.people,
                                    assign_by_hash(summary.space, summary.people, grid.rows), grid);
  ItemRegressionShape shape{.space = summary.space,
                            .people = summary.people,
                            .graph = graph,
                            .whole = layout.whole,
                            .feature_width = {},
                            .has_features = {},
                            .search = search,
                            .solves = {{cross > 0, 2, 30}, {cross > 0, 1, 0}},
                            .seed = 3,
                            .hubs = rule};
  for (const std::string& name : modalities) {
    shape.feature_width.push_back(modality_width(dataset, name));
  }
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    for (std::int64_t item = 0; item < dataset.domains()[d].items; ++item) {
      const bool has_any = std::ranges::any_of(modalities, [&](const std::string& name) {
        return dataset.features_present(d, name)[item] != 0;
      });
      shape.has_features.push_back(has_any ? 1 : 0);
    }
  }
  const BytePlan plan = plan_bytes(costs_of_item_regression(shape));
  EXPECT_EQ(plan.collectives.empty(), grid.ranks() == 1);
  run_ranks(grid.ranks(), [&](Communicator& world) {
    const GridGroups groups = split_world(world, grid);
    const Shard shard = load_shard(dataset, summary, layout, Observed::training, groups);
    const LedgerEntries before = world.ledger().snapshot();
    const ItemRegressionFit fit(dataset, shard, modalities, ItemFeatures::kColumns, 3, rule,
                                search);
    fit.solve({some, some}, [](double) {});
    fit.count(fit.solve({all, all}, [](double) {}).front());
    std::map<std::string, double> sent;
    for (const auto& [name, entry] : since(before, world.ledger().snapshot())) {
      sent[name] = static_cast<double>(entry.bytes_sent);
    }
    for (const CollectiveBytes& planned : plan.collectives) {
      const std::string what = planned.name + " on " + to_text(grid);
      ASSERT_TRUE(sent.contains(planned.name)) << what;
      const double most = planned.bytes[world.rank()];
      if (bounded.contains(planned.name)) {
        EXPECT_GE(most, sent[planned.name]) << what;
      } else {
        EXPECT_EQ(most, sent[planned.name]) << what;
      }
      sent.erase(planned.name);
    }
    for (const auto& [name, bytes] : sent) EXPECT_EQ(bytes, 0) << name << " is not planned";
  });
}

TEST_F(ItemRegressionTest, SendsWhatIsPlanned) {
  const DatasetFile dataset = world({.domains = 2, .users = 80, .items = 60});
  const std::vector<std::string> both = {"image", "text"};
  for (const ProcessGrid grid : {ProcessGrid{1, 1}, {2, 1}, {3, 1}, {2, 2}, {6, 1}}) {
    expect_sent_as_planned(dataset, {}, grid, NeighbourSearch::automatic, 0.6);
    expect_sent_as_planned(dataset, both, grid, NeighbourSearch::automatic, 0.6);
    for (const double cross : {0.6, 0.0}) {
      expect_sent_as_planned(dataset, both, grid, NeighbourSearch::approximate, cross);
    }
  }
}

TEST_F(ItemRegressionTest, ColdItemsHaveTheirFeaturesAlone) {
  const DatasetFile dataset = world({.domains = 2, .users = 60, .items = 50});
  const ItemRegressionTask task{0.6, 10, {{10, 0.6, {1, 1}}}, 0};
  const Fitted fitted = fit(dataset, {"image", "text"}, {task, task}, {});
  std::int64_t first = 0;
  std::int64_t cold = 0;
  for (int d = 0; d < 2; ++d) {
    const std::vector<std::uint8_t> is_cold = dataset.cold_items(d);
    for (std::size_t i = 0; i < is_cold.size(); ++i) {
      const auto target = first + static_cast<std::int64_t>(i);
      const auto& features = fitted.features[target];
      const bool has_features =
          std::ranges::any_of(features, [](double value) { return value != 0; });
      if (!is_cold[i] || !has_features) continue;
      ++cold;
      EXPECT_FALSE(fitted.solutions[0][target].empty());
    }
    first += static_cast<std::int64_t>(is_cold.size());
  }
  EXPECT_GT(cold, 0);
  // Nobody met a cold item, so it is no neighbour of another.
  for (const auto& of_target : fitted.solutions[0]) {
    for (const auto& [source, value] : of_target) {
      EXPECT_GT(value, -10);
      const int d = source < dataset.domains()[0].items ? 0 : 1;
      const auto number = source - (d == 0 ? 0 : dataset.domains()[0].items);
      EXPECT_EQ(dataset.cold_items(d)[number], 0);
    }
  }
}

TEST_F(ItemRegressionTest, ASampleOfItemsHasTheSolutionsThatAllHave) {
  const DatasetFile dataset = world({.domains = 1, .users = 60, .items = 50});
  const ItemRegressionTask all{0.6, 10, {{10, 0.6, {1, 1}}}, 0};
  ItemRegressionTask some = all;
  some.most_items = 20;
  const Fitted whole = fit(dataset, {"image", "text"}, {all}, {});
  ShardedSetting two;
  two.ranks = 2;
  const Fitted part = fit(dataset, {"image", "text"}, {some}, two);
  std::int64_t solved = 0;
  for (std::size_t i = 0; i < whole.solutions[0].size(); ++i) {
    if (part.solutions[0][i].empty()) continue;
    ++solved;
    EXPECT_EQ(part.solutions[0][i], whole.solutions[0][i]);
  }
  EXPECT_GT(solved, 5);
  EXPECT_LT(solved, 40);
}

}  // namespace
}  // namespace micrec
