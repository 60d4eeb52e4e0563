// What must hold whatever the numbers are: parts that are off are not there, nodes without
// neighbours, nodes that come later.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "data/dataset_writer.h"
#include "model/model.h"
#include "tests/support/dense_model.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

constexpr StepTime kTime{7, 2};

ModelConfig small_config(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.dim = 8;
  config.layers = 2;
  config.semantic_neighbors = 3;
  return config;
}

ShardedSetting on(int ranks) {
  ShardedSetting setting;
  setting.ranks = ranks;
  return setting;
}

void expect_same_step(const ShardedStep& a, const ShardedStep& b) {
  EXPECT_EQ(a.loss.by_name, b.loss.by_name);
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (const auto& [name, gradient] : a.gradients) {
    EXPECT_TRUE(at::equal(gradient, b.gradients.at(name))) << name;
  }
}

/// That two configurations are one model, bit for bit.
void expect_same_model(const DatasetFile& dataset, const ModelConfig& a, const ModelConfig& b) {
  for (const int ranks : {1, 3}) {
    expect_same_step(sharded_step(dataset, a, on(ranks), {}, 50, kTime),
                     sharded_step(dataset, b, on(ranks), {}, 50, kTime));
  }
  const at::Tensor z = sharded_embeddings(dataset, a, on(1), {}, {}, 4);
  EXPECT_TRUE(at::equal(z, sharded_embeddings(dataset, b, on(1), {}, {}, 4)));
  EXPECT_GT(z.abs().max().item<double>(), 0);
}

class Identities : public testing::Test {
 protected:
  DatasetFile open(const SmallWorld& world = {}) {
    return write_small_world(world, folder_ / text("world", files_++, ".h5"));
  }
  TemporaryFolder folder_;
  int files_ = 0;
};

TEST_F(Identities, MicrecWithAllPartsOffIsInmo) {
  const DatasetFile dataset = open();
  ModelConfig inmo = small_config(ModelKind::inmo);
  inmo.dropout = 0.2;
  inmo.template_ratio = 0.8;
  ModelConfig micrec = inmo;
  micrec.kind = ModelKind::micrec;
  micrec.contrastive_weight = 0;
  expect_same_model(dataset, inmo, micrec);

  // However the parts are turned off.
  micrec.modalities = {"text"};
  micrec.content = false;
  micrec.semantic_neighbors = 0;
  expect_same_model(dataset, inmo, micrec);
}

TEST_F(Identities, WithoutLayersThereIsNoGraph) {
  const DatasetFile dataset = open();
  ModelConfig inmo = small_config(ModelKind::inmo);
  inmo.layers = 0;
  expect_same_model(dataset, inmo, small_config(ModelKind::inmo_mf));
  ModelConfig lightgcn = small_config(ModelKind::lightgcn);
  lightgcn.layers = 0;
  expect_same_model(dataset, lightgcn, small_config(ModelKind::mf));
}

TEST_F(Identities, OneDomainHasNoContrastivePart) {
  const DatasetFile dataset = open({.domains = 1});
  ModelConfig config = small_config(ModelKind::micrec);
  config.modalities = {"text"};
  config.contrastive_weight = 5;
  ModelConfig without = config;
  without.contrastive_weight = 0;
  expect_same_model(dataset, config, without);
  EXPECT_EQ(sharded_step(dataset, config, on(1), {}, 50, kTime).loss.of("contrastive"), 0);
}

