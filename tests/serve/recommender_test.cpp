#include "serve/recommender.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "serve/explanation.h"
#include "serve/list_writer.h"
#include "serve/similar_items.h"
#include "tests/evaluate/small_world.h"
#include "tests/support/dense_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

constexpr std::int64_t kEpoch = 5;

using Items = std::vector<std::int32_t>;

ModelConfig one_layer(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.dim = 8;
  config.layers = 1;  // up to which a copy of a user has the user's row bit for bit
  config.semantic_neighbors = 3;
  config.modalities = {"image", "text"};
  return config;
}

struct ListOf {
  std::string user;
  Basis basis = Basis::popular;
  std::vector<ScoredItem> items;

  Items numbers() const {
    Items numbers;
    for (const ScoredItem& item : items) numbers.push_back(item.item);
    return numbers;
  }
};

std::vector<ListOf> lists_of(const Recommender& recommender, int domain,
                             const std::vector<std::string>& keys, const ListOptions& options) {
  std::vector<ListOf> lists;
  recommender.recommend(domain, keys, options, [&](const Recommendation& list) {
    lists.push_back({std::string(list.user), list.basis, {list.items.begin(), list.items.end()}});
  });
  return lists;
}

double score_of(const Explanation& explanation) {
  double sum = explanation.no_item;
  for (const ItemShare& item : explanation.items) sum += item.share;
  return sum;
}

class RecommenderTest : public testing::Test {
 protected:
  void make(const SmallWorld& world) {
    dataset_.emplace(write_small_world(world, folder_ / "world.h5"));
    dense_.emplace(read_dense_world(*dataset_));
  }

  /// Calls `body` with a model on all that was observed, at parameters that are not the initial
  /// ones, or all of them zero.
  void with_model(const ModelConfig& config, const std::function<void(Model&)>& body,
                  bool zero = false) {
    const int domains = static_cast<int>(dataset_->domains().size());
    WholeTensors parameters = make_parameters(DenseModel(resolve(config, domains), *dense_, 3), 8);
    for (auto& [name, value] : parameters) value = zero ? at::zeros_like(value) : value;
    WholeTensors buffers;
    on_ranks(*dataset_, config, {}, [&](ModelRank& rank) { buffers = gather_buffers(rank); });
    ShardedSetting setting;
    setting.observed = Observed::all;
    setting.initialise = false;
    on_ranks(*dataset_, config, setting, [&](ModelRank& rank) {
      fill_parameters(rank.model, parameters);
      fill_buffers(rank.model, buffers);
      rank.model.refresh();
      body(rank.model);
    });
  }

  /// What a user has interacted with in the given splits, rising.
  Items items_of(int domain, std::int32_t user, const std::vector<Split>& splits) const {
    Items items;
    for (const Split split : splits) {
      const Interactions all = dataset_->read(domain, split);
      for (std::size_t n = 0; n < all.user.size(); ++n) {
        if (all.user[n] == user) items.push_back(all.item[n]);
      }
    }
    std::ranges::sort(items);
    return items;
  }

  at::Tensor row_of_user(const at::Tensor& z, int domain, std::int64_t user) const {
    return z[value(dense_->space.user(domain, user))];
  }

  /// The number of a user who is in this domain and not in the other, or in both.
  std::int32_t user_of(int domain, int other, bool in_both) const {
    const std::vector<std::string> others = dataset_->user_keys(other);
    const std::vector<std::string> keys = dataset_->user_keys(domain);
    for (std::size_t u = 0; u < keys.size(); ++u) {
      const bool is_there = std::ranges::find(others, keys[u]) != others.end();
      const auto user = static_cast<std::int32_t>(u);
      if (is_there == in_both && !items_of(domain, user, {Split::train}).empty()) return user;
    }
    ADD_FAILURE() << "no such user";
    return 0;
  }

  /// Coefficients of all items, half of them of items of the other domain.
  SparseRows make_coefficients() const {
    const Random random(5, Purpose::synthetic);
    const std::int64_t items = dense_->space.nodes() - dense_->space.users();
    SparseRows rows;
    for (std::int64_t target = 0; target < items; ++target) {
      for (std::int64_t source = 0; source < items; ++source) {
        const std::uint64_t id = target * items + source;
        if (source == target || random.index(2, id) > 0) continue;
        rows.column.push_back(static_cast<std::int32_t>(source));
        rows.value.push_back(static_cast<float>(random.normal(id, 1)[0]));
      }
      rows.offsets.push_back(static_cast<std::int64_t>(rows.column.size()));
    }
    return rows;
  }

  /// What somebody did in all domains of the data set, numbered over all of them, rising.
  Items history_of(const std::string& key) const {
    Items history;
    for (int domain = 0; domain < static_cast<int>(dataset_->domains().size()); ++domain) {
      const std::vector<std::string> keys = dataset_->user_keys(domain);
      const auto user = std::ranges::find(keys, key);
      if (user == keys.end()) continue;
      const std::int64_t first = dense_->space.items_of(domain).begin - dense_->space.users();
      for (const std::int32_t item :
           items_of(domain, static_cast<std::int32_t>(user - keys.begin()),
                    {Split::train, Split::later})) {
        history.push_back(static_cast<std::int32_t>(first + item));
      }
    }
    return history;
  }

  /// What each item of history_of() counts, by the times of the data set.
  std::map<std::int32_t, double> weights_of(const std::string& key, double half_life) const {
    std::map<std::int32_t, double> weights;
    for (int domain = 0; domain < static_cast<int>(dataset_->domains().size()); ++domain) {
      const std::vector<std::string> keys = dataset_->user_keys(domain);
      const auto user = std::ranges::find(keys, key) - keys.begin();
      Items items;
      std::vector<std::int64_t> times;
      for (const Split split : {Split::train, Split::later}) {
        const Interactions all = dataset_->read(domain, split);
        const std::vector<std::int64_t> when = dataset_->timestamps(domain, split);
        for (std::size_t n = 0; n < all.user.size(); ++n) {
          if (all.user[n] != user) continue;
          items.push_back(all.item[n]);
          times.push_back(when[n]);
        }
      }
      const auto first =
          static_cast<std::int32_t>(dense_->space.items_of(domain).begin - dense_->space.users());
      for (std::size_t n = 0; n < items.size(); ++n) {
        const auto newer = std::ranges::count_if(times, [&](auto time) { return time > times[n]; });
        weights[first + items[n]] = std::exp2(-static_cast<double>(newer) / half_life);
      }
    }
    return weights;
  }

