// What the program does for a GPU, on a device that the host plays: the model, its training, saving
// and resuming, at several ranks, against the CPU.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/checkpoint.h"
#include "checkpoints/store.h"
#include "data/batches.h"
#include "graph/linear_operator.h"
#include "kernel_cases.h"
#include "kernels/neighbour_sum_call.h"
#include "kernels/triple_element.h"
#include "played_device.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "train/log/device_activity.h"
#include "train/plan/plan_inputs.h"
#include "train/trainer.h"

namespace micrec {
namespace {

constexpr std::int64_t kBatch = 48;
constexpr std::int64_t kSteps = 6;

ModelConfig model_of(const std::string& name) {
  ModelConfig config;
  config.kind = *std::ranges::find(kModelKinds, name,
                                   [](ModelKind kind) { return std::string(name_of(kind)); });
  config.dim = 8;
  config.layers = name == "mf" ? 0 : 2;
  config.l2 = 1e-3;
  if (config.inductive()) config.dropout = 0.2;
  if (name != "micrec") return config;
  config.domain_weights = DomainWeights::balanced;
  config.template_ratio = 0.8;
  config.share_templates = 0.5;
  config.modalities = {"image", "text"};
  config.feature_dim = 4;
  config.semantic_neighbors = 3;
  config.cold_simulation = 0.2;
  config.contrastive_weight = 0.1;
  config.contrastive_batch = 6;
  return config;
}

struct Outcome {
  std::vector<StepRecord> records;
  WholeTensors values;                // parameters, both moments ("m:", "v:") and buffers
  at::Tensor z;                       // (whole rows, dim) of rank 0
  std::vector<std::int64_t> uploads;  // of all ranks, until the end of each of rank 0's steps
  std::int64_t all_uploads = 0;
  std::map<std::string, double> sent;  // bytes of all ranks a step, by collective
};

class OnDevice : public testing::Test {
 protected:
  OnDevice() : dataset_(write_small_world({}, folder_ / "world.h5")) {}

  EpochSampler sampler_of(const ModelRank& rank, std::uint64_t seed) {
    const Shard& shard = rank.shard;
    return {shard.space(),
            read_training_share(dataset_, shard.space(), shard.ownership, shard.rank()),
            eligible_items(dataset_, shard.space()),
            {Sampling::interactions, kBatch, seed}};
  }

  Outcome train(const ModelConfig& model, ShardedSetting setting, const std::string& directory,
                std::int64_t steps, bool resumes = false) {
    Outcome run;
    const std::int64_t uploads_before = device_work().uploads;
    setting.initialise = !resumes;
    if (!setting.device.is_cpu()) setting.over = over_played_device;
    on_ranks(dataset_, model, setting, [&](ModelRank& rank) {
      const bool is_first = rank.communicator.rank() == 0;
      EpochSampler sampler = sampler_of(rank, setting.seed);
      CheckpointStore store(folder_ / directory, rank.communicator);
      TrainingConfig config;
      config.learning_rate = 0.02;
      Optimizer optimizer(rank.model);
      TrainingState state;
      if (resumes) {
        state = restore(
            Checkpoint::open(newest_checkpoint(store.directory()).value(), rank.communicator),
            rank.model, &optimizer);
      }
      CheckpointInfo description;
      description.config = "--model=micrec\n";
      description.dataset_fingerprint = dataset_.fingerprint();
      config.max_steps = steps;
      config.log_every = 1;
      config.validate_every = 0;
      config.validate_every_steps = has_breaks_ ? 3 : 0;
      config.save_every_steps = has_breaks_ ? 2 : 0;
      TrainingEvents events;
      events.stepped = [&](const StepRecord& record) {
        if (!is_first) return;
        run.records.push_back(record);
        run.uploads.push_back(device_work().uploads - uploads_before);
      };
      events.validate = [&](const TrainingState& at, const at::Tensor& z) {
        EXPECT_EQ(z.device(), rank.shard.device);
        EXPECT_TRUE(z.isfinite().all().item<bool>());
        return static_cast<double>(at.step);
      };
      Trainer trainer(config, rank.model, optimizer, sampler, store, description, events);
      trainer.run(state);
      const LedgerEntries sent = rank.communicator.ledger().snapshot();
      const std::map<std::string, LedgerOverRanks> over_all = over_ranks(rank.communicator, sent);
      const at::Tensor z = rank.model.embeddings(0).cpu();
      WholeTensors values = gather_parameters(rank);
      std::size_t next = 0;
      for (const Parameter& parameter : rank.model.parameters()) {
        const Optimizer::Moments& moments = optimizer.moments()[next++];
        values["m:" + parameter.name] = gather_like(rank, parameter, moments.first);
        values["v:" + parameter.name] = gather_like(rank, parameter, moments.second);
      }
      values.merge(gather_buffers(rank));
      if (!is_first) return;
      run.z = z;
      for (const auto& [name, of_name] : over_all) {
        run.sent[name] = static_cast<double>(of_name.total.bytes_sent) / kSteps;
      }
      for (const auto& [name, value] : values) run.values[name] = value.cpu();
    });
    run.all_uploads = device_work().uploads - uploads_before;
    return run;
  }

