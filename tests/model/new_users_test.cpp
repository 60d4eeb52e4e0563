#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/text.h"
#include "model/model.h"
#include "tests/support/dense_model.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

constexpr std::int64_t kRowEpoch = 5;

ModelConfig config_of_kind(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.dim = 8;
  config.layers = 3;
  config.semantic_neighbors = 3;
  config.modalities = {"image", "text"};
  return config;
}

/// Items of every user of a domain in a graph.
std::vector<std::vector<std::int32_t>> histories(const DenseWorld& world, Observed observed,
                                                 int domain) {
  const Range users = world.space.users_of(domain);
  const Range items = world.space.items_of(domain);
  std::vector<std::vector<std::int32_t>> result;
  for (std::int64_t user = users.begin; user < users.end; ++user) {
    std::vector<std::int32_t>& history = result.emplace_back();
    for (std::int64_t item = items.begin; item < items.end; ++item) {
      if (world.graph(observed)[user][item].item<double>() > 0) {
        history.push_back(static_cast<std::int32_t>(item - items.begin));
      }
    }
  }
  return result;
}

class NewUsers : public testing::Test {
 protected:
  NewUsers()
      : dataset_(write_small_world({}, folder_ / "world.h5")), world_(read_dense_world(dataset_)) {}

  /// Calls `body` with a model at parameters that are not the initial ones.
  void with_model(const ModelConfig& config, Observed observed,
                  const std::function<void(ModelRank&)>& body) {
    const DenseModel dense(resolve(config, 2), world_, 3);
    const WholeTensors parameters = make_parameters(dense, 8);
    WholeTensors buffers;
    on_ranks(dataset_, config, {}, [&](ModelRank& rank) { buffers = gather_buffers(rank); });
    ShardedSetting setting;
    setting.observed = observed;
    setting.initialise = false;
    on_ranks(dataset_, config, setting, [&](ModelRank& rank) {
      fill_parameters(rank.model, parameters);
      fill_buffers(rank.model, buffers);
      rank.model.refresh();
      body(rank);
    });
  }