  TemporaryFolder folder_;
  std::optional<DatasetFile> dataset_;
  std::optional<DenseWorld> dense_;
};

TEST_F(RecommenderTest, ANewPersonWithAUsersHistoryHasTheUsersRow) {
  make({});
  for (const ModelKind kind : {ModelKind::inmo, ModelKind::micrec}) {
    with_model(one_layer(kind), [&](Model& model) {
      const at::Tensor z = model.embeddings(kEpoch);
      for (const int domain : {0, 1}) {
        Recommender recommender(*dataset_, model, kEpoch);
        History history;
        std::vector<std::int32_t> users;
        std::vector<std::string> keys;
        for (std::int32_t user = 0; user < dataset_->domains()[domain].users; ++user) {
          const Items items = items_of(domain, user, {Split::train, Split::later});
          if (items.empty()) continue;
          users.push_back(user);
          keys.push_back("new" + std::to_string(user));
          history.users.add(keys.back());
          history.met.push_back({items});
        }
        ASSERT_GT(users.size(), 15U);
        recommender.set_history(domain, std::move(history));
        const PeopleRows rows = recommender.rows_for(domain, recommender.people_of(keys));
        for (std::size_t n = 0; n < users.size(); ++n) {
          EXPECT_EQ(rows.basis[n], Basis::history);
          EXPECT_TRUE(
              at::equal(rows.z[static_cast<std::int64_t>(n)], row_of_user(z, domain, users[n])))
              << name_of(kind) << ", domain " << domain << ", user " << users[n];
        }
      }
    });
  }
}

TEST_F(RecommenderTest, AUserHasTheirOwnRowUnlessTheyHaveAHistory) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const at::Tensor z = model.embeddings(kEpoch);
    Recommender recommender(*dataset_, model, kEpoch);
    const std::vector<std::string> keys = dataset_->user_keys(1);
    const PeopleRows own = recommender.rows_for(1, recommender.people_of(keys));
    const Range nodes = dense_->space.users_of(1);
    EXPECT_TRUE(at::equal(own.z, z.slice(0, nodes.begin, nodes.end)));
    EXPECT_EQ(own.basis, std::vector<Basis>(keys.size(), Basis::dataset));

    History history;
    history.users.add(keys[4]);
    history.met = {MetItems{{2, 5}}};
    recommender.set_history(1, std::move(history));
    const PeopleRows served = recommender.rows_for(1, recommender.people_of(keys));
    EXPECT_EQ(served.basis[4], Basis::history);
    EXPECT_TRUE(at::equal(served.z[4], new_user_embeddings(model, 1, {{2, 5}}, kEpoch)[0]));
    EXPECT_FALSE(at::equal(served.z[4], own.z[4]));
    EXPECT_TRUE(at::equal(served.z[5], own.z[5]));
  });
}

TEST_F(RecommenderTest, AListHasTheBestItemsThatThePersonHasNotSeen) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    constexpr std::int64_t kLength = 4;
    const at::Tensor z = model.embeddings(kEpoch);
    const Recommender recommender(*dataset_, model, kEpoch);
    const Range nodes = dense_->space.items_of(0);
    const at::Tensor scores = at::mm(z, z.slice(0, nodes.begin, nodes.end).t());
    for (const Exclude exclude : {Exclude::observed, Exclude::all}) {
      std::vector<Split> seen_in = {Split::train, Split::later};
      if (exclude == Exclude::all) seen_in.insert(seen_in.end(), {Split::valid, Split::test});
      const std::vector<ListOf> lists =
          lists_of(recommender, 0, dataset_->user_keys(0), {.k = kLength, .exclude = exclude});
      ASSERT_EQ(static_cast<std::int64_t>(lists.size()), dataset_->domains()[0].users);
      for (std::int32_t user = 0; user < static_cast<std::int32_t>(lists.size()); ++user) {
        const Items seen = items_of(0, user, seen_in);
        const at::Tensor of_user = row_of_user(scores, 0, user);
        const ListOf& list = lists[user];
        EXPECT_EQ(list.user, dataset_->user_keys(0)[user]);
        ASSERT_EQ(list.items.size(), std::min<std::size_t>(kLength, nodes.size() - seen.size()));
        const Items listed = list.numbers();
        float last = list.items.front().score;
        for (const ScoredItem& item : list.items) {
          EXPECT_FALSE(std::ranges::binary_search(seen, item.item)) << "user " << user;
          EXPECT_NEAR(item.score, of_user[item.item].item<float>(), 1e-5);
          EXPECT_LE(item.score, last);
          last = item.score;
        }
        for (std::int32_t item = 0; item < nodes.size(); ++item) {
          if (std::ranges::binary_search(seen, item)) continue;
          if (std::ranges::find(listed, item) != listed.end()) continue;
          EXPECT_LE(of_user[item].item<float>(), last + 1e-5)
              << "user " << user << " item " << item;
        }
      }
    }
  });
}

