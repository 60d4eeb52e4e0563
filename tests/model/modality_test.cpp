#include "model/modality.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cluster/thread_communicator.h"
#include "data/dataset_writer.h"
#include "model/model.h"
#include "model/semantic_neighbours.h"
#include "tests/support/dense_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

void expect_near(const at::Tensor& got, const at::Tensor& expected, double relative) {
  ASSERT_EQ(got.sizes(), expected.sizes());
  EXPECT_LE((got.to(at::kDouble) - expected).norm().item<double>(),
            relative * expected.norm().item<double>() + 1e-9)
      << got << expected;
}

FeatureStatistics fit(const DatasetFile& dataset, const std::string& modality, int feature_dim,
                      int ranks = 1) {
  const DatasetSummary summary = summarise(dataset);
  FeatureStatistics result;
  run_ranks(ranks, [&](Communicator& communicator) {
    const FeatureStatistics own =
        fit_statistics(dataset, summary, modality, feature_dim, communicator);
    if (communicator.rank() == ranks - 1) result = own;
  });
  return result;
}

TEST(ResolveModalities, RefusesOneThatIsNamedTwice) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({}, folder / "world.h5");
  EXPECT_EQ(resolve_modalities({"text", "image"}, dataset),
            (std::vector<std::string>{"text", "image"}));
  expect_error(Cause::usage, {"--modalities", "text", "more than once"}, [&] {
    resolve_modalities({"text", "image", "text"}, dataset);
  });
}

TEST(FeatureStatistics, AreCentreAndScaleOfTheTrainingItems) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.domains = 3}, folder / "world.h5");
  const DenseWorld world = read_dense_world(dataset);
  for (const std::string modality : {"image", "text"}) {
    const FeatureStatistics got = fit(dataset, modality, 128);
    const DenseStatistics expected = dense_statistics(world, modality, 128);
    EXPECT_FALSE(got.components.defined());
    EXPECT_EQ(got.columns(), got.mean.size(0));
    expect_near(got.mean, expected.mean, 1e-6);
    EXPECT_NEAR(got.scale.item<double>(), expected.scale, 1e-6 * expected.scale);
  }
}

TEST(FeatureStatistics, ProjectOnThePrincipalDirections) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({}, folder / "world.h5");
  const FeatureStatistics got = fit(dataset, "text", 4);
  DenseStatistics expected = dense_statistics(read_dense_world(dataset), "text", 4);
  ASSERT_TRUE(got.components.defined());
  EXPECT_EQ(got.columns(), 4);
  expected.align_signs(got.components);
  expect_near(got.components, expected.components, 1e-5);
  expect_near(at::mm(got.components.t(), got.components), at::eye(4, at::kDouble), 1e-5);
  EXPECT_NEAR(got.scale.item<double>(), expected.scale, 1e-6 * expected.scale);
}

TEST(FeatureStatistics, HaveTheSameBitsAtAnyNumberOfRanks) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({}, folder / "world.h5");
  const FeatureStatistics one = fit(dataset, "text", 4);
  for (const int ranks : {2, 5}) {
    const FeatureStatistics other = fit(dataset, "text", 4, ranks);
    EXPECT_TRUE(at::equal(one.mean, other.mean));
    EXPECT_TRUE(at::equal(one.components, other.components));
    EXPECT_TRUE(at::equal(one.scale, other.scale));
  }
}

// What float32 has no inverse of is no spread.
TEST(FeatureStatistics, SurviveASpreadBelowNormalNumbers) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.unit = 1e-40}, folder / "world.h5");
  for (const int feature_dim : {2, 128}) {
    EXPECT_EQ(fit(dataset, "text", feature_dim).scale.item<float>(), 1);
  }
}

TEST(FeatureStatistics, SurviveColumnsWithoutSpread) {
  const TemporaryFolder folder;
  for (const bool all_flat : {false, true}) {
    SmallWorld world;
    world.modalities = {{"text", 6}};
    world.flat_columns = {0, 3};
    if (all_flat) world.flat_columns = {0, 1, 2, 3, 4, 5};
    const DatasetFile dataset = write_small_world(world, folder / text("world", all_flat, ".h5"));
    for (const int feature_dim : {2, 5, 128}) {
      const FeatureStatistics got = fit(dataset, "text", feature_dim);
      EXPECT_TRUE(got.mean.isfinite().all().item<bool>());
      EXPECT_GT(got.scale.item<double>(), 0);
      EXPECT_TRUE(std::isfinite(got.scale.item<double>()));
      if (all_flat) {
        EXPECT_FLOAT_EQ(got.scale.item<float>(), 1);
      }
      ModelConfig config;
      config.dim = 8;
      config.modalities = {"text"};
      config.feature_dim = feature_dim;
      config.semantic_neighbors = 3;
      const ShardedStep step = sharded_step(dataset, config, {}, {}, 50, {0, 0});
      EXPECT_TRUE(std::isfinite(step.loss.total()));
      for (const auto& [name, gradient] : step.gradients) {
        EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << name;
      }
    }
  }
}

TEST(FeatureStatistics, RefuseAModalityThatNoTrainingItemHas) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.masked = {"text"}}, folder / "world.h5");
  expect_error(Cause::data, {"world.h5", "text", "--modalities"}, [&] { fit(dataset, "text", 4); });
}

