#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "cluster/ledger.h"
#include "cluster/thread_communicator.h"
#include "data/batches.h"
#include "model/model.h"
#include "model/step/shard.h"
#include "partition/planning/run_plan.h"
#include "partition/process_grid.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "train/plan/plan_inputs.h"
#include "train/trainer.h"

namespace micrec {
namespace {

/// Mean bytes of a training step, counted.
std::map<std::string, double> counted_bytes(const DatasetFile& dataset,
                                            const DatasetSummary& summary,
                                            const ModelConfig& config, const Ownership& rows,
                                            ProcessGrid grid, const SamplingConfig& sampling,
                                            int steps) {
  const TemporaryFolder folder;
  std::map<std::string, double> mean;
  run_ranks(grid.ranks(), [&](Communicator& communicator) {
    const GridGroups groups = split_world(communicator, grid);
    const Shard shard =
        load_shard(dataset, summary, make_layout(summary.space, summary.people, rows, grid),
                   Observed::training, groups);
    Model model(config, dataset, shard, /*seed=*/3,
                search_semantic_neighbours(dataset, shard, config));
    model.initialise();
    EpochSampler sampler(summary.space,
                         read_training_share(dataset, summary.space, shard.ownership, shard.rank()),
                         eligible_items(dataset, summary.space), sampling);
    CheckpointStore checkpoints(folder.path(), communicator);
    Optimizer optimizer(model);
    Trainer trainer({}, model, optimizer, sampler, checkpoints, {}, {});
    const LedgerEntries before = communicator.ledger().snapshot();
    TrainingState state;
    // Whole batches alone: the last of an epoch is shorter.
    const std::int64_t whole = std::max<std::int64_t>(1, trainer.steps_per_epoch() - 1);
    for (int step = 0; step < steps; ++step) {
      state.step = step / whole * trainer.steps_per_epoch() + step % whole;
      trainer.take_step(state);
    }
    const LedgerEntries own = since(before, communicator.ledger().snapshot());
    for (const auto& [name, over_all] : over_ranks(communicator, own)) {
      if (communicator.rank() != 0 || over_all.total.bytes_sent == 0) continue;
      mean[name] = static_cast<double>(over_all.total.bytes_sent) / steps;
    }
  });
  return mean;
}

class PlanBytes : public ::testing::Test {
 protected:
  PlanBytes()
      : dataset_(write_small_world({.domains = 2, .users = 60, .items = 50, .hold_outs = true},
                                   folder_ / "world.h5")),
        summary_(summarise(dataset_)) {}

  void expect_as_counted(ModelConfig config, const SamplingConfig& sampling, ProcessGrid grid) {
    const TrainingTask task(dataset_.path(), config, sampling, {}, sampling.seed);
    config = task.model;
    const Ownership ownership =
        assign_balanced(summary_.space, summary_.people, summary_.training_degree, grid.rows);
    const PlanInputs inputs = read_plan_inputs(task, SemanticDetail::found);
    const GridPlan plan = plan_grid(inputs, ownership, grid, {});
    const std::map<std::string, double> counted =
        counted_bytes(dataset_, summary_, config, ownership, grid, sampling, 60);
    for (const CollectiveBytes& collective : plan.bytes.collectives) {
      ASSERT_TRUE(counted.count(collective.name)) << collective.name << " was planned, not sent";
      const double sent = counted.at(collective.name);
      if (collective.name == "step.dense" || collective.name == "ials.gram") {
        // A small sum goes in one exchange of everything with everyone, which is more than it must.
        EXPECT_LE(collective.total(), 1.000001 * sent) << collective.name;
        EXPECT_LE(sent, 1.000001 * collective.total() * std::max(1.0, grid.rows / 2.0));
        continue;
      }
      const bool is_random = collective.name.starts_with("batch.") ||
                             collective.name == "halo.propagate.active" ||
                             collective.name.starts_with("contrastive.");
      EXPECT_NEAR(collective.total(), sent, (is_random ? 0.05 : 1e-9) * sent)
          << collective.name << " on " << to_text(grid);
    }
    double all = 0;
    for (const auto& [name, bytes] : counted) {
      all += bytes;
      EXPECT_NE(plan.bytes.find(name), nullptr) << name << " was sent, not planned";
    }
    if (config.is_solved()) return;  // small sums are most of it
    EXPECT_LE(all, 1.2 * plan.bytes.total()) << to_text(grid);
    EXPECT_GE(all, 0.98 * plan.bytes.total()) << to_text(grid);
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  DatasetSummary summary_;
};

SamplingConfig sampling(std::int64_t batch, Sampling kind = Sampling::interactions) {
  return {kind, batch, /*seed=*/5};
}

TEST_F(PlanBytes, AreThoseThatAStepSendsWithAllParts) {
  ModelConfig config;
  config.dim = 16;
  config.layers = 3;
  config.modalities = {"image", "text"};
  config.semantic_neighbors = 3;
  config.contrastive_batch = 12;
  for (const ProcessGrid grid : {ProcessGrid{2, 1}, {3, 1}, {5, 1}, {1, 2}, {1, 4}, {2, 2}}) {
    expect_as_counted(config, sampling(64), grid);
  }
}

TEST_F(PlanBytes, AreThoseOfColdSimulationAndOfUserSampling) {
  ModelConfig config;
  config.dim = 8;
  config.layers = 2;
  config.modalities = {"text"};
  config.cold_simulation = 0.2;
  expect_as_counted(config, sampling(32, Sampling::users), {4, 1});
}

TEST_F(PlanBytes, AreThoseOfTheBaselines) {
  for (const ModelKind kind :
       {ModelKind::mf, ModelKind::lightgcn, ModelKind::inmo_mf, ModelKind::inmo}) {
    ModelConfig config;
    config.kind = kind;
    config.dim = 8;
    config.layers = kind == ModelKind::lightgcn ? 1 : 3;
    expect_as_counted(config, sampling(48), {4, 1});
    expect_as_counted(config, sampling(48), {2, 4});
  }
}

TEST_F(PlanBytes, AreThoseOfKindsThatAreSolved) {
  for (const ModelKind kind :
       {ModelKind::ials, ModelKind::popularity, ModelKind::item_regression}) {
    ModelConfig config;
    config.kind = kind;
    config.dim = 8;
    expect_as_counted(config, sampling(48), {2, 1});
    expect_as_counted(config, sampling(48), {5, 1});
  }
}

TEST_F(PlanBytes, OneRankPlansAndSendsNothing) {
  ModelConfig config;
  config.dim = 8;
  config.modalities = {"text"};
  expect_as_counted(config, sampling(48), {1, 1});
}

}  // namespace
}  // namespace micrec