TEST_F(RecommenderTest, AListOfANewPersonLeavesOutTheirHistoryAlone) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    Recommender recommender(*dataset_, model, kEpoch);
    const std::string known = dataset_->user_keys(0)[0];
    History history;
    history.users.add("somebody new");
    history.users.add(known);
    history.met = {MetItems{{1, 3, 8}}, MetItems{{4}}};
    recommender.set_history(0, std::move(history));
    const std::int64_t all = dataset_->domains()[0].items;
    const std::vector<ListOf> lists = lists_of(recommender, 0, {"somebody new", known}, {.k = all});
    Items of_new = lists[0].numbers();
    std::ranges::sort(of_new);
    EXPECT_EQ(static_cast<std::int64_t>(of_new.size()), all - 3);
    for (const std::int32_t item : {1, 3, 8}) {
      EXPECT_FALSE(std::ranges::binary_search(of_new, item));
    }
    EXPECT_EQ(static_cast<std::int64_t>(lists[1].items.size()), all - 1)
        << "who has a history is served from it alone";
  });
}

// With nothing but zeros all scores are equal.
TEST_F(RecommenderTest, TiesGoToTheSmallerNumber) {
  make({});
  with_model(
      one_layer(ModelKind::mf),
      [&](Model& model) {
        const Recommender recommender(*dataset_, model, kEpoch);
        const std::vector<ListOf> lists =
            lists_of(recommender, 1, dataset_->user_keys(1), {.k = 6});
        for (std::int32_t user = 0; user < static_cast<std::int32_t>(lists.size()); ++user) {
          const Items seen = items_of(1, user, {Split::train, Split::later});
          Items expected;
          for (std::int32_t item = 0; expected.size() < 6; ++item) {
            if (!std::ranges::binary_search(seen, item)) expected.push_back(item);
          }
          EXPECT_EQ(lists[user].numbers(), expected) << "user " << user;
        }
      },
      /*zero=*/true);
}

TEST_F(RecommenderTest, StrangersGetTheItemsWithTheMostTrainingInteractions) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const Recommender recommender(*dataset_, model, kEpoch);
    const std::int64_t items = dataset_->domains()[1].items;
    std::vector<std::int32_t> count(items, 0);
    for (const std::int32_t item : dataset_->read(1, Split::train).item) ++count[item];
    ASSERT_LT(std::set(count.begin(), count.end()).size(), count.size()) << "no ties to test";
    for (const std::int64_t k : {std::int64_t{7}, items + 5}) {
      const ListOf list = lists_of(recommender, 1, {"nobody at all"}, {.k = k}).at(0);
      EXPECT_EQ(list.basis, Basis::popular);
      ASSERT_EQ(static_cast<std::int64_t>(list.items.size()), std::min(k, items));
      for (std::size_t n = 0; n < list.items.size(); ++n) {
        EXPECT_EQ(list.items[n].score, static_cast<float>(count[list.items[n].item]));
        if (n == 0) continue;
        const ScoredItem& before = list.items[n - 1];
        EXPECT_TRUE(before.score > list.items[n].score ||
                    (before.score == list.items[n].score && before.item < list.items[n].item));
      }
      EXPECT_GE(list.items.back().score, k >= items ? 0 : 1);
    }
  });
}

TEST_F(RecommenderTest, WhoIsKnownInAnotherDomainIsMappedFromThere) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const at::Tensor z = model.embeddings(kEpoch);
    const std::int32_t user = user_of(0, 1, /*in_both=*/false);
    const std::vector<std::string> key = {dataset_->user_keys(0)[user]};
    const Recommender unmapped(*dataset_, model, kEpoch);
    EXPECT_EQ(unmapped.rows_for(1, unmapped.people_of(key)).basis[0], Basis::popular)
        << "there is no map yet";

    model.fit_ridge(z);
    Recommender recommender(*dataset_, model, kEpoch);
    const at::Tensor own = row_of_user(z, 0, user).unsqueeze(0);
    PeopleRows rows = recommender.rows_for(1, recommender.people_of(key));
    EXPECT_EQ(rows.basis[0], Basis::other_domain);
    EXPECT_TRUE(at::equal(rows.z, model.map_to_domain(own, 0, 1).value()));
    EXPECT_EQ(lists_of(recommender, 1, key, {.k = 1000}).at(0).items.size(),
              static_cast<std::size_t>(dataset_->domains()[1].items));

    // So is a new person with a history there.
    History history;
    history.users.add("somebody new");
    history.met = {MetItems{{0, 6}}};
    recommender.set_history(0, std::move(history));
    rows = recommender.rows_for(
        1, recommender.people_of(std::vector<std::string>{"somebody new", "nobody at all"}));
    EXPECT_EQ(rows.basis, (std::vector<Basis>{Basis::other_domain, Basis::popular}));
    const at::Tensor there = new_user_embeddings(model, 0, {{0, 6}}, kEpoch);
    EXPECT_TRUE(at::equal(rows.z[0], model.map_to_domain(there, 0, 1).value()[0]));
    EXPECT_EQ(rows.z[1].abs().sum().item<float>(), 0);
  });
}

TEST_F(RecommenderTest, SeveralOtherDomainsAreAveraged) {
  make({.domains = 3});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const at::Tensor z = model.embeddings(kEpoch);
    model.fit_ridge(z);
    const Recommender recommender(*dataset_, model, kEpoch);
    bool any = false;
    for (const std::string& key : dataset_->user_keys(0)) {
      const std::int32_t in[] = {recommender.users(0).find(key), recommender.users(1).find(key)};
      if (in[1] < 0 || recommender.users(2).find(key) >= 0) continue;
      const PeopleRows rows =
          recommender.rows_for(2, recommender.people_of(std::vector<std::string>{key}));
      EXPECT_EQ(rows.basis[0], Basis::other_domain);
      at::Tensor sum = at::zeros({1, z.size(1)});
      for (const int from : {0, 1}) {
        const at::Tensor own = row_of_user(z, from, in[from]).unsqueeze(0);
        sum += model.map_to_domain(own, from, 2).value();
      }
      EXPECT_TRUE(at::allclose(rows.z, sum / 2, 1e-6, 1e-7)) << key;
      any = true;
    }
    EXPECT_TRUE(any);
  });
}

// --- With item regression ---