TEST_F(Identities, AModalityThatNoItemHasChangesNothing) {
  SmallWorld world;
  const DatasetFile complete = open(world);
  world.masked = {"image"};
  const DatasetFile masked = open(world);

  // Semantic neighbours alone, in training: the same initial values, so the same bits.
  ModelConfig both = small_config(ModelKind::micrec);
  both.modalities = {"image", "text"};
  both.content = false;
  ModelConfig text_alone = both;
  text_alone.modalities = {"text"};
  ShardedStep with = sharded_step(masked, both, on(2), {}, 50, kTime);
  ShardedStep without = sharded_step(masked, text_alone, on(2), {}, 50, kTime);
  EXPECT_EQ(at::count_nonzero(with.gradients.at("semantic.logits")).item<std::int64_t>(), 0);
  with.gradients.erase("semantic.logits");
  without.gradients.erase("semantic.logits");
  expect_same_step(with, without);

  // The whole model, where the features went away after training.
  both.content = text_alone.content = true;
  WholeTensors parameters, buffers;
  on_ranks(complete, both, on(1), [&](ModelRank& rank) {
    parameters = gather_parameters(rank);
    buffers = gather_buffers(rank);
  });
  parameters["content.logits"] = at::tensor({0.7F, -0.4F});
  parameters["semantic.logits"] = at::tensor({0.2F, 0.9F});
  ShardedSetting restored = on(2);
  restored.initialise = false;
  const at::Tensor z = sharded_embeddings(masked, both, restored, parameters, buffers, 3);
  WholeTensors of_text = parameters, text_buffers = buffers;
  of_text.erase("content.projection.image");
  of_text["content.logits"] = at::tensor({-0.4F});
  of_text["semantic.logits"] = at::tensor({0.9F});
  std::erase_if(text_buffers, [](const auto& b) { return b.first.starts_with("features.image"); });
  const at::Tensor expected =
      sharded_embeddings(masked, text_alone, restored, of_text, text_buffers, 3);
  EXPECT_TRUE(at::equal(z, expected));
  const at::Tensor unmasked = sharded_embeddings(complete, both, restored, parameters, buffers, 3);
  EXPECT_FALSE(at::equal(z, unmasked));
}

TEST_F(Identities, ANodeWithoutNeighboursIsItsToken) {
  const DatasetFile dataset = open();
  const DenseWorld world = read_dense_world(dataset);
  const at::Tensor lone = (world.training.sum(1) == 0).nonzero().squeeze(1);
  ASSERT_GT(lone.size(0), 8);  // users and items of both domains
  for (const int layers : {0, 1, 3}) {
    ModelConfig config = small_config(ModelKind::inmo);
    config.layers = layers;
    on_ranks(dataset, config, on(1), [&](ModelRank& rank) {
      const at::Tensor z = rank.model.embeddings(11);
      const WholeTensors parameters = gather_parameters(rank);
      for (std::int64_t n = 0; n < lone.size(0); ++n) {
        const std::int64_t node = lone[n].item<std::int64_t>();
        const at::Tensor token =
            parameters.at("tokens")[world.kind[node].argmax().item<std::int64_t>()];
        EXPECT_TRUE(at::allclose(z[node], token / (layers + 1), 1e-6, 1e-8)) << node;
        if (layers == 0) {
          EXPECT_TRUE(at::equal(z[node], token)) << node;
        }
      }
    });
  }
}

