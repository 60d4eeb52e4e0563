#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "base/text.h"
#include "model/model.h"
#include "tests/support/dense_model.h"
#include "tests/support/on_threads.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

constexpr std::int64_t kEpoch = 9;

struct Case {
  std::string name;
  int domains = 2;
  ModelConfig config;
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

ModelConfig base_config(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.dim = 8;
  config.layers = 3;
  config.semantic_neighbors = 3;
  config.modalities = {"image", "text"};
  return config;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const ModelKind kind : {ModelKind::mf, ModelKind::lightgcn, ModelKind::inmo_mf,
                               ModelKind::inmo, ModelKind::micrec}) {
    all.push_back({name_of(kind), 2, base_config(kind)});
  }
  Case after{"semantic_after", 2, base_config(ModelKind::micrec)};
  after.config.semantic = SemanticPlace::after;
  all.push_back(after);
  Case shared{"shared_templates", 3, base_config(ModelKind::micrec)};
  shared.config.share_templates = 0.7;
  shared.config.template_ratio = 0.6;
  shared.config.feature_dim = 3;
  // Dropout and simulated cold items belong to training alone.
  shared.config.dropout = 0.5;
  shared.config.cold_simulation = 0.5;
  all.push_back(shared);
  Case wide{"sixty_four_columns", 2, base_config(ModelKind::micrec)};
  wide.config.dim = 64;
  all.push_back(wide);
  Case one{"one_domain", 1, base_config(ModelKind::micrec)};
  all.push_back(one);
  return all;
}

class Embeddings : public testing::TestWithParam<Case> {
 protected:
  Embeddings()
      : dataset_(write_small_world({.domains = GetParam().domains}, folder_ / "world.h5")),
        world_(read_dense_world(dataset_)),
        config_(resolve(GetParam().config, GetParam().domains)),
        dense_(config_, world_, 3),
        parameters_(make_parameters(dense_, 5)) {
    // Buffers as training leaves them, ridge maps fitted.
    on_ranks(dataset_, config_, {}, [&](ModelRank& rank) {
      fill_parameters(rank.model, parameters_);
      rank.model.fit_ridge(rank.model.embeddings(kEpoch));
      buffers_ = gather_buffers(rank);
    });
    dense_.set_parameters(parameters_);
    if (config_.inductive()) {
      dense_.templates = buffers_.at("template_mask").to(at::kDouble).unsqueeze(1);
    }
    for (auto& [name, statistics] : dense_.statistics) {
      if (!statistics.components.defined()) continue;
      statistics.align_signs(buffers_.at("features." + name + ".components"));
    }
    dense_.fit_ridge(dense_.embeddings(Observed::training, kEpoch));
  }

  at::Tensor sharded(const ProcessGrid& grid, Observed observed) const {
    ShardedSetting setting;
    setting.ranks = grid.rows;
    setting.columns = grid.columns;
    setting.observed = observed;
    setting.initialise = false;
    return sharded_embeddings(dataset_, config_, setting, parameters_, buffers_, kEpoch);
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  DenseWorld world_;
  ModelConfig config_;
  DenseModel dense_;
  WholeTensors parameters_;
  WholeTensors buffers_;
};

TEST_P(Embeddings, AreThoseOfTheDenseModel) {
  for (const Observed observed : {Observed::training, Observed::all}) {
    SCOPED_TRACE(observed == Observed::all ? "all" : "training");
    const at::Tensor expected = dense_.embeddings(observed, kEpoch);
    const at::Tensor got = sharded({1, 1}, observed).to(at::kDouble);
    // Row by row, so that no kind of node hides behind larger rows.
    const at::Tensor error = (got - expected).norm(2, 1) / expected.norm(2, 1).clamp_min(1e-3);
    EXPECT_LT(error.max().item<double>(), 2e-5) << "node " << error.argmax().item<std::int64_t>();
  }
  // The world has what the test is about: nodes that only the larger graph knows.
  const at::Tensor only_later = (world_.training.sum(1) == 0).logical_and(world_.all.sum(1) > 0);
  EXPECT_GT(only_later.sum().item<std::int64_t>(), 1);
  EXPECT_GT((world_.all.sum(1) == 0).sum().item<std::int64_t>(), 1);
}

TEST_P(Embeddings, HaveTheSameBitsOnAnyGridAndNumberOfThreads) {
  const std::vector<ProcessGrid> grids = {{2, 1}, {3, 1}, {8, 1}, {1, 2}, {2, 2}, {3, 4}, {1, 8}};
  for (const Observed observed : {Observed::training, Observed::all}) {
    const at::Tensor expected = sharded({1, 1}, observed);
    ASSERT_TRUE(expected.isfinite().all().item<bool>());
    for (const ProcessGrid& grid : grids) {
      const at::Tensor got = sharded(grid, observed);
      EXPECT_TRUE(at::equal(got, expected))
          << to_text(grid) << ", " << (got != expected).any(1).nonzero().squeeze(1).slice(0, 0, 5);
    }
    EXPECT_TRUE(at::equal(on_threads(3, [&] { return sharded({1, 1}, observed); }), expected));
  }
}

TEST_P(Embeddings, FillInPeopleSeenInAnotherDomain) {
  if (GetParam().domains == 1) {
    EXPECT_TRUE(dense_.ridge.empty());
    return;
  }
  WholeTensors unfitted = buffers_;
  unfitted["ridge.fitted"] = at::zeros({1}, at::kByte);
  ShardedSetting setting;
  setting.initialise = false;
  const at::Tensor without =
      sharded_embeddings(dataset_, config_, setting, parameters_, unfitted, kEpoch);
  const at::Tensor with = sharded({1, 1}, Observed::training);
  const at::Tensor degree = world_.training.sum(1);
  // Lone user nodes of people who have interactions in another domain, and no others.
  const at::Tensor known_elsewhere = at::mv(world_.same_person, (degree > 0).to(at::kDouble)) > 0;
  const at::Tensor filled = (degree == 0).logical_and(known_elsewhere);
  EXPECT_GE(filled.sum().item<std::int64_t>(), 1);
  EXPECT_TRUE(at::equal((with != without).any(1), filled));
}

TEST_P(Embeddings, RidgeMapsSolveTheLeastSquares) {
  std::size_t maps = 0;
  for (const auto& [pair, map] : dense_.ridge) {
    const at::Tensor got = buffers_.at(text("ridge.", pair.first, ".", pair.second));
    ASSERT_EQ(got.sizes(), map.sizes());
    EXPECT_LT((got.to(at::kDouble) - map).norm().item<double>(), 1e-4 * map.norm().item<double>());
    ++maps;
  }
  EXPECT_EQ(maps, static_cast<std::size_t>(GetParam().domains * (GetParam().domains - 1)));
}

TEST_P(Embeddings, RidgeMapsHaveTheSameBitsOnAnyGrid) {
  for (const ProcessGrid& grid : std::vector<ProcessGrid>{{2, 1}, {5, 1}, {1, 2}, {3, 2}}) {
    ShardedSetting setting;
    setting.ranks = grid.rows;
    setting.columns = grid.columns;
    on_ranks(dataset_, config_, setting, [&](ModelRank& rank) {
      fill_parameters(rank.model, parameters_);
      rank.model.fit_ridge(rank.model.embeddings(kEpoch));
      for (const Buffer& buffer : rank.model.buffers()) {
        if (!buffer.name.starts_with("ridge.")) continue;
        const at::Tensor expected = buffers_.at(buffer.name);
        EXPECT_TRUE(at::equal(buffer.value, expected)) << buffer.name << " " << to_text(grid);
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Model, Embeddings, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace micrec