TEST_F(RecommenderTest, AListIsByTheMixOfBothTermsOverWhatAPersonDidInAllDomains) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    constexpr std::int64_t kLength = 6;
    const at::Tensor z = model.embeddings(kEpoch);
    const SparseRows coefficients = make_coefficients();
    const std::vector<ScoreMix> mixes = {{.embeddings = true, .regression = 0.5F},
                                         {.embeddings = false, .regression = 1}};
    const Recommender recommender(*dataset_, model, kEpoch, &coefficients, mixes);
    for (const int domain : {0, 1}) {
      const Range nodes = dense_->space.items_of(domain);
      const at::Tensor products = at::mm(z, z.slice(0, nodes.begin, nodes.end).t());
      const std::vector<std::string> keys = dataset_->user_keys(domain);
      const std::vector<ListOf> lists = lists_of(recommender, domain, keys, {.k = kLength});
      int by_mix = 0;
      for (std::int32_t user = 0; user < static_cast<std::int32_t>(keys.size()); ++user) {
        if (lists[user].basis != Basis::dataset) continue;
        ++by_mix;
        const Items history = history_of(keys[user]);
        const at::Tensor product = row_of_user(products, domain, user);
        const Items seen = items_of(domain, user, {Split::train, Split::later});
        std::vector<std::pair<double, std::int32_t>> expected;  // (-score, item)
        for (std::int32_t item = 0; item < nodes.size(); ++item) {
          if (std::ranges::binary_search(seen, item)) continue;
          const double sum =
              plain_sum(coefficients, nodes.begin - dense_->space.users() + item, history);
          const double score = domain == 0 ? product[item].item<double>() + 0.5 * sum : sum;
          expected.emplace_back(-score, item);
        }
        std::ranges::sort(expected);
        ASSERT_EQ(lists[user].items.size(), std::min<std::size_t>(kLength, expected.size()));
        for (std::size_t n = 0; n < lists[user].items.size(); ++n) {
          EXPECT_NEAR(lists[user].items[n].score, -expected[n].first, 1e-4) << keys[user];
        }
      }
      EXPECT_GT(by_mix, 10);
    }
  });
}

TEST_F(RecommenderTest, WithRecencyTheLatestOfAPersonsInteractionsCountMost) {
  make({.times = true});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const SparseRows coefficients = make_coefficients();
    const ScoreMix alone = {.embeddings = false, .regression = 1};
    const std::vector<double> half_life = {0.5, 3};
    Recommender recommender(*dataset_, model, kEpoch, &coefficients, {alone, alone}, half_life);
    History history;
    history.users.add("somebody new");
    history.met = {met_items(Items{8, 1, 3, 1}, std::vector<std::int64_t>{70, 90, 90, 80})};
    EXPECT_EQ(history.met[0].items, (Items{1, 3, 8}));
    EXPECT_EQ(history.met[0].newer, (Items{1, 0, 2})) << "a repeated item has its earliest time";
    recommender.set_history(0, std::move(history));

    std::vector<std::string> keys = dataset_->user_keys(0);
    keys.emplace_back("somebody new");
    const Explainer explainer(recommender, {});
    int explained = 0;
    for (const int domain : {0, 1}) {
      recommender.recommend(domain, keys, {.k = 4}, [&](const Recommendation& list) {
        if (list.basis == Basis::popular) return;
        const std::map<std::int32_t, double> weight =
            list.user == "somebody new"
                ? std::map<std::int32_t, double>{{1, std::exp2(-1 / half_life[domain])},
                                                 {3, 1},
                                                 {8, std::exp2(-2 / half_life[domain])}}
                : weights_of(std::string(list.user), half_life[domain]);
        const std::vector<Explanation> reasons = explainer.explain(domain, list);
        for (std::size_t n = 0; n < list.items.size(); ++n) {
          const std::int64_t row = domain * dataset_->domains()[0].items + list.items[n].item;
          double sum = 0;
          for (std::int64_t c = coefficients.offsets[row]; c < coefficients.offsets[row + 1]; ++c) {
            const auto found = weight.find(coefficients.column[c]);
            if (found != weight.end()) sum += found->second * coefficients.value[c];
          }
          EXPECT_NEAR(list.items[n].score, sum, 1e-5) << list.user;
          EXPECT_NEAR(score_of(reasons[n]), sum, 1e-5) << list.user;
        }
        ++explained;
      });
    }
    EXPECT_GT(explained, 30);
  });
}

TEST_F(RecommenderTest, TheLinearTermTakesAHistoryInPlaceOfWhatTheDataSetHas) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const SparseRows coefficients = make_coefficients();
    const ScoreMix alone = {.embeddings = false, .regression = 1};
    Recommender recommender(*dataset_, model, kEpoch, &coefficients, {alone, alone});
    // Who is in both domains, and does something new in one of them; and somebody who is new.
    const std::string known = dataset_->user_keys(0)[user_of(0, 1, /*in_both=*/true)];
    History history;
    history.users.add(known);
    history.users.add("somebody new");
    history.met = {MetItems{{1, 3, 8}}, MetItems{{2, 4}}};
    recommender.set_history(0, std::move(history));
    const std::vector<std::string> keys = {known, "somebody new", "nobody at all"};
    const std::vector<ListOf> lists = lists_of(recommender, 0, keys, {.k = 1000});
    const std::int32_t there = recommender.users(1).find(known);
    Items of_known = {1, 3, 8};
    for (const std::int32_t item : items_of(1, there, {Split::train, Split::later})) {
      of_known.push_back(static_cast<std::int32_t>(dataset_->domains()[0].items) + item);
    }
    const Items histories[] = {of_known, {2, 4}};
    for (const int person : {0, 1}) {
      EXPECT_EQ(lists[person].basis, Basis::history);
      for (const ScoredItem& item : lists[person].items) {
        EXPECT_EQ(item.score, plain_sum(coefficients, item.item, histories[person]));
      }
    }
    EXPECT_EQ(lists[2].basis, Basis::popular);

    // The other domain's items have coefficients of items 2 and 4 here: no map is needed.
    const ListOf crossed = lists_of(recommender, 1, {"somebody new"}, {.k = 1000}).at(0);
    EXPECT_EQ(crossed.basis, Basis::other_domain);
    ASSERT_EQ(static_cast<std::int64_t>(crossed.items.size()), dataset_->domains()[1].items);
    EXPECT_GT(crossed.items.front().score, 0);
    for (const ScoredItem& item : crossed.items) {
      const std::int64_t row = dataset_->domains()[0].items + item.item;
      EXPECT_EQ(item.score, plain_sum(coefficients, row, Items{2, 4}));
    }
  });
}

