#include "data/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"
#include "tests/support/on_threads.h"

namespace micrec {
namespace {

SyntheticOptions small_options() {
  SyntheticOptions options;
  options.users = 300;
  options.items = 200;
  options.interactions = 6000;
  return options;
}

PreparedDataset make(const SyntheticWorld& world, int domains) {
  std::vector<RawDomain> raw;
  for (int d = 0; d < domains; ++d) raw.push_back(world.domain(d));
  return prepare_quietly(std::move(raw), {},
                         [&](const PreparedDomain& domain) { return world.features(domain); });
}

TEST(Synthetic, HasExactlyTheInteractionsAskedForAndNoneTwice) {
  for (const int domains : {1, 2, 5}) {
    SyntheticOptions options = small_options();
    options.domains = domains;
    const SyntheticWorld world(options);
    const PreparedDataset dataset = make(world, domains);
    for (const PreparedDomain& domain : dataset.domains) {
      EXPECT_EQ(domain.interactions(), options.interactions);
      EXPECT_EQ(domain.users(), options.users);
      std::vector<int> degree(domain.users(), 0);
      for (const std::int32_t user : domain.user) ++degree[user];
      EXPECT_GE(*std::min_element(degree.begin(), degree.end()), 3);
      EXPECT_GT(*std::max_element(degree.begin(), degree.end()), 60);
    }
  }
}

TEST(Synthetic, ServesTheSmallestAndTheFullestWorlds) {
  SyntheticOptions options;
  options.users = 1;
  options.items = 2;
  options.interactions = 1;
  EXPECT_EQ(SyntheticWorld(options).domain(0).user.size(), 1U);
  options.users = 20;
  options.items = 30;
  options.interactions = 20 * 15;  // half of the items for everyone
  const RawDomain full = SyntheticWorld(options).domain(1);
  std::set<std::pair<int, int>> pairs;
  for (std::size_t i = 0; i < full.user.size(); ++i) pairs.emplace(full.user[i], full.item[i]);
  EXPECT_EQ(pairs.size(), 300U);
}

TEST(Synthetic, IsAFunctionOfItsOptionsAndNotOfThreads) {
  SyntheticOptions options = small_options();
  const SyntheticWorld one(options);
  options.seed = 1;
  const SyntheticWorld other(options);
  const RawDomain expected = one.domain(1);
  const RawDomain by_many = on_threads(3, [&] { return one.domain(1); });
  EXPECT_EQ(by_many.item, expected.item);
  EXPECT_EQ(by_many.timestamp, expected.timestamp);
  EXPECT_NE(one.domain(1).item, other.domain(1).item);
  EXPECT_NE(one.domain(0).item, one.domain(1).item);
  const PreparedDataset a = make(one, 2);
  std::vector<float> values_a(48 * 200);
  std::vector<float> values_b(48 * 200);
  a.domains[0].features[0].read(0, 200, values_a.data());
  on_threads(3, [&] { a.domains[0].features[0].read(0, 200, values_b.data()); });
  EXPECT_EQ(values_a, values_b);
}

TEST(Synthetic, SharesAsManyPeopleAsAskedFor) {
  for (const double overlap : {0.0, 0.3, 1.0}) {
    SyntheticOptions options = small_options();
    options.overlap = overlap;
    options.domains = 3;
    const SyntheticWorld world(options);
    const PreparedDataset dataset = make(world, 3);
    const auto shared = static_cast<std::int64_t>(std::llround(overlap * 300));
    EXPECT_EQ(dataset.people(), shared + 3 * (300 - shared));
  }
}

TEST(Synthetic, FeaturesLackTheShareAskedForAndAreZeroThere) {
  SyntheticOptions options = small_options();
  options.items = 1000;
  options.interactions = 20'000;
  const SyntheticWorld world(options);
  const PreparedDataset dataset = make(world, 2);
  for (const PreparedDomain& domain : dataset.domains) {
    ASSERT_EQ(domain.features.size(), 2U);
    EXPECT_EQ(domain.features[0].modality, "image");
    EXPECT_EQ(domain.features[0].width, 48);
    EXPECT_EQ(domain.features[1].modality, "text");
    for (const FeatureTable& table : domain.features) {
      const auto present = std::count(table.present.begin(), table.present.end(), 1);
      EXPECT_NEAR(static_cast<double>(present) / static_cast<double>(domain.items()), 0.7, 0.06);
      std::vector<float> values(domain.items() * table.width);
      table.read(0, domain.items(), values.data());
      for (std::int64_t item = 0; item < domain.items(); ++item) {
        const float* row = values.data() + item * table.width;
        const bool zero = std::all_of(row, row + table.width, [](float v) { return v == 0; });
        EXPECT_EQ(zero, table.present[item] == 0);
        EXPECT_TRUE(std::all_of(row, row + table.width, [](float v) { return std::isfinite(v); }));
      }
    }
  }
}

/// Mean cosine of the features of two items of the same user, less that of two items of different
/// users.
TEST(Synthetic, FeaturesTellWhatAUserLikes) {
  SyntheticOptions options = small_options();
  options.missing = 0;
  const SyntheticWorld world(options);
  const PreparedDataset dataset = make(world, 2);
  for (const PreparedDomain& domain : dataset.domains) {
    const FeatureTable& table = domain.features[0];
    std::vector<float> values(domain.items() * table.width);
    table.read(0, domain.items(), values.data());
    const auto cosine = [&](std::int64_t a, std::int64_t b) {
      double ab = 0;
      double aa = 0;
      double bb = 0;
      for (std::int64_t c = 0; c < table.width; ++c) {
        const double x = values[a * table.width + c];
        const double y = values[b * table.width + c];
        ab += x * y;
        aa += x * x;
        bb += y * y;
      }
      return ab / std::sqrt(aa * bb);
    };
    double same = 0;
    double different = 0;
    int pairs = 0;
    for (std::int64_t i = 0; i + 1 < domain.interactions(); ++i) {
      if (domain.user[i] != domain.user[i + 1]) continue;
      const std::int64_t far = (i + domain.interactions() / 2) % domain.interactions();
      same += cosine(domain.item[i], domain.item[i + 1]);
      different += cosine(domain.item[i], domain.item[far]);
      ++pairs;
    }
    EXPECT_GT(same / pairs, different / pairs + 0.1);
  }
}

/// Scores an item by how often its buyers bought what the user did; it must find hidden items far
/// better than popularity.
TEST(Synthetic, InteractionsCanBeLearnt) {
  const SyntheticWorld world(small_options());
  const PreparedDataset dataset = make(world, 2);
  const PreparedDomain& domain = dataset.domains[0];
  const std::int64_t items = domain.items();
  std::vector<std::vector<int>> history(domain.users());
  std::vector<double> popularity(items, 0);
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    if (domain.split[i] != Split::train) continue;
    history[domain.user[i]].push_back(domain.item[i]);
    popularity[domain.item[i]] += 1;
  }
  std::vector<double> together(items * items, 0);
  for (const auto& owned : history) {
    for (const int a : owned) {
      for (const int b : owned) together[a * items + b] += 1;
    }
  }
  int hits = 0;
  int popular_hits = 0;
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    if (domain.split[i] != Split::test) continue;
    const auto& owned = history[domain.user[i]];
    const auto score = [&](std::int64_t item) {
      double sum = 0;
      for (const int a : owned) {
        sum += together[a * items + item] / std::sqrt(1 + popularity[a] * popularity[item]);
      }
      return sum;
    };
    const auto in_first_20 = [&](const std::function<double(std::int64_t)>& rank) {
      const double mine = rank(domain.item[i]);
      int before = 0;
      for (std::int64_t item = 0; item < items; ++item) {
        if (std::find(owned.begin(), owned.end(), item) != owned.end()) continue;
        if (rank(item) > mine) ++before;
      }
      return before < 20;
    };
    hits += in_first_20(score) ? 1 : 0;
    popular_hits += in_first_20([&](std::int64_t item) { return popularity[item]; }) ? 1 : 0;
  }
  EXPECT_GT(hits, 1.3 * popular_hits) << hits << " against " << popular_hits << " by popularity";
}

