#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/text.h"
#include "model/model.h"
#include "tests/support/dense_model.h"
#include "tests/support/on_threads.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

constexpr double kTolerance = 1e-4;  // relative, in float32

struct GradientCase {
  std::string name;
  int domains = 2;
  ModelConfig config;
  std::vector<std::string> without_gradient = {};  // parameters whose gradient is zero by right
};

void PrintTo(const GradientCase& test, std::ostream* out) { *out << test.name; }

ModelConfig with_initial_spread(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.dim = 12;
  config.layers = 2;
  config.semantic_neighbors = 3;
  config.modalities = {"image", "text"};
  config.self_weight = 0.3;  // so that no part hides behind another
  config.contrastive_weight = 0.4;
  config.temperature = 0.5;
  return config;
}

/// micrec with nothing beside what `change` leaves on.
template <typename Change>
GradientCase with(const std::string& name, const Change& change, int domains = 2) {
  GradientCase test{name, domains, with_initial_spread(ModelKind::micrec)};
  change(test.config);
  if (test.config.modalities.size() == 1) {
    test.without_gradient = {"content.logits", "semantic.logits"};
  }
  return test;
}

std::vector<GradientCase> gradient_cases() {
  std::vector<GradientCase> all;
  for (const ModelKind kind : {ModelKind::mf, ModelKind::lightgcn, ModelKind::inmo_mf,
                               ModelKind::inmo, ModelKind::micrec}) {
    all.push_back({name_of(kind), 2, with_initial_spread(kind)});
  }
  for (const int layers : {0, 1, 3}) {
    for (const ModelKind kind : {ModelKind::lightgcn, ModelKind::inmo, ModelKind::micrec}) {
      GradientCase test{text(name_of(kind), "_layers_", layers), 2, with_initial_spread(kind)};
      test.config.layers = layers;
      all.push_back(test);
    }
  }
  const auto nothing = [](ModelConfig& c) {
    c.content = false;
    c.semantic_neighbors = 0;
    c.contrastive_weight = 0;
  };
  all.push_back(with("content_only", [&](ModelConfig& c) {
    nothing(c);
    c.content = true;
  }));
  all.push_back(with("content_of_one_modality", [&](ModelConfig& c) {
    nothing(c);
    c.content = true;
    c.modalities = {"text"};
  }));
  all.push_back(with("projected_features", [&](ModelConfig& c) {
    nothing(c);
    c.content = true;
    c.feature_dim = 3;
  }));
  all.push_back(with("semantic_before", [&](ModelConfig& c) {
    nothing(c);
    c.semantic_neighbors = 3;
  }));
  all.push_back(with("semantic_after", [&](ModelConfig& c) {
    nothing(c);
    c.semantic_neighbors = 3;
    c.semantic = SemanticPlace::after;
  }));
  all.push_back(with("semantic_after_without_layers", [&](ModelConfig& c) {
    c.semantic = SemanticPlace::after;
    c.layers = 0;
  }));
  all.push_back(with("more_neighbours_than_items", [&](ModelConfig& c) {
    nothing(c);
    c.semantic_neighbors = 50;
  }));
  all.push_back(with("contrastive_only", [&](ModelConfig& c) {
    nothing(c);
    c.contrastive_weight = 2;
  }));
  all.push_back(with("contrastive_of_five_people", [&](ModelConfig& c) {
    nothing(c);
    c.contrastive_weight = 2;
    c.contrastive_batch = 5;
  }));
  all.push_back(with(
      "contrastive_of_three_domains",
      [&](ModelConfig& c) {
        nothing(c);
        c.contrastive_weight = 2;
        c.contrastive_batch = 0;
      },
      3));
  all.push_back(with("share_templates", [&](ModelConfig& c) {
    nothing(c);
    c.share_templates = 0.7;
  }));
  all.push_back(with("template_ratio", [&](ModelConfig& c) {
    nothing(c);
    c.template_ratio = 0.5;
  }));
  all.push_back(with("dropout", [&](ModelConfig& c) {
    nothing(c);
    c.dropout = 0.3;
  }));
  all.push_back(with("dropout_of_shared_templates", [&](ModelConfig& c) {
    nothing(c);
    c.dropout = 0.3;
    c.share_templates = 0.7;
    c.template_ratio = 0.6;
  }));
  all.push_back(with("l2", [&](ModelConfig& c) { c.l2 = 0.05; }));
  all.push_back(with("cold_simulation", [&](ModelConfig& c) { c.cold_simulation = 0.3; }));
  all.push_back(with("cold_simulation_after", [&](ModelConfig& c) {
    c.cold_simulation = 0.3;
    c.semantic = SemanticPlace::after;
  }));
  all.push_back(with("balanced_weights", [&](ModelConfig& c) {
    nothing(c);
    c.domain_weights = DomainWeights::balanced;
  }));
  all.push_back(with("no_self_loss", [&](ModelConfig& c) { c.self_weight = 0; }));
  all.back().without_gradient = {"self_weight"};
  const auto everything = [](ModelConfig& c) {
    c.l2 = 0.02;
    c.share_templates = 0.7;
    c.template_ratio = 0.7;
    c.dropout = 0.2;
    c.cold_simulation = 0.3;
    c.domain_weights = DomainWeights::balanced;
    c.contrastive_batch = 6;
    c.feature_dim = 4;
  };
  for (const int domains : {1, 2, 3}) {
    all.push_back(with(text("everything_in_", domains, "_domains"), everything, domains));
  }
  return all;
}