  at::Tensor rows_of_domain(const at::Tensor& z, int domain) const {
    const Range users = world_.space.users_of(domain);
    return z.slice(0, users.begin, users.end);
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  DenseWorld world_;
};

// Propagation keeps rows multiplied by q between its products, which the one product of a new user
// does not do; what this rounds differently is all that may differ.
constexpr double kRounding = 4e-7;

// The inductive promise: who comes with the history of a known user gets that user's row; up to one
// layer bit for bit.
TEST_F(NewUsers, ACopyOfAUserHasTheUsersRow) {
  std::vector<ModelConfig> configs = {config_of_kind(ModelKind::inmo_mf),
                                      config_of_kind(ModelKind::inmo),
                                      config_of_kind(ModelKind::micrec)};
  configs.push_back(config_of_kind(ModelKind::micrec));
  configs.back().template_ratio = 0.6;
  configs.back().feature_dim = 3;
  configs.push_back(config_of_kind(ModelKind::micrec));
  configs.back().content = false;
  configs.push_back(config_of_kind(ModelKind::micrec));
  configs.back().semantic = SemanticPlace::after;
  configs.push_back(config_of_kind(ModelKind::micrec));
  configs.back().layers = 1;
  for (std::size_t c = 0; c < configs.size(); ++c) {
    for (const Observed observed : {Observed::training, Observed::all}) {
      with_model(configs[c], observed, [&](ModelRank& rank) {
        const at::Tensor z = rank.model.embeddings(kRowEpoch);
        for (const int domain : {0, 1}) {
          const at::Tensor copies = new_user_embeddings(
              rank.model, domain, histories(world_, observed, domain), kRowEpoch);
          const at::Tensor originals = rows_of_domain(z, domain);
          const double largest = (copies - originals).abs().max().item<double>();
          const bool exact = rank.model.config().layers <= 1;
          EXPECT_LE(largest, exact ? 0 : kRounding)
              << "configuration " << c << ", domain " << domain;
          EXPECT_GT(copies.std().item<double>(), 0.01);
        }
      });
    }
  }
}

TEST_F(NewUsers, ComeOneByOneAsTogether) {
  with_model(config_of_kind(ModelKind::micrec), Observed::all, [&](ModelRank& rank) {
    const auto all = histories(world_, Observed::all, 1);
    const at::Tensor together = new_user_embeddings(rank.model, 1, all, kRowEpoch);
    for (std::size_t n = 0; n < all.size(); n += 5) {
      const at::Tensor alone = new_user_embeddings(rank.model, 1, {all[n]}, kRowEpoch);
      EXPECT_TRUE(at::equal(alone[0], together[static_cast<std::int64_t>(n)]));
    }
    EXPECT_EQ(new_user_embeddings(rank.model, 0, {}, kRowEpoch).size(0), 0);
  });
}

TEST_F(NewUsers, ChangeNobodyElse) {
  with_model(config_of_kind(ModelKind::micrec), Observed::all, [&](ModelRank& rank) {
    const at::Tensor before = rank.model.embeddings(kRowEpoch);
    new_user_embeddings(rank.model, 0, {{0, 1, 2}, {}, {3}}, kRowEpoch);
    EXPECT_TRUE(at::equal(rank.model.embeddings(kRowEpoch), before));
  });
}

TEST_F(NewUsers, WithoutHistoryAreTheToken) {
  ModelConfig config = config_of_kind(ModelKind::micrec);
  with_model(config, Observed::all, [&](ModelRank& rank) {
    const WholeTensors parameters = gather_parameters(rank);
    for (const int domain : {0, 1}) {
      const at::Tensor row = new_user_embeddings(rank.model, domain, {{}}, kRowEpoch)[0];
      EXPECT_TRUE(at::allclose(row, parameters.at("tokens")[domain] / (config.layers + 1)));
    }
  });
}

// Plain tables have no row for a new user but the mean of the old; the graph adds what the items
// say.
TEST_F(NewUsers, OfPlainTablesStartFromTheMeanOfTheOld) {
  for (const ModelKind kind : {ModelKind::mf, ModelKind::lightgcn}) {
    const ModelConfig config = resolve(config_of_kind(kind), 2);
    with_model(config, Observed::training, [&](ModelRank& rank) {
      const at::Tensor table = gather_parameters(rank).at("embedding");
      const at::Tensor z = rank.model.embeddings(kRowEpoch);
      for (const int domain : {0, 1}) {
        const Range users = world_.space.users_of(domain);
        const at::Tensor old =
            (world_.training.sum(1) > 0).slice(0, users.begin, users.end).nonzero().squeeze(1);
        const at::Tensor old_rows = rows_of_domain(table, domain).index_select(0, old);
        const at::Tensor mean = old_rows.to(at::kDouble).mean(0).to(at::kFloat);
        const at::Tensor copies =
            new_user_embeddings(rank.model, domain, histories(world_, Observed::training, domain),
                                kRowEpoch)
                .index_select(0, old);
        const at::Tensor expected = rows_of_domain(z, domain).index_select(0, old) +
                                    (mean - old_rows) / (config.layers + 1);
        EXPECT_TRUE(at::allclose(copies, expected, 1e-4, 1e-6));
        const at::Tensor stranger = new_user_embeddings(rank.model, domain, {{}}, kRowEpoch)[0];
        EXPECT_TRUE(at::allclose(stranger, mean / (config.layers + 1), 1e-5, 1e-7));
      }
    });
  }
}

// A person's templates of other domains are not in a history of one domain, so a copy is the user
// only where there are none.
TEST_F(NewUsers, WithSharedTemplatesACopyIsExactForPeopleOfOneDomain) {
  ModelConfig config = config_of_kind(ModelKind::micrec);
  config.share_templates = 0.5;
  with_model(config, Observed::training, [&](ModelRank& rank) {
    const at::Tensor z = rank.model.embeddings(kRowEpoch);
    const at::Tensor copies =
        new_user_embeddings(rank.model, 0, histories(world_, Observed::training, 0), kRowEpoch);
    const at::Tensor same = ((copies - rows_of_domain(z, 0)).abs() <= kRounding).all(1);
    const at::Tensor of_one_domain = rows_of_domain(world_.same_person.sum(1) == 0, 0);
    ASSERT_GT(of_one_domain.sum().item<std::int64_t>(), 5);
    EXPECT_TRUE(same.masked_select(of_one_domain).all().item<bool>());
    EXPECT_LT(same.sum().item<std::int64_t>(), same.numel());
  });
}

TEST_F(NewUsers, MapToDomainAppliesTheRidgeMap) {
  with_model(config_of_kind(ModelKind::micrec), Observed::training, [&](ModelRank& rank) {
    const at::Tensor z = rank.model.embeddings(kRowEpoch);
    EXPECT_FALSE(rank.model.map_to_domain(z, 0, 1).has_value());
    rank.model.fit_ridge(z);
    const at::Tensor map = gather_buffers(rank).at("ridge.0.1").to(at::kDouble);
    const at::Tensor rows = z.slice(0, 0, 5);
    const auto mapped = rank.model.map_to_domain(rows, 0, 1);
    ASSERT_TRUE(mapped.has_value());
    const at::Tensor expected =
        at::mm(at::cat({rows.to(at::kDouble), at::ones({5, 1}, at::kDouble)}, 1), map);
    EXPECT_TRUE(at::allclose(mapped->to(at::kDouble), expected, 1e-5, 1e-6));
    EXPECT_FALSE(rank.model.map_to_domain(rows, 1, 1).has_value());
  });
}

}  // namespace
}  // namespace micrec