TEST_F(RecommenderTest, WhoIsKnownInAnotherDomainHasTheMappedRowAndTheCoefficientsThatCross) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const at::Tensor z = model.embeddings(kEpoch);
    model.fit_ridge(z);
    const SparseRows coefficients = make_coefficients();
    const ScoreMix both = {.embeddings = true, .regression = 2};
    const Recommender recommender(*dataset_, model, kEpoch, &coefficients, {both, both});
    const std::int32_t user = user_of(0, 1, /*in_both=*/false);
    const std::string key = dataset_->user_keys(0)[user];
    const ListOf list = lists_of(recommender, 1, {key}, {.k = 1000}).at(0);
    EXPECT_EQ(list.basis, Basis::other_domain);
    const at::Tensor row =
        model.map_to_domain(row_of_user(z, 0, user).unsqueeze(0), 0, 1).value()[0];
    const Range nodes = dense_->space.items_of(1);
    const at::Tensor products = at::mv(z.slice(0, nodes.begin, nodes.end), row);
    for (const ScoredItem& item : list.items) {
      const double sum =
          plain_sum(coefficients, nodes.begin - dense_->space.users() + item.item, history_of(key));
      EXPECT_NEAR(item.score, products[item.item].item<double>() + 2 * sum, 1e-4);
    }
  });
}

TEST_F(RecommenderTest, CoefficientsThatNoMixTakesChangeNoList) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const SparseRows coefficients = make_coefficients();
    const Recommender off(*dataset_, model, kEpoch);
    const Recommender on(*dataset_, model, kEpoch, &coefficients);
    const std::vector<std::string> keys = dataset_->user_keys(1);
    const std::vector<ListOf> expected = lists_of(off, 1, keys, {.k = 5});
    const std::vector<ListOf> lists = lists_of(on, 1, keys, {.k = 5});
    for (std::size_t n = 0; n < keys.size(); ++n) {
      EXPECT_EQ(lists[n].basis, expected[n].basis);
      EXPECT_EQ(lists[n].numbers(), expected[n].numbers());
    }
  });
}

TEST_F(RecommenderTest, EveryoneIsWhoHasAHistoryOrElseTheUsersOfTheDomain) {
  make({});
  with_model(one_layer(ModelKind::mf), [&](Model& model) {
    Recommender recommender(*dataset_, model, kEpoch);
    EXPECT_EQ(recommender.everyone(1), dataset_->user_keys(1));
    for (const int domain : {0, 1}) {
      History history;
      history.users.add("ann");
      history.users.add(domain == 0 ? "bob" : "carl");
      history.met = {MetItems{{1}}, MetItems{{}}};
      recommender.set_history(domain, std::move(history));
    }
    EXPECT_EQ(recommender.everyone(1), (std::vector<std::string>{"ann", "bob", "carl"}));
  });
}

TEST_F(RecommenderTest, ListsComeInOrderHoweverManyThereAre) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const Recommender recommender(*dataset_, model, kEpoch);
    std::vector<std::string> keys;
    const std::vector<std::string> users = dataset_->user_keys(0);
    for (std::size_t n = 0; n < 9000; ++n) {
      keys.push_back(n % 3 == 0 ? "stranger" + std::to_string(n) : users[n % users.size()]);
    }
    const std::vector<ListOf> lists = lists_of(recommender, 0, keys, {.k = 3});
    ASSERT_EQ(lists.size(), keys.size());
    for (std::size_t n = 0; n < keys.size(); ++n) ASSERT_EQ(lists[n].user, keys[n]);
    for (const std::size_t n : {0U, 4095U, 4096U, 4097U, 8192U, 8999U}) {
      const ListOf alone = lists_of(recommender, 0, {keys[n]}, {.k = 3}).at(0);
      EXPECT_EQ(lists[n].numbers(), alone.numbers()) << n;
      EXPECT_EQ(lists[n].basis, alone.basis) << n;
    }
  });
}

TEST_F(RecommenderTest, IsWrittenAsCsvWithWordsOnWhereItComesFrom) {
  make({});
  with_model(one_layer(ModelKind::mf), [&](Model& model) {
    const Recommender recommender(*dataset_, model, kEpoch);
    const std::string known = dataset_->user_keys(0)[3];
    const std::vector<std::string> keys = {"says \"a,b\"", known, "unheard of"};
    std::ostringstream csv;
    std::ostringstream report;
    write_lists(recommender, 0, keys, {.k = 2}, nullptr, csv, report);
    const std::vector<ListOf> lists = lists_of(recommender, 0, keys, {.k = 2});
    const std::vector<std::string> items = dataset_->item_keys(0);
    std::string expected;
    for (const ListOf& list : lists) {
      const std::string user = list.user == keys[0] ? "\"says \"\"a,b\"\"\"" : list.user;
      for (std::size_t n = 0; n < 2; ++n) {
        char score[32];
        std::snprintf(score, sizeof score, "%.6g", list.items[n].score);
        expected += user + ",domain0," + std::to_string(n + 1) + "," + items[list.items[n].item] +
                    "," + score + "," + (list.user == known ? "dataset" : "popular") + "\n";
      }
    }
    EXPECT_EQ(csv.str(), expected);
    EXPECT_EQ(
        report.str(),
        "domain0: 3 people, 1 from dataset, 2 from popular\n"
        "  nothing that scores items is known of 2 of them, as 'says \"a,b\"': they get the most "
        "popular items of domain0; --history=FILE with their interactions, of items that others "
        "met too, would make the lists their own\n");
    report.str("");
    write_lists(recommender, 0, std::vector<std::string>{known}, {.k = 2}, nullptr, csv, report);
    EXPECT_EQ(report.str(), "domain0: 1 people, 1 from dataset\n");
  });
}