  struct Diverging {
    std::string told;
    std::int64_t steps_told = 0;
    std::int64_t state_step = 0;
    WholeTensors before, after;  // parameters and moments: after step 3, and when it was told
  };

  // In the third step, whose loss is known by then, parameters of rank 0 become not finite.
  Diverging diverge(const ModelConfig& model, ShardedSetting setting, std::int64_t log_every) {
    Diverging run;
    if (!setting.device.is_cpu()) setting.over = over_played_device;
    on_ranks(dataset_, model, setting, [&](ModelRank& rank) {
      const bool is_first = rank.communicator.rank() == 0;
      EpochSampler sampler = sampler_of(rank, setting.seed);
      CheckpointStore store(folder_ / "diverging", rank.communicator);
      TrainingConfig config;
      config.max_steps = 8;
      config.log_every = log_every;
      config.save_every_epochs = 0;
      Optimizer optimizer(rank.model);
      const auto collect = [&] {
        WholeTensors values = gather_parameters(rank);
        std::size_t next = 0;
        for (const Parameter& parameter : rank.model.parameters()) {
          values["v:" + parameter.name] =
              gather_like(rank, parameter, optimizer.moments()[next++].second);
        }
        for (auto& [name, value] : values) {
          if (value.defined()) value = value.cpu();
        }
        return values;
      };
      TrainingState state;
      TrainingEvents events;
      WholeTensors before;
      events.stop_requested = [&] {  // when the forward part of a step is given
        const c10::NoGradGuard no_gradient;
        if (state.step == 2 && is_first) {
          rank.model.parameters().front().value.fill_(std::nan(""));
        }
        if (state.step == 3) before = collect();
        return false;
      };
      events.stepped = [&](const StepRecord&) {
        if (is_first) ++run.steps_told;
      };
      Trainer trainer(config, rank.model, optimizer, sampler, store, {}, events);
      std::string told;
      try {
        trainer.run(state);
      } catch (const Error& error) {
        EXPECT_EQ(error.cause(), Cause::diverged);
        told = error.what();
      }
      const WholeTensors after = collect();
      if (!is_first) return;
      run = {told, run.steps_told, state.step, before, after};
    });
    return run;
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  bool has_breaks_ = true;  // validations and savings between steps
};

void expect_close(const at::Tensor& got, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  const at::Tensor a = got.to(at::kDouble), b = expected.to(at::kDouble);
  const double largest = b.numel() == 0 ? 0 : b.abs().max().item<double>();
  const double off = b.numel() == 0 ? 0 : (a - b).abs().max().item<double>();
  EXPECT_LE(off, 1e-4 * largest + 1e-9) << what;
}

TEST_F(OnDevice, EveryModelTrainsAsOnTheCpuOnAnyGrid) {
  for (const std::string name :
       {"mf", "lightgcn", "inmo_mf", "inmo", "micrec", "ials", "popularity"}) {
    const ModelConfig model = model_of(name);
    const Outcome expected = train(model, {}, name, kSteps);
    ASSERT_EQ(expected.records.size(), static_cast<std::size_t>(kSteps));
    for (const auto& [rows, columns] :
         std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {1, 2}, {3, 1}, {2, 2}}) {
      if (model.is_solved() && columns > 1) continue;
      ShardedSetting setting;
      setting.ranks = rows;
      setting.columns = columns;
      setting.device = played_device();
      const std::string what = text(name, " on ", rows, "x", columns);
      const Outcome got = train(model, setting, what, kSteps);
      ASSERT_EQ(got.records.size(), expected.records.size()) << what;
      for (std::size_t n = 0; n < got.records.size(); ++n) {
        const double loss = expected.records[n].loss;
        EXPECT_NEAR(got.records[n].loss, loss, 1e-5 * std::abs(loss)) << what << ", step " << n;
      }
      for (const auto& [key, value] : expected.values) {
        expect_close(got.values.at(key), value, text(what, ", ", key));
      }
    }
  }
}

TEST_F(OnDevice, AResumedRunHasTheBitsOfOneThatWasNeverStopped) {
  ShardedSetting setting;
  setting.device = played_device();
  const ModelConfig model = model_of("micrec");
  const Outcome whole = train(model, setting, "whole", kSteps);
  train(model, setting, "stopped", kSteps / 2);
  const Outcome resumed = train(model, setting, "stopped", kSteps, /*resumes=*/true);
  ASSERT_EQ(whole.values.size(), resumed.values.size());
  for (const auto& [key, value] : whole.values) {
    EXPECT_TRUE(at::equal(resumed.values.at(key), value)) << key;
  }
  EXPECT_TRUE(at::equal(resumed.z, whole.z));
}

TEST_F(OnDevice, InfersWhoeverJoinsLaterAsOnTheCpu) {
  for (const std::string name : {"mf", "lightgcn", "inmo", "micrec"}) {
    at::Tensor rows[2];  // of the CPU and of the device
    at::Tensor new_users[2];
    for (const bool on_device : {false, true}) {
      ShardedSetting setting;
      setting.observed = Observed::all;
      if (on_device) {
        setting.device = played_device();
        setting.over = over_played_device;
      }
      on_ranks(dataset_, model_of(name), setting, [&](ModelRank& rank) {
        rows[on_device] = rank.model.embeddings(1).cpu();
        new_users[on_device] = new_user_embeddings(rank.model, 0, {{0, 1, 5}, {}, {3}}, 1);
      });
    }
    expect_close(rows[1], rows[0], name);
    expect_close(new_users[1], new_users[0], name + ", new users");
  }
}

TEST_F(OnDevice, AStepUploadsAllThatItHasDrawnInOneCopy) {
  ShardedSetting setting;
  setting.device = played_device();
  for (const int layers : {1, 2, 4}) {
    ModelConfig model = model_of("lightgcn");
    model.layers = layers;
    const std::vector<std::int64_t> uploads =
        train(model, setting, text("layers", layers), kSteps).uploads;
    ASSERT_EQ(uploads.size(), static_cast<std::size_t>(kSteps));
    EXPECT_EQ(uploads[kSteps - 1] - uploads[kSteps - 2], 1) << layers << " layers";
  }
}

TEST_F(OnDevice, EachRankUploadsOnceAStep) {
  has_breaks_ = false;
  for (const auto& [rows, columns] :
       std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {1, 2}, {2, 2}}) {
    ShardedSetting setting;
    setting.device = played_device();
    setting.ranks = rows;
    setting.columns = columns;
    for (const std::string name : {"mf", "lightgcn", "micrec"}) {
      ModelConfig model = model_of(name);
      model.cold_simulation = 0;
      const auto uploads = [&](std::int64_t steps) {
        return train(model, setting, text(name, rows, columns, steps), steps).all_uploads;
      };
      EXPECT_EQ(uploads(kSteps) - uploads(kSteps - 2), 2 * rows * columns)
          << name << " on " << rows << "x" << columns;
    }
  }
}

TEST_F(OnDevice, HubsAmongPlannedRowsGoWithTheirBatch) {
  Pattern pattern;
  for (const std::int64_t degree : {3L, 2 * kHubChunk + 5, kHubChunk + 1}) {
    for (std::int32_t column = 0; column < degree; ++column) pattern.columns.push_back(column);
    pattern.offsets.push_back(static_cast<std::int64_t>(pattern.columns.size()));
  }
  const at::Tensor x = random_matrix(2 * kHubChunk + 5, 8, 1);
  const at::Tensor there = x.to(played_device());
  for (const std::vector<std::int32_t>& wanted : {std::vector<std::int32_t>{1, 2}, {0, 2}, {0}}) {
    const RowList rows(wanted);
    SumOptions options;
    options.rows = &rows;
    neighbour_sum(pattern, there, {});  // From here on the pattern is there.
    UploadBatch batch(played_device());
    batch.add(rows);
    add_hubs(pattern, rows, batch);
    batch.pack();
    batch.send();
    const std::int64_t before = device_work().uploads;
    const at::Tensor y = neighbour_sum(pattern, there, options);
    EXPECT_EQ(device_work().uploads, before) << wanted.size();
    EXPECT_TRUE(same_bits(y.cpu(), neighbour_sum(pattern, x, options)));
  }
}

TEST_F(OnDevice, AnExchangeUploadsNothing) {
  for (const auto& [rows, columns] : std::vector<std::pair<int, int>>{{2, 1}, {1, 2}, {2, 2}}) {
    ShardedSetting setting;
    setting.device = played_device();
    setting.ranks = rows;
    setting.columns = columns;
    for (const std::string name : {"lightgcn", "micrec"}) {
      std::set<std::int64_t> uploads;
      for (const int layers : {2, 4}) {
        ModelConfig model = model_of(name);
        model.layers = layers;
        const std::string what = text(name, rows, columns, layers);
        uploads.insert(train(model, setting, what, kSteps).all_uploads);
      }
      EXPECT_EQ(uploads.size(), 1U)
          << name << " on " << rows << "x" << columns << " uploads more for more layers";
    }
  }
}

TEST_F(OnDevice, AdamHasTheBitsOfTheCpu) { expect_adam_of_the_cpu(played_device()); }

TEST_F(OnDevice, TheLossOfTriplesIsTheCpus) {
  for (const std::int64_t triples : {0, 1, 200}) {
    for (const std::int64_t width : {1, 16, 64}) {
      expect_triple_loss_of_the_cpu(played_device(), triples, width);
    }
  }
  expect_triple_loss_of_the_cpu(played_device(), kTripleChunk + 7, 4);
}

TEST_F(OnDevice, TheContrastiveLossIsTheCpusAtAnyNumberOfRanksAndAnySizeOfTiles) {
  expect_contrastive_loss_of_the_cpu(played_device(), {{23}, {20, 3}, {9, 0, 14}, {0, 23, 0, 0}},
                                     over_played_device);
}

TEST_F(OnDevice, AContrastiveLossTakesFewLaunches) {
  run_ranks(1, [](Communicator& host) {
    const std::unique_ptr<Communicator> alone = over_played_device(host);
    const at::Tensor a = random_matrix(50, 16, 1).to(played_device()).requires_grad_(true);
    const at::Tensor b = random_matrix(50, 16, 2).to(played_device()).requires_grad_(true);
    const DeviceWork before = device_work();
    const at::Tensor loss = contrastive_on_device(a, b, {50}, 0.2, *alone);
    run_backward({loss}, {{}});
    const DeviceWork work = device_work() - before;
    EXPECT_LE(work.launches, 17) << "both ways, in one tile";
    EXPECT_EQ(work.waits, 0);
  });
}

TEST_F(OnDevice, AContrastiveLossOfNobodyIsLegal) {
  run_ranks(1, [](Communicator& host) {
    const std::unique_ptr<Communicator> alone = over_played_device(host);
    const at::Tensor none = at::zeros({0, 8}).to(played_device()).requires_grad_(true);
    const at::Tensor loss = contrastive_on_device(none, none, {0}, 0.2, *alone);
    run_backward({loss}, {{}});
    EXPECT_EQ(loss.detach().cpu().item<double>(), 0);
  });
}

// Of two ranks, where a sum sends what it must.
TEST_F(OnDevice, APlanCountsSumsAsTheyTravel) {
  const DatasetSummary summary = summarise(dataset_);
  ModelConfig model = model_of("micrec");
  model.cold_simulation = 0;
  const Ownership ownership = scattered_ownership(summary, 2);
  const SamplingConfig sampling = {Sampling::interactions, kBatch, /*seed=*/3};
  PlanInputs inputs = read_plan_inputs({dataset_.path(), model, sampling, {}, sampling.seed},
                                       SemanticDetail::estimated);
  for (const bool on_gpu : {false, true}) {
    inputs.shape.on_gpu = on_gpu;
    const GridPlan plan = plan_grid(inputs, ownership, {2, 1}, {});
    ShardedSetting setting;
    setting.ranks = 2;
    setting.checks_collectives = false;
    if (on_gpu) setting.device = played_device();
    Outcome run = train(model, setting, text("planned", on_gpu), kSteps);
    for (const char* name : {"step.dense", "step.votes"}) {
      const CollectiveBytes* const planned = plan.bytes.find(name);
      EXPECT_DOUBLE_EQ(run.sent[name], planned == nullptr ? 0 : planned->total())
          << name << (on_gpu ? " on a GPU" : "");
    }
  }
}

// The loss of the fourth step is not finite. It is seen where the loss is read next, and until then
// no step was taken.
TEST_F(OnDevice, NoStepIsTakenFromALossThatIsNotFinite) {
  const ModelConfig model = model_of("inmo");
  for (const bool on_device : {false, true}) {
    for (const std::int64_t log_every : {1, 7}) {
      ShardedSetting setting;
      setting.ranks = 2;
      if (on_device) setting.device = played_device();
      const Diverging run = diverge(model, setting, log_every);
      const std::string what = text(on_device ? "device" : "cpu", ", logged every ", log_every);
      EXPECT_NE(run.told.find("the loss of step 4 (epoch 2) is "), std::string::npos)
          << what << ": " << run.told;
      EXPECT_EQ(run.steps_told, log_every == 1 ? 3 : 0) << what;
      EXPECT_EQ(run.state_step, 3) << what;
      ASSERT_FALSE(run.before.empty());
      for (const auto& [key, value] : run.before) {
        EXPECT_TRUE(same_bits(run.after.at(key), value)) << what << ", " << key;
      }
    }
  }
}

TEST_F(OnDevice, ARecorderThatSeesNothingSaysWhy) {
  DeviceRecorder recorder(played_device());
  const at::Tensor x = at::ones({3, 2}).to(played_device());
  EXPECT_EQ((x + x).sum().item<float>(), 12);
  EXPECT_TRUE(recorder.stop().empty());
  EXPECT_NE(recorder.why_none(), "");
}

TEST_F(OnDevice, BackwardStaysOnTheThreadThatCallsIt) {
  const auto thread_of = [](const auto& backward) {
    const at::Tensor x = at::ones({3, 2}).to(played_device()).requires_grad_(true);
    std::thread::id thread;
    const at::Tensor y =
        with_transpose("recorded", x, x.detach().clone(), [&thread](const at::Tensor& g) {
          thread = std::this_thread::get_id();
          return g;
        });
    backward({y}, {at::ones({3, 2}).to(played_device())});
    EXPECT_TRUE(at::equal(x.grad().cpu(), at::ones({3, 2})));
    return thread;
  };
  using Tensors = std::vector<at::Tensor>;
  EXPECT_EQ(thread_of([](const Tensors& y, const Tensors& g) { run_backward(y, g); }),
            std::this_thread::get_id());
  EXPECT_NE(thread_of([](const Tensors& y, const Tensors& g) { torch::autograd::backward(y, g); }),
            std::this_thread::get_id())
      << "LibTorch by itself; without this the test shows nothing";
}

}  // namespace
}  // namespace micrec
