// What a steady step of training asks of a device, counted on one that the host plays.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "checkpoints/store.h"
#include "data/batches.h"
#include "played_device.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "train/trainer.h"

namespace micrec {
namespace {

constexpr std::int64_t kTriples = 12;
constexpr std::int64_t kCountedSteps = 8;

ModelConfig model_of(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.dim = 8;
  config.l2 = kind == ModelKind::lightgcn ? 1e-4 : 0;
  if (kind == ModelKind::inmo) config.dropout = 0.3;
  if (kind != ModelKind::micrec) return config;
  config.modalities = {"text"};
  config.feature_dim = 4;
  config.semantic_neighbors = 3;
  config.contrastive_batch = 6;
  return config;
}

// Of the step before the last, in the middle of an epoch, which prints, saves and validates
// nothing.
DeviceWork work_of_a_step(const ModelConfig& model) {
  const TemporaryFolder folder;
  const DatasetFile dataset = write_small_world({}, folder / "world.h5");
  ShardedSetting setting;
  setting.device = played_device();
  setting.over = over_played_device;
  std::vector<DeviceWork> at_begin;
  on_ranks(dataset, model, setting, [&](ModelRank& rank) {
    EpochSampler sampler(rank.shard.space(),
                         read_training_share(dataset, rank.shard.space(), rank.shard.ownership, 0),
                         eligible_items(dataset, rank.shard.space()),
                         {Sampling::interactions, kTriples, setting.seed});
    ASSERT_GT(sampler.steps_per_epoch(), kCountedSteps);
    CheckpointStore store(folder / "run", rank.communicator);
    TrainingConfig config;
    config.max_steps = kCountedSteps;
    config.log_every = 1000;
    Optimizer optimizer(rank.model);
    TrainingEvents events;
    events.stop_requested = [&] {  // once a step
      at_begin.push_back(device_work());
      return false;
    };
    CheckpointInfo description;
    description.config = "--model=micrec\n";
    description.dataset_fingerprint = dataset.fingerprint();
    Trainer trainer(config, rank.model, optimizer, sampler, store, description, events);
    TrainingState state;
    trainer.run(state);
  });
  return at_begin.at(kCountedSteps - 1) - at_begin.at(kCountedSteps - 2);
}

struct Most {
  const char* name;
  ModelConfig model;
  std::int64_t launches, uploads, waits;
};

ModelConfig with_cold_items(ModelConfig config) {
  config.cold_simulation = 0.3;
  return config;
}

TEST(StepWork, IsNoMoreThanItMustBe) {
  std::printf("a step of   launches  uploads  downloads  waits\n");
  for (const Most& most :
       {Most{"mf", model_of(ModelKind::mf), 21, 1, 0},
        Most{"lightgcn", model_of(ModelKind::lightgcn), 25, 1, 0},
        Most{"inmo", model_of(ModelKind::inmo), 46, 1, 0},
        Most{"micrec", model_of(ModelKind::micrec), 99, 1, 0},
        Most{"cold items", with_cold_items(model_of(ModelKind::micrec)), 118, 1, 0}}) {
    const DeviceWork work = work_of_a_step(most.model);
    const char* const name = most.name;
    std::printf("%-10s  %8ld  %7ld  %9ld  %5ld\n", name, work.launches, work.uploads,
                work.downloads, work.waits);
    std::string operators;
    for (const auto& [which, count] : work.by_operator) {
      operators += which + " " + std::to_string(count) + "\n";
    }
    EXPECT_LE(work.launches, most.launches) << name << ":\n" << operators;
    EXPECT_LE(work.uploads, most.uploads) << name;
    EXPECT_LE(work.waits, most.waits) << name;
    EXPECT_LE(work.downloads, work.waits) << name;
  }
}

}  // namespace
}  // namespace micrec