class Gradients : public testing::TestWithParam<GradientCase> {};

void expect_near_relative(const at::Tensor& got, const at::Tensor& expected,
                          const std::string& what) {
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  const at::Tensor difference = got.to(at::kDouble) - expected;
  const double largest = expected.abs().max().item<double>();
  EXPECT_LE(difference.abs().max().item<double>(), kTolerance * largest + 1e-8) << what;
  EXPECT_LE(difference.norm().item<double>(), kTolerance * expected.norm().item<double>() + 1e-8)
      << what;
}

// Loss, its parts and the gradient of every parameter, against the dense model by autograd.
TEST_P(Gradients, AreThoseOfTheDenseModel) {
  const GradientCase& test = GetParam();
  const TemporaryFolder folder;
  SmallWorld world;
  world.domains = test.domains;
  const DatasetFile dataset = write_small_world(world, folder / "world.h5");
  const DenseWorld dense_world = read_dense_world(dataset);
  const ModelConfig resolved = resolve(test.config, test.domains);
  const StepTime time{18, 6};
  const std::uint64_t seed = ShardedSetting{}.seed;
  DenseModel dense(resolved, dense_world, seed);
  const WholeTensors parameters = make_parameters(dense, 21);

  DenseLoss expected;
  double ranking_of_one = 0;
  // With three row parts and more, some own nothing.
  const std::vector<ProcessGrid> grids = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 1}, {1, 4}, {5, 2}};
  for (const ProcessGrid& grid : grids) {
    SCOPED_TRACE(to_text(grid));
    ShardedSetting setting;
    setting.ranks = grid.rows;
    setting.columns = grid.columns;
    const bool first = grid.ranks() == 1;
    const ComputeThreads threads(first ? 2 : 1);
    const ShardedStep step =
        sharded_step(dataset, test.config, setting, parameters, /*batch_size=*/64, time);
    ASSERT_EQ(static_cast<std::int64_t>(step.triples.size()), step.batch_rows);
    ASSERT_GT(step.batch_rows, 40);
    if (first) {
      // Which templates and directions there are is tested elsewhere; ties and signs are free.
      if (resolved.inductive()) {
        dense.templates = step.buffers.at("template_mask").to(at::kDouble).unsqueeze(1);
      }
      for (auto& [name, statistics] : dense.statistics) {
        if (!statistics.components.defined()) continue;
        statistics.align_signs(step.buffers.at("features." + name + ".components"));
      }
      dense.set_parameters(parameters);
      expected = dense.loss(step.triples, step.batch_rows, time.step, time.epoch);
      expected.total.backward();
      ranking_of_one = step.loss.of("ranking");
    }
    const auto near = [](double got, double wanted) {
      EXPECT_NEAR(got, wanted, kTolerance * std::abs(wanted) + 1e-9);
    };
    near(step.loss.total(), expected.total.item<double>());
    for (const auto& [name, part] : step.loss.by_name) {
      SCOPED_TRACE(name);
      const auto found = expected.parts.find(name);
      near(part, found == expected.parts.end() ? 0 : found->second);
    }
    for (const auto& [name, part] : expected.parts) EXPECT_GT(step.loss.of(name), 0) << name;

    if (grid.rows == 1) {
      // Columns change no sum's order, so every part has the same bits; the contrastive loss, whose
      // people are shared out, has its own order.
      EXPECT_EQ(step.loss.of("ranking"), ranking_of_one);
    }
    ASSERT_EQ(step.gradients.size(), dense.parameters.size());
    for (const auto& [name, gradient] : step.gradients) {
      const at::Tensor wanted = dense.parameters.at(name).grad().defined()
                                    ? dense.parameters.at(name).grad()
                                    : at::zeros_like(dense.parameters.at(name).detach());
      expect_near_relative(gradient, wanted, name);
      const bool may_vanish =
          std::ranges::find(test.without_gradient, name) != test.without_gradient.end();
      if (may_vanish) {
        EXPECT_LT(wanted.abs().max().item<double>(), 1e-12) << name;
      } else {
        EXPECT_GT(wanted.abs().max().item<double>(), 1e-5) << name << " is not put to the test";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Model, Gradients, testing::ValuesIn(gradient_cases()),
                         [](const auto& info) { return info.param.name; });

// The loss goes down along the gradient by as much as the gradient says, in the sharded model
// itself: the dense model and the sharded one cannot share a mistake about what backward() is the
// derivative of.
TEST(Gradients, AreTheSlopesOfTheLoss) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({}, folder / "world.h5");
  ModelConfig config = with_initial_spread(ModelKind::micrec);
  config.l2 = 0.02;
  const DenseWorld dense_world = read_dense_world(dataset);
  const WholeTensors parameters =
      make_parameters(DenseModel(resolve(config, 2), dense_world, 3), 4);
  ShardedSetting setting;
  setting.ranks = 2;
  const auto step_at = [&](const WholeTensors& values) {
    return sharded_step(dataset, config, setting, values, 64, {2, 0});
  };
  const ShardedStep here = step_at(parameters);
  for (const auto& [name, gradient] : here.gradients) {
    const double norm = gradient.to(at::kDouble).norm().item<double>();
    ASSERT_GT(norm, 0) << name;
    const at::Tensor direction = gradient.to(at::kDouble) / norm;
    constexpr double kStep = 0.01;
    WholeTensors ahead = parameters, behind = parameters;
    ahead[name] = (parameters.at(name).to(at::kDouble) + kStep * direction).to(at::kFloat);
    behind[name] = (parameters.at(name).to(at::kDouble) - kStep * direction).to(at::kFloat);
    const double slope = (step_at(ahead).loss.total() - step_at(behind).loss.total()) / (2 * kStep);
    EXPECT_NEAR(slope, norm, 0.02 * norm + 2e-5) << name;
  }
}

// Sums over all row parts in one fixed order: the gradients have the same bits on any grid.
TEST(Gradients, HaveTheSameBitsOnAnyGridWhereSumsAreReproducible) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.domains = 3}, folder / "world.h5");
  ModelConfig config = with_initial_spread(ModelKind::micrec);
  config.dim = 8;
  config.l2 = 0.02;
  config.share_templates = 0.7;
  config.template_ratio = 0.7;
  config.dropout = 0.2;
  config.cold_simulation = 0.3;
  config.contrastive_batch = 6;
  ShardedSetting setting;
  setting.summands = 7;
  const DenseWorld dense_world = read_dense_world(dataset);
  const WholeTensors parameters =
      make_parameters(DenseModel(resolve(config, 3), dense_world, 3), 4);
  const ShardedStep one = sharded_step(dataset, config, setting, parameters, 64, {5, 0});
  const std::vector<ProcessGrid> grids = {{2, 1}, {1, 2}, {2, 2}, {3, 1}, {1, 4}, {5, 1}, {3, 2}};
  for (const ProcessGrid& grid : grids) {
    SCOPED_TRACE(to_text(grid));
    setting.ranks = grid.rows;
    setting.columns = grid.columns;
    const ShardedStep other = sharded_step(dataset, config, setting, parameters, 64, {5, 0});
    EXPECT_EQ(one.loss.by_name, other.loss.by_name);
    for (const auto& [name, gradient] : one.gradients) {
      EXPECT_TRUE(at::equal(gradient, other.gradients.at(name))) << name;
    }
  }
}

// The same seed gives the same gradients bit for bit at one number of ranks, threads or not.
TEST(Gradients, HaveTheSameBitsAtAnyNumberOfThreads) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({}, folder / "world.h5");
  ModelConfig config = with_initial_spread(ModelKind::micrec);
  config.dropout = 0.2;
  for (const int ranks : {1, 3}) {
    ShardedSetting setting;
    setting.ranks = ranks;
    const ShardedStep first = sharded_step(dataset, config, setting, {}, 64, {5, 0});
    const ShardedStep second = on_threads(3, [&] {
      return sharded_step(dataset, config, setting, {}, 64, {5, 0});
    });
    EXPECT_EQ(first.loss.by_name, second.loss.by_name);
    for (const auto& [name, gradient] : first.gradients) {
      EXPECT_TRUE(at::equal(gradient, second.gradients.at(name))) << name;
    }
  }
}

}  // namespace
}  // namespace micrec