// --- Filters ---

TEST_F(RecommenderTest, ListsHaveTheItemsAloneThatAFilterLetsThrough) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const Recommender recommender(*dataset_, model, kEpoch);
    std::vector<std::string> keys = dataset_->user_keys(0);
    keys.emplace_back("nobody at all");
    ItemFilter filter(dataset_->domains()[0].items);
    filter.leave_out(Items{0, 3, 4, 9});
    Items parity;
    for (std::int32_t item = 0; item < dataset_->domains()[0].items; ++item) {
      parity.push_back(item % 2);
    }
    filter.set_at_most(2, parity);
    const std::vector<ListOf> all = lists_of(recommender, 0, keys, {.k = 1000});
    const std::vector<ListOf> lists = lists_of(recommender, 0, keys, {.k = 3, .filter = &filter});
    EXPECT_EQ(lists.back().basis, Basis::popular);
    for (std::size_t n = 0; n < keys.size(); ++n) {
      Items expected;
      int taken[] = {0, 0};
      for (const std::int32_t item : all[n].numbers()) {
        if (item == 0 || item == 3 || item == 4 || item == 9 || expected.size() == 3) continue;
        if (++taken[item % 2] <= 2) expected.push_back(item);
      }
      EXPECT_EQ(lists[n].numbers(), expected) << keys[n];
    }
  });
}

TEST_F(RecommenderTest, WhatIsHeldOutStaysOutOfAListByAHistoryToo) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    std::int32_t user = 0;
    while (items_of(0, user, {Split::valid, Split::test}).empty()) ++user;
    const Items held_out = items_of(0, user, {Split::valid, Split::test});
    Recommender recommender(*dataset_, model, kEpoch);
    History history;
    history.users.add(dataset_->user_keys(0)[user]);
    history.met = {MetItems{{held_out.front()}}};
    recommender.set_history(0, std::move(history));
    for (const ListOf& list : lists_of(recommender, 0, {dataset_->user_keys(0)[user]},
                                       {.k = 1000, .exclude = Exclude::all})) {
      EXPECT_EQ(list.basis, Basis::history);
      EXPECT_EQ(std::ssize(list.items), dataset_->domains()[0].items - std::ssize(held_out));
      for (const ScoredItem& item : list.items)
        EXPECT_FALSE(std::ranges::binary_search(held_out, item.item));
    }
  });
}

TEST_F(RecommenderTest, NothingIsLeftOutWhereThatIsAsked) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    Recommender recommender(*dataset_, model, kEpoch);
    History history;
    history.users.add("somebody new");
    history.met = {MetItems{{1, 3, 8}}};
    recommender.set_history(0, std::move(history));
    const std::string known = dataset_->user_keys(0)[0];
    for (const ListOf& list :
         lists_of(recommender, 0, {known, "somebody new"}, {.k = 1000, .exclude = Exclude::none})) {
      EXPECT_EQ(static_cast<std::int64_t>(list.items.size()), dataset_->domains()[0].items);
    }
  });
}

// --- Reasons ---

TEST_F(RecommenderTest, TheSharesOfTheItemsOfAHistoryAddUpToTheRow) {
  make({});
  for (const ModelKind kind :
       {ModelKind::mf, ModelKind::lightgcn, ModelKind::inmo, ModelKind::micrec}) {
    for (const int layers : {0, 1, 3}) {
      ModelConfig config = one_layer(kind);
      if (kind == ModelKind::mf && layers > 0) continue;
      config.layers = layers;
      with_model(config, [&](Model& model) {
        const at::Tensor z = model.embeddings(kEpoch);
        const Model::NewUserShares shares_of = model.new_user_shares(kEpoch);
        for (const int domain : {0, 1}) {
          for (const Items& items : {Items{1, 3, 8}, Items{5}, Items{}}) {
            const at::Tensor shares = shares_of(domain, items);
            ASSERT_EQ(shares.size(0), static_cast<std::int64_t>(items.size()) + 1);
            const at::Tensor row = new_user_embeddings(model, domain, {items}, kEpoch)[0];
            EXPECT_LT((shares.sum(0) - row).abs().max().item<float>(), 1e-5)
                << name_of(kind) << ", " << layers << " layers";
          }
          // So does that of a user of the data set, whose row the graph gave.
          if (kind == ModelKind::mf || kind == ModelKind::lightgcn) continue;
          for (std::int32_t user = 0; user < dataset_->domains()[domain].users; ++user) {
            const Items items = items_of(domain, user, {Split::train, Split::later});
            if (items.empty()) continue;
            const at::Tensor sum = shares_of(domain, items).sum(0);
            EXPECT_LT((sum - row_of_user(z, domain, user)).abs().max().item<float>(), 1e-5)
                << name_of(kind) << ", " << layers << " layers, user " << user;
          }
        }
      });
    }
  }
}

// Without propagation an item gives its own trained row alone.
TEST_F(RecommenderTest, AnItemsShareIsWhatItsOwnRowGives) {
  make({});
  ModelConfig config = one_layer(ModelKind::inmo);
  config.layers = 0;
  with_model(config, [&](Model& model) {
    const Items items = items_of(0, user_of(0, 1, /*in_both=*/true), {Split::train});
    ASSERT_GT(items.size(), 1U);
    const auto count = static_cast<std::int64_t>(items.size());
    const at::Tensor before = model.new_user_shares(kEpoch)(0, items);
    EXPECT_GT(before.abs().sum(1).min().item<float>(), 0);
    const c10::NoGradGuard no_gradient;
    const std::int32_t row = model.shard().row_of[value(model.shard().space().item(0, items[1]))];
    for (Parameter& parameter : model.parameters()) {
      if (parameter.value.size(0) == model.shard().owned_rows()) parameter.value[row].zero_();
    }
    const at::Tensor after = model.new_user_shares(kEpoch)(0, items);
    for (std::int64_t n = 0; n <= count; ++n) {
      EXPECT_TRUE(at::equal(after[n], n == 1 ? at::zeros_like(before[n]) : before[n])) << n;
    }
  });
}