TEST_F(Identities, TheExponentStartsAtMinusOneHalfAndNearsMinusOne) {
  const DatasetFile dataset = open();
  const DenseWorld world = read_dense_world(dataset);
  const at::Tensor degree = world.training.sum(1, true);
  on_ranks(dataset, small_config(ModelKind::inmo_mf), on(1), [&](ModelRank& rank) {
    const WholeTensors parameters = gather_parameters(rank);
    const at::Tensor sum = at::mm(world.training, parameters.at("embedding").to(at::kDouble)) +
                           at::mm(world.kind, parameters.at("tokens").to(at::kDouble));
    const auto expect_rows = [&](std::int64_t epoch, const at::Tensor& expected) {
      const at::Tensor z = rank.model.embeddings(epoch).to(at::kDouble);
      EXPECT_TRUE(at::allclose(z, expected, 1e-5, 1e-7)) << "epoch " << epoch;
    };
    expect_rows(0, sum / (degree + 1).sqrt());
    expect_rows(1, sum * (degree + 1).pow(0.99 / 2 - 1));
    expect_rows(10'000, sum / (degree + 1));
  });
}

TEST_F(Identities, WhoComesLaterChangesNothingThatIsTrained) {
  SmallWorld world;
  const DatasetFile with_later = open(world);
  world.later_interactions = false;
  const DatasetFile without = open(world);
  const DenseWorld dense = read_dense_world(with_later);
  ASSERT_GT((dense.all - dense.training).sum().item<double>(), 20);
  ModelConfig config = small_config(ModelKind::micrec);
  config.modalities = {"image", "text"};
  config.template_ratio = 0.9;
  config.share_templates = 0.5;
  const ShardedStep a = sharded_step(with_later, config, on(2), {}, 50, kTime);
  const ShardedStep b = sharded_step(without, config, on(2), {}, 50, kTime);
  expect_same_step(a, b);
  ASSERT_EQ(a.buffers.size(), b.buffers.size());
  for (const auto& [name, buffer] : a.buffers) {
    EXPECT_TRUE(at::equal(buffer, b.buffers.at(name))) << name;
  }
  // A node that training does not know has nothing to train.
  const at::Tensor unknown = (dense.training.sum(1) == 0).nonzero().squeeze(1);
  EXPECT_EQ(
      at::count_nonzero(a.gradients.at("embedding").index_select(0, unknown)).item<std::int64_t>(),
      0);
}

TEST_F(Identities, NodesThatAreNoTemplatesHaveNoGradient) {
  const DatasetFile dataset = open();
  ModelConfig config = small_config(ModelKind::micrec);
  config.modalities = {"text"};
  config.template_ratio = 0.4;
  const ShardedStep step = sharded_step(dataset, config, on(3), {}, 50, kTime);
  const at::Tensor others = (step.buffers.at("template_mask") == 0).nonzero().squeeze(1);
  ASSERT_GT(others.size(0), 20);
  const at::Tensor gradient = step.gradients.at("embedding");
  EXPECT_EQ(at::count_nonzero(gradient.index_select(0, others)).item<std::int64_t>(), 0);
  EXPECT_GT(at::count_nonzero(gradient).item<std::int64_t>(), 0);
}

TEST_F(Identities, TheOrderOfTheDomainsChangesNothingButRounding) {
  PreparedDataset prepared = make_small_world({});
  const std::string forward_path = folder_ / "forward.h5", backward_path = folder_ / "backward.h5";
  write_dataset(prepared, forward_path);
  std::reverse(prepared.domains.begin(), prepared.domains.end());
  std::reverse(prepared.person_of_user.begin(), prepared.person_of_user.end());
  write_dataset(prepared, backward_path);
  const DatasetFile forward = DatasetFile::open(forward_path);
  const DatasetFile backward = DatasetFile::open(backward_path);
  const NodeSpace there = read_dense_world(forward).space;
  const NodeSpace here = read_dense_world(backward).space;
  std::vector<std::int64_t> source;  // of every node here, its number there
  for (std::int64_t n = 0; n < here.nodes(); ++n) {
    const auto node = GlobalNode(static_cast<std::int32_t>(n));
    const int domain = 1 - here.domain_of(node);
    const std::int64_t number = here.number_in_domain(node);
    source.push_back(
        value(here.is_user(node) ? there.user(domain, number) : there.item(domain, number)));
  }
  const at::Tensor order = at::tensor(source, at::kLong);

  ModelConfig config = small_config(ModelKind::micrec);
  config.modalities = {"image", "text"};
  WholeTensors parameters, buffers;
  at::Tensor z;
  on_ranks(forward, config, on(1), [&](ModelRank& rank) {
    z = rank.model.embeddings(3);
    rank.model.fit_ridge(z);
    z = rank.model.embeddings(3);
    parameters = gather_parameters(rank);
    buffers = gather_buffers(rank);
  });
  parameters["embedding"] = parameters.at("embedding").index_select(0, order);
  parameters["tokens"] =
      parameters.at("tokens").index_select(0, at::tensor({1, 0, 3, 2}, at::kLong));
  parameters["semantic.gate"] = parameters.at("semantic.gate").flip(0);
  buffers["template_mask"] = buffers.at("template_mask").index_select(0, order);
  std::swap(buffers.at("ridge.0.1"), buffers.at("ridge.1.0"));
  ShardedSetting setting = on(2);
  setting.initialise = false;
  const at::Tensor other = sharded_embeddings(backward, config, setting, parameters, buffers, 3);
  EXPECT_TRUE(at::allclose(other, z.index_select(0, order), 1e-4, 1e-6));
}

}  // namespace
}  // namespace micrec
