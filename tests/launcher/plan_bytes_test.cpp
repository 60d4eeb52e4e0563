#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cluster/thread_communicator.h"
#include "data/batches.h"
#include "launcher/plan_inputs.h"
#include "model/model.h"
#include "model/shard.h"
#include "partition/run_plan.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "train/trainer.h"

namespace micrec {
namespace {

/// Bytes sent to other ranks by the names of collectives, of all ranks together.
class Ledger {
 public:
  void add(const char* name, double bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    bytes_[name] += bytes;
  }
  void clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    bytes_.clear();
  }
  const std::map<std::string, double>& bytes() const { return bytes_; }

 private:
  std::mutex mutex_;
  std::map<std::string, double> bytes_;
};

double bytes_of(const at::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }

/// Counts what passes through another communicator.
class CountingCommunicator final : public Communicator {
 public:
  CountingCommunicator(Communicator& inner, Ledger& ledger) : inner_(inner), ledger_(ledger) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void barrier(const char* name) override { inner_.barrier(name); }
  at::Tensor all_gather(const char* name, const at::Tensor& local,
                        const std::vector<std::int64_t>& rows_per_rank) override {
    ledger_.add(name, bytes_of(local) * (size() - 1));
    return inner_.all_gather(name, local, rows_per_rank);
  }
  at::Tensor reduce_scatter(const char* name, const at::Tensor& full,
                            const std::vector<std::int64_t>& rows_per_rank) override {
    const at::Tensor own = inner_.reduce_scatter(name, full, rows_per_rank);
    ledger_.add(name, bytes_of(full) - bytes_of(own));
    return own;
  }
  at::Tensor all_to_all(const char* name, const at::Tensor& send,
                        const std::vector<std::int64_t>& send_rows,
                        const std::vector<std::int64_t>& receive_rows) override {
    if (send.size(0) > 0) {
      const double row = bytes_of(send) / static_cast<double>(send.size(0));
      ledger_.add(name, row * static_cast<double>(send.size(0) - send_rows[rank()]));
    }
    return inner_.all_to_all(name, send, send_rows, receive_rows);
  }
  void all_reduce(const char* name, at::Tensor& values, Reduction reduction) override {
    ledger_.add(name, 2 * bytes_of(values) * (size() - 1) / size());
    inner_.all_reduce(name, values, reduction);
  }
  void broadcast(const char* name, at::Tensor& values, int root) override {
    inner_.broadcast(name, values, root);
  }
  void abort(const std::string& why) noexcept override { inner_.abort(why); }

 private:
  Communicator& inner_;
  Ledger& ledger_;
};

/// Mean bytes of a training step, counted.
std::map<std::string, double> counted_bytes(const DatasetFile& dataset,
                                            const DatasetSummary& summary,
                                            const ModelConfig& config, const Ownership& ownership,
                                            const SamplingConfig& sampling, int steps) {
  Ledger ledger;
  const TemporaryFolder folder;
  run_ranks(ownership.ranks, [&](Communicator& inner) {
    CountingCommunicator communicator(inner, ledger);
    const Shard shard =
        load_shard(dataset, summary, ownership, Observed::training, 1, communicator);
    Model model(config, dataset, shard, /*seed=*/3);
    model.initialise();
    EpochSampler sampler(
        summary.space,
        read_training_share(dataset, summary.space, shard.ownership, communicator.rank()),
        eligible_items(dataset, summary.space), sampling);
    CheckpointStore checkpoints(folder.path(), communicator);
    Trainer trainer({}, model, sampler, checkpoints, {}, {});
    communicator.barrier("test.before");
    if (communicator.rank() == 0) ledger.clear();
    communicator.barrier("test.start");
    TrainingState state;
    // Whole batches alone: the last of an epoch is shorter.
    const std::int64_t whole = std::max<std::int64_t>(1, trainer.steps_per_epoch() - 1);
    for (int step = 0; step < steps; ++step) {
      state.step = step / whole * trainer.steps_per_epoch() + step % whole;
      trainer.take_step(state);
    }
    communicator.barrier("test.end");
  });
  std::map<std::string, double> mean;
  for (const auto& [name, bytes] : ledger.bytes()) mean[name] = bytes / steps;
  return mean;
}

class PlanBytes : public ::testing::Test {
 protected:
  PlanBytes()
      : dataset_(write_small_world({.domains = 2, .users = 60, .items = 50, .hold_outs = true},
                                   folder_ / "world.h5")),
        summary_(summarise(dataset_)) {}

  void expect_as_counted(ModelConfig config, const SamplingConfig& sampling, int ranks) {
    config = resolve(config, summary_.space.domains());
    const Ownership ownership =
        assign_balanced(summary_.space, summary_.people, summary_.training_degree, ranks);
    const PlanInputs inputs = read_plan_inputs(dataset_, summary_, config, sampling,
                                               SemanticDetail::found, /*threads=*/1);
    const GridPlan plan = plan_grid(inputs, ownership, {ranks, 1}, {});
    const std::map<std::string, double> counted =
        counted_bytes(dataset_, summary_, config, ownership, sampling, 60);
    for (const CollectiveBytes& collective : plan.bytes.collectives) {
      ASSERT_TRUE(counted.count(collective.name)) << collective.name << " was planned, not sent";
      const bool is_random = collective.name.starts_with("batch.") ||
                             collective.name == "halo.propagate.active" ||
                             collective.name.starts_with("contrastive.");
      const double sent = counted.at(collective.name);
      EXPECT_NEAR(collective.total(), sent, (is_random ? 0.03 : 1e-9) * sent)
          << collective.name << " at " << ranks << " ranks";
    }
    double all = 0;
    for (const auto& [name, bytes] : counted) {
      all += bytes;
      EXPECT_NE(plan.bytes.find(name), nullptr) << name << " was sent, not planned";
    }
    EXPECT_NEAR(plan.bytes.total(), all, 0.02 * all) << ranks << " ranks";
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  DatasetSummary summary_;
};

SamplingConfig sampling(std::int64_t batch, Sampling kind = Sampling::interactions) {
  return {kind, batch, /*seed=*/5, /*threads=*/1};
}

TEST_F(PlanBytes, AreThoseThatAStepSendsWithAllParts) {
  ModelConfig config;
  config.dim = 16;
  config.layers = 3;
  config.modalities = {"image", "text"};
  config.semantic_neighbors = 3;
  config.contrastive_batch = 12;
  for (const int ranks : {2, 3, 5}) expect_as_counted(config, sampling(64), ranks);
}

TEST_F(PlanBytes, AreThoseOfColdSimulationAndOfUserSampling) {
  ModelConfig config;
  config.dim = 8;
  config.layers = 2;
  config.modalities = {"text"};
  config.cold_simulation = 0.2;
  expect_as_counted(config, sampling(32, Sampling::users), 4);
}

TEST_F(PlanBytes, AreThoseOfTheBaselines) {
  for (const ModelKind kind :
       {ModelKind::mf, ModelKind::lightgcn, ModelKind::inmo_mf, ModelKind::inmo}) {
    ModelConfig config;
    config.kind = kind;
    config.dim = 8;
    config.layers = kind == ModelKind::lightgcn ? 1 : 3;
    expect_as_counted(config, sampling(48), 4);
  }
}

TEST_F(PlanBytes, OneRankPlansAndSendsNothing) {
  ModelConfig config;
  config.dim = 8;
  config.modalities = {"text"};
  expect_as_counted(config, sampling(48), 1);
}

}  // namespace
}  // namespace micrec