TEST_F(RecommenderTest, ReasonsAddUpToTheScore) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    model.fit_ridge(model.embeddings(kEpoch));
    const SparseRows coefficients = make_coefficients();
    const std::vector<ScoreMix> mixes = {{.embeddings = true, .regression = 0.5F},
                                         {.embeddings = true, .regression = 0}};
    Recommender recommender(*dataset_, model, kEpoch, &coefficients, mixes);
    History history;
    history.users.add("somebody new");
    history.met = {MetItems{{1, 3, 8}}};
    recommender.set_history(0, std::move(history));
    const Explainer explainer(recommender, model.new_user_shares(kEpoch));
    std::vector<std::string> keys = dataset_->user_keys(0);
    keys.emplace_back("somebody new");
    keys.emplace_back("nobody at all");
    std::map<Basis, int> explained;
    for (const int domain : {0, 1}) {
      recommender.recommend(domain, keys, {.k = 6}, [&](const Recommendation& list) {
        const std::vector<Explanation> reasons = explainer.explain(domain, list);
        ASSERT_EQ(reasons.size(), list.items.size());
        for (std::size_t n = 0; n < reasons.size(); ++n) {
          const double score = list.items[n].score;
          EXPECT_NEAR(score_of(reasons[n]), score, 1e-5 * (1 + std::abs(score)))
              << list.user << " by " << name_of(list.basis);
          for (std::size_t i = 1; i < reasons[n].items.size(); ++i) {
            EXPECT_GE(reasons[n].items[i - 1].share, reasons[n].items[i].share);
          }
        }
        if (list.basis != Basis::popular && reasons.front().items.size() > 1) {
          ++explained[list.basis];
        }
      });
    }
    EXPECT_GT(explained[Basis::dataset], 10);
    EXPECT_EQ(explained[Basis::history], 1);
    EXPECT_GT(explained[Basis::other_domain], 0);
  });
}

TEST_F(RecommenderTest, TheReasonsOfTheLinearTermAreItsCoefficients) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const SparseRows coefficients = make_coefficients();
    const ScoreMix alone = {.embeddings = false, .regression = 1};
    const Recommender recommender(*dataset_, model, kEpoch, &coefficients, {alone, alone});
    const Explainer explainer(recommender, {});
    recommender.recommend(0, dataset_->user_keys(0), {.k = 3}, [&](const Recommendation& list) {
      if (list.basis == Basis::popular) return;
      const Items history = history_of(std::string(list.user));
      for (const Explanation& reasons : explainer.explain(0, list)) {
        EXPECT_EQ(reasons.no_item, 0);
        EXPECT_EQ(reasons.embeddings, 0);
      }
      const Explanation reasons = explainer.explain(0, list).front();
      const std::int64_t row = list.items.front().item;
      std::size_t found = 0;
      for (std::int64_t n = coefficients.offsets[row]; n < coefficients.offsets[row + 1]; ++n) {
        if (!std::ranges::binary_search(history, coefficients.column[n])) continue;
        ++found;
        EXPECT_TRUE(std::ranges::any_of(reasons.items, [&](const ItemShare& share) {
          const std::int64_t first =
              dense_->space.items_of(share.domain).begin - dense_->space.users();
          return first + share.item == coefficients.column[n] &&
                 static_cast<float>(share.share) == coefficients.value[n];
        }));
      }
      EXPECT_EQ(found, reasons.items.size());
    });
  });
}

TEST_F(RecommenderTest, ReasonsStandBesideTheItems) {
  make({});
  with_model(one_layer(ModelKind::inmo), [&](Model& model) {
    const Recommender recommender(*dataset_, model, kEpoch);
    const Explainer explainer(recommender, model.new_user_shares(kEpoch));
    std::ostringstream csv;
    std::ostringstream report;
    const std::vector<std::string> keys = {dataset_->user_keys(0)[3], "nobody at all"};
    write_lists(recommender, 0, keys, {.k = 2}, &explainer, csv, report);
    EXPECT_EQ(list_columns(false), "user_id,domain,rank,item_id,score,basis");
    const auto width = split(list_columns(true), ',').size();
    EXPECT_EQ(width, 15U);
    std::istringstream lines(csv.str());
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
      // Empty fields are fields: what is after the last comma too.
      std::vector<std::string> fields(1);
      for (const char c : line) c == ',' ? fields.emplace_back() : fields.back() += c;
      ASSERT_EQ(fields.size(), width) << line;
      double sum = std::stod(fields[13]) + std::stod(fields[14]);
      for (const int share : {8, 10, 12}) {
        EXPECT_EQ(fields[share].empty(), fields[share - 1].empty());
        if (fields[share].empty()) continue;
        EXPECT_TRUE(fields[share - 1].starts_with("domain0:")) << line;
        sum += std::stod(fields[share]);
      }
      EXPECT_NEAR(sum, std::stod(fields[4]), 1e-5 * (1 + std::abs(sum))) << line;
    }
    EXPECT_EQ(count, 4);
  });
}

// --- Items like an item ---

TEST_F(RecommenderTest, PopularityTellsOfNoItemWhichOthersAreLikeIt) {
  make({});
  ModelConfig config;
  config.kind = ModelKind::popularity;
  on_ranks(*dataset_, resolve(config, 2), {}, [&](ModelRank& rank) {
    std::ostringstream csv;
    std::ostringstream report;
    const Recommender recommender(*dataset_, rank.model, kEpoch);
    for (const int domain : {0, 1}) {
      write_similar(recommender, {{0, 4}}, domain, 5, nullptr, csv, report);
    }
    EXPECT_EQ(csv.str(), "");
    expect_has(report.str(), {"domain0: items like 1, 1 by none, as neither rows"});
  });
}