TEST(Synthetic, SharedPeopleHaveSimilarTastesInTheirDomains) {
  SyntheticOptions options = small_options();
  options.overlap = 1;
  options.missing = 0;
  const SyntheticWorld world(options);
  const PreparedDataset dataset = make(world, 2);
  // A user's profile in each domain: the mean of the features of their items; one projection serves
  // all domains.
  std::vector<std::vector<double>> profile[2];
  for (int d = 0; d < 2; ++d) {
    const PreparedDomain& domain = dataset.domains[d];
    const FeatureTable& table = domain.features[0];
    std::vector<float> values(domain.items() * table.width);
    table.read(0, domain.items(), values.data());
    std::vector<double> mean(table.width, 0);
    for (std::int64_t i = 0; i < domain.items() * table.width; ++i) {
      mean[i % table.width] += values[i] / static_cast<double>(domain.items());
    }
    profile[d].assign(dataset.people(), std::vector<double>(table.width, 0));
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      auto& own = profile[d][dataset.person_of_user[d][domain.user[i]]];
      for (std::int64_t c = 0; c < table.width; ++c) {
        own[c] += values[domain.item[i] * table.width + c] - mean[c];
      }
    }
  }
  const auto cosine = [](const std::vector<double>& a, const std::vector<double>& b) {
    double ab = 0;
    double aa = 0;
    double bb = 0;
    for (std::size_t c = 0; c < a.size(); ++c) {
      ab += a[c] * b[c];
      aa += a[c] * a[c];
      bb += b[c] * b[c];
    }
    return ab / std::sqrt(aa * bb + 1e-12);
  };
  double same = 0;
  double different = 0;
  for (std::int64_t person = 0; person < dataset.people(); ++person) {
    same += cosine(profile[0][person], profile[1][person]);
    different += cosine(profile[0][person], profile[1][(person + 1) % dataset.people()]);
  }
  EXPECT_GT(same / static_cast<double>(dataset.people()),
            different / static_cast<double>(dataset.people()) + 0.2);
}

TEST(Synthetic, RefusesSizesThatDoNotFit) {
  const auto refuse = [](const std::function<void(SyntheticOptions&)>& change) {
    SyntheticOptions options = small_options();
    change(options);
    expect_error(Cause::usage, {"expected"}, [&] { SyntheticWorld world(options); });
  };
  refuse([](SyntheticOptions& o) { o.domains = 0; });
  refuse([](SyntheticOptions& o) { o.users = 0; });
  refuse([](SyntheticOptions& o) { o.items = 1; });
  refuse([](SyntheticOptions& o) { o.interactions = 299; });
  refuse([](SyntheticOptions& o) { o.interactions = 300 * 100 + 1; });
  refuse([](SyntheticOptions& o) { o.overlap = 1.5; });
  refuse([](SyntheticOptions& o) { o.missing = -0.1; });
  refuse([](SyntheticOptions& o) { o.modalities = {{"text", 0}}; });
}

}  // namespace
}  // namespace micrec