TEST(ModalityWidth, NamesTheModalitiesThereAre) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({}, folder / "world.h5");
  EXPECT_EQ(modality_width(dataset, "image"), 5);
  EXPECT_EQ(modality_width(dataset, "text"), 7);
  expect_error(Cause::usage, {"sound", "image, text", "--modalities"},
               [&] { modality_width(dataset, "sound"); });
}

TEST(ModalityWidth, RefusesDomainsOfDifferentWidths) {
  const TemporaryFolder folder;
  PreparedDataset prepared = make_small_world({});
  prepared.domains[1].features[1] =
      make_small_world({.modalities = {{"text", 9}}}).domains[1].features[0];
  const std::string path = folder / "world.h5";
  write_dataset(prepared, path);
  const DatasetFile dataset = DatasetFile::open(path);
  expect_error(Cause::data, {"text", "7 wide", "9 wide", "domain0", "domain1"},
               [&] { modality_width(dataset, "text"); });
}

TEST(ModalityShares, AreASoftmaxOverThosePresent) {
  const at::Tensor shares = modality_shares(at::tensor({100.0F, 101.0F}), every_modality_set(2));
  const double larger = 1 / (1 + std::exp(-1.0));
  const at::Tensor expected =
      at::tensor({0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1 - larger, larger}, at::kDouble).reshape({4, 2});
  expect_near(shares, expected, 1e-6);
  const at::Tensor first = at::tensor({1.0F, 3.0F, 0.0F, 0.0F}).unsqueeze(1);
  const at::Tensor second = at::tensor({1.0F, 0.0F, 1.0F, 0.0F}).unsqueeze(1);
  EXPECT_TRUE(at::equal(modality_sets({first, second}), at::tensor({3, 1, 2, 0}, at::kInt)));
}

TEST(SemanticNeighbours, AreTheLargestCosinesWithEqualWeights) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.domains = 3}, folder / "world.h5");
  const DenseWorld world = read_dense_world(dataset);
  ModelConfig config;
  config.modalities = {"image", "text"};
  config.semantic_neighbors = 4;
  const DenseModel dense(resolve(config, 3), world, 0);
  const DatasetSummary summary = summarise(dataset);
  for (const int ranks : {1, 3}) {
    for (const std::string& modality : config.modalities) {
      at::Tensor got = at::zeros({world.space.nodes(), world.space.nodes()}, at::kDouble);
      run_ranks(ranks, [&](Communicator& communicator) {
        const Shard shard = load_shard(dataset, summary, scattered_ownership(summary, ranks),
                                       Observed::training, communicator);
        const NeighbourMean semantic = mean_of_neighbours(
            find_semantic_neighbours(dataset, shard, modality, config).near, shard);
        const ShardedGraph& graph = semantic.graph->graph();
        const Pattern& pattern = graph.pattern();
        for (std::int64_t row = 0; row < pattern.rows(); ++row) {
          EXPECT_EQ(semantic.present[row][0].item<float>(), pattern.degree(row) > 0 ? 1 : 0);
          for (std::int64_t n = pattern.offsets[row]; n < pattern.offsets[row + 1]; ++n) {
            // Ranks own different rows, so no two of them write to one number.
            got.data_ptr<double>()[value(graph.owned()[row]) * got.size(1) +
                                   value(graph.local_to_global()[pattern.columns[n]])] =
                semantic.graph->weights()[n].item<double>();
          }
        }
      });
      const at::Tensor expected = dense.semantic_matrix(modality);
      EXPECT_GT(expected.sum().item<double>(), 20);
      EXPECT_TRUE(at::allclose(got, expected, 1e-6)) << modality << " at " << ranks << " ranks";
    }
  }
}

TEST(Templates, AreTheTopShareOfUsersAndOfItemsOfEachDomain) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({.domains = 3}, folder / "world.h5");
  const DenseWorld world = read_dense_world(dataset);
  for (const double ratio : {0.3, 0.5, 1.0}) {
    ModelConfig config;
    config.kind = ModelKind::inmo;
    config.dim = 4;
    config.template_ratio = ratio;
    const at::Tensor scores = DenseModel(resolve(config, 3), world, 0).template_scores();
    at::Tensor first;
    for (const int ranks : {1, 2, 5}) {
      at::Tensor mask;
      ShardedSetting setting;
      setting.ranks = ranks;
      on_ranks(dataset, config, setting, [&](ModelRank& rank) {
        const WholeTensors buffers = gather_buffers(rank);
        if (rank.communicator.rank() == 0) mask = buffers.at("template_mask");
      });
      if (ranks == 1) first = mask;
      EXPECT_TRUE(at::equal(mask, first)) << ranks << " ranks";
    }
    for (std::int64_t kind = 0; kind < 6; ++kind) {
      const at::Tensor of_kind = world.kind.select(1, kind) > 0;
      const at::Tensor trained = of_kind.logical_and(scores > 0);
      const at::Tensor chosen = of_kind.logical_and(first > 0);
      const double expected = std::ceil(ratio * trained.sum().item<double>());
      EXPECT_EQ(chosen.sum().item<double>(), expected);
      EXPECT_EQ(chosen.logical_and(trained).sum().item<double>(), expected);
      const at::Tensor left = trained.logical_and(chosen.logical_not());
      if (!left.any().item<bool>()) continue;
      EXPECT_GE(scores.masked_select(chosen).min().item<double>(),
                scores.masked_select(left).max().item<double>() - 1e-6);
    }
  }
}

}  // namespace
}  // namespace micrec