TEST_F(RecommenderTest, SimilarItemsAreByTheCosineWithinADomainAndByWhoMetThemElsewhere) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const at::Tensor z = model.embeddings(kEpoch);
    const Range nodes = dense_->space.items_of(0);
    const at::Tensor rows = z.slice(0, nodes.begin, nodes.end);
    const MetItems asked = {{4}};
    const Person person = {std::nullopt, {&asked, nullptr}};
    EXPECT_EQ(similar_items(Recommender(*dataset_, model, kEpoch), person, 1, 5).likeness,
              Likeness::none)
        << "there is no map yet";
    model.fit_ridge(z);
    const Recommender recommender(*dataset_, model, kEpoch);
    const SimilarItems similar = similar_items(recommender, person, 0, 5);
    EXPECT_EQ(similar.likeness, Likeness::cosine);
    ASSERT_EQ(similar.items.size(), 5U);
    const at::Tensor cosines = at::cosine_similarity(rows, rows[4].unsqueeze(0), 1);
    const at::Tensor best = std::get<1>(cosines.sort(0, /*descending=*/true));
    for (std::int64_t n = 0; n < 5; ++n) {
      EXPECT_EQ(similar.items[n].item, best[n + 1].item<std::int64_t>()) << "item 4 is the first";
      EXPECT_NEAR(similar.items[n].score, cosines[best[n + 1]].item<float>(), 1e-5);
    }

    ItemFilter filter(nodes.size());
    filter.leave_out(Items{similar.items[0].item, similar.items[2].item});
    const SimilarItems filtered = similar_items(recommender, person, 0, 2, &filter);
    ASSERT_EQ(filtered.items.size(), 2U);
    EXPECT_EQ(filtered.items[0].item, similar.items[1].item);
    EXPECT_EQ(filtered.items[1].item, similar.items[3].item);

    const SimilarItems crossed = similar_items(recommender, person, 1, 1000);
    EXPECT_EQ(crossed.likeness, Likeness::met_it);
    const Range there = dense_->space.items_of(1);
    const at::Tensor scores = at::mv(
        z.slice(0, there.begin, there.end),
        model.map_to_domain(new_user_embeddings(model, 0, {asked.items}, kEpoch), 0, 1).value()[0]);
    EXPECT_EQ(static_cast<std::int64_t>(crossed.items.size()),
              (scores > 0).sum().item<std::int64_t>());
    for (const ScoredItem& item : crossed.items) {
      EXPECT_NEAR(item.score, scores[item.item].item<float>(), 1e-5);
    }
  });
}

TEST_F(RecommenderTest, SimilarItemsOfRegressionAloneAreByItsCoefficients) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const SparseRows coefficients = make_coefficients();
    const ScoreMix alone = {.embeddings = false, .regression = 1};
    const Recommender recommender(*dataset_, model, kEpoch, &coefficients, {alone, alone});
    const MetItems asked = {{4}};
    for (const int domain : {0, 1}) {
      const SimilarItems similar =
          similar_items(recommender, {std::nullopt, {&asked, nullptr}}, domain, 1000);
      EXPECT_EQ(similar.likeness, Likeness::met_it);
      EXPECT_GT(similar.items.size(), 2U);
      for (const ScoredItem& item : similar.items) {
        EXPECT_GT(item.score, 0);
        const std::int64_t row =
            dense_->space.items_of(domain).begin - dense_->space.users() + item.item;
        EXPECT_EQ(item.score, plain_sum(coefficients, row, asked.items));
      }
    }
  });
}

TEST_F(RecommenderTest, ItemsAreReadByDomainAndKeyFromAListOrAFile) {
  make({});
  const std::string a = "domain0:" + dataset_->item_keys(0)[2];
  const std::string b = "domain1:" + dataset_->item_keys(1)[5];
  std::ostringstream report;
  const std::string file = folder_.write("items.txt", a + "\n\n " + b + "\ndomain0:unheard of\n");
  for (const std::string& list : {a + "," + b + ",domain0:unheard of", file}) {
    report.str("");
    const std::vector<DomainItem> items = read_items(list, *dataset_, report);
    ASSERT_EQ(items.size(), 2U);
    EXPECT_EQ(items[0].domain, 0);
    EXPECT_EQ(items[0].item, 2);
    EXPECT_EQ(items[1].domain, 1);
    EXPECT_EQ(items[1].item, 5);
    EXPECT_EQ(report.str(),
              "1 of the 3 in --items are no items of the data set, as 'domain0:unheard of': left "
              "out\n");
  }
  for (const auto& [list, cause] :
       {std::pair("domain0:unheard of", Cause::data), std::pair("nowhere:x", Cause::usage),
        std::pair("x", Cause::usage)}) {
    expect_error(cause, {}, [&, list = list] { read_items(list, *dataset_, report); });
  }
}

TEST_F(RecommenderTest, SimilarItemsAreWrittenAsCsv) {
  make({});
  with_model(one_layer(ModelKind::micrec), [&](Model& model) {
    const Recommender recommender(*dataset_, model, kEpoch);
    std::ostringstream csv;
    std::ostringstream report;
    write_similar(recommender, {{0, 2}, {1, 5}}, 0, 3, nullptr, csv, report);
    EXPECT_EQ(report.str(),
              text("domain0: items like 2, 1 by cosine, 1 by none, as ", kUnrelated, "\n"));
    const std::string first = "domain0:" + dataset_->item_keys(0)[2] + ",domain0,1,";
    EXPECT_TRUE(csv.str().starts_with(first)) << csv.str();
    EXPECT_EQ(std::ranges::count(csv.str(), '\n'), 3);
  });
}

}  // namespace
}  // namespace micrec
