#include "train/trainer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/stopped.h"
#include "base/text.h"
#include "base/timer.h"
#include "checkpoints/checkpoint.h"
#include "checkpoints/store.h"
#include "cluster/ledger.h"
#include "cluster/thread_communicator.h"
#include "tests/support/checkpoint_tensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/save_steps.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

constexpr std::int64_t kBatch = 48;

/// micrec with everything on.
ModelConfig everything() {
  ModelConfig config;
  config.dim = 8;
  config.layers = 2;
  config.l2 = 1e-3;
  config.domain_weights = DomainWeights::balanced;
  config.template_ratio = 0.8;
  config.share_templates = 0.5;
  config.dropout = 0.2;
  config.modalities = {"image", "text"};
  config.feature_dim = 4;
  config.semantic_neighbors = 3;
  config.cold_simulation = 0.2;
  config.contrastive_weight = 0.1;
  config.contrastive_batch = 6;
  return config;
}

TrainingConfig training(std::int64_t epochs) {
  TrainingConfig config;
  config.learning_rate = 0.02;
  config.epochs = epochs;
  config.log_every = 1;
  config.patience = 0;
  config.save_every_epochs = 0;
  config.save_every_minutes = 0;
  return config;
}

/// What a run leaves, seen from rank 0.
struct Outcome {
  TrainingEnd end = TrainingEnd::finished;
  TrainingState state;
  std::vector<StepRecord> records;
  std::vector<double> metrics;      // of the validations
  std::vector<std::int64_t> saved;  // steps of the checkpoints written
  WholeTensors values;              // parameters, both moments ("m:", "v:") and buffers
  std::int64_t steps_per_epoch = 0;
};

struct RunOptions {
  int ranks = 1;     // row parts
  int columns = 1;   // column parts
  int summands = 0;  // see ShardedSetting
  bool resume = false;
  ModelConfig model = everything();
  TrainingConfig training;
  /// The metric of a validation from the steps taken; by default it always improves.
  std::function<double(std::int64_t step)> metric = [](std::int64_t step) {
    return static_cast<double>(step);
  };
  std::function<bool(int rank, std::int64_t step)>
      stop;  // whether a rank asks to stop in this step
  bool validates = true;
  std::int64_t stopped_validation = 0;                            // of this step
  std::function<void(ModelRank&, std::int64_t step)> after_step;  // on every rank
  std::function<void(SaveStep)> save_step;                        // on every rank's writing thread
};

class TrainerTest : public testing::Test {
 protected:
  TrainerTest() : dataset_(write_small_world({}, folder_ / "world.h5")) {}

  std::string run_dir(const std::string& name) const { return folder_ / name; }

  Outcome train(const std::string& directory, const RunOptions& options) {
    Outcome run;
    std::mutex mutex;
    const int ranks = options.ranks * options.columns;
    std::vector<TrainingState> states(ranks);
    std::vector<TrainingEnd> ends(ranks);
    ShardedSetting setting;
    setting.ranks = options.ranks;
    setting.columns = options.columns;
    setting.summands = options.summands;
    setting.initialise = !options.resume;
    on_ranks(dataset_, options.model, setting, [&](ModelRank& rank) {
      Communicator& communicator = rank.communicator;
      const int number = communicator.rank();
      const NodeSpace& space = rank.shard.space();
      EpochSampler sampler(
          space, read_training_share(dataset_, space, rank.shard.ownership, rank.shard.rank()),
          eligible_items(dataset_, space), {Sampling::interactions, kBatch, setting.seed});
      CheckpointStore store(directory, communicator);
      Optimizer optimizer(rank.model);
      TrainingState state;
      if (options.resume) {
        state =
            restore(Checkpoint::open(newest_checkpoint(store.directory()).value(), communicator),
                    rank.model, &optimizer);
      }
      CheckpointInfo description;
      description.config = "--model=micrec\n";
      description.dataset_fingerprint = dataset_.fingerprint();
      TrainingEvents events;
      events.stepped = [&](const StepRecord& record) {
        if (number == 0) run.records.push_back(record);
        if (options.after_step) options.after_step(rank, record.step);
      };
      events.validate = [&](const TrainingState& at, const at::Tensor& z) {
        EXPECT_EQ(z.size(0), static_cast<std::int64_t>(rank.shard.whole_nodes.size()));
        EXPECT_EQ(z.size(1), rank.model.config().dim);
        EXPECT_TRUE(z.isfinite().all().item<bool>());
        if (at.step == options.stopped_validation) throw Stopped();
        return options.metric(at.step);
      };
      if (!options.validates) events.validate = nullptr;
      events.validated = [&](const TrainingState&, double metric, bool) {
        if (number == 0) run.metrics.push_back(metric);
      };
      events.saved = [&](const SavedCheckpoint& saved) {
        EXPECT_EQ(saved.name,
                  text("step-", std::to_string(1'000'000'000'000 + saved.step).substr(1)));
        EXPECT_GT(saved.bytes, 0);
        EXPECT_LE(saved.copy_seconds, saved.blocked_seconds);
        if (number == 0) run.saved.push_back(saved.step);
      };
      events.save_step = options.save_step;
      std::int64_t asked = state.step;
      events.stop_requested = [&] { return options.stop && options.stop(number, ++asked); };
      Trainer trainer(options.training, rank.model, optimizer, sampler, store, description, events);
      ends[number] = trainer.run(state);
      states[number] = state;

      WholeTensors values = gather_parameters(rank);
      std::size_t next = 0;
      for (const Parameter& parameter : rank.model.parameters()) {
        const Optimizer::Moments& moments = optimizer.moments()[next++];
        values["m:" + parameter.name] = gather_like(rank, parameter, moments.first);
        values["v:" + parameter.name] = gather_like(rank, parameter, moments.second);
      }
      values.merge(gather_buffers(rank));
      if (number != 0) return;
      run.values = std::move(values);
      run.steps_per_epoch = trainer.steps_per_epoch();
    });
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(ends[rank], ends[0]);
      EXPECT_EQ(states[rank].step, states[0].step);
      EXPECT_EQ(states[rank].best_step, states[0].best_step);
    }
    run.end = ends[0];
    run.state = states[0];
    return run;
  }

  static void expect_same_values(const Outcome& a, const Outcome& b) {
    ASSERT_EQ(a.values.size(), b.values.size());
    for (const auto& [name, value] : a.values) {
      EXPECT_TRUE(at::equal(value, b.values.at(name))) << name;
    }
  }

  static void expect_near_losses(const std::vector<StepRecord>& got,
                                 const std::vector<StepRecord>& expected, double relative) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t n = 0; n < got.size(); ++n) {
      EXPECT_EQ(got[n].step, expected[n].step);
      const auto near = [&](double a, double b, const std::string& what) {
        EXPECT_NEAR(a, b, relative * std::abs(b)) << what << " of step " << got[n].step;
      };
      near(got[n].loss, expected[n].loss, "loss");
      for (const auto& [name, part] : expected[n].parts.by_name) {
        near(got[n].parts.of(name), part, name);
      }
    }
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
};

TEST_F(TrainerTest, TheFirstStepsAreTheSameAtAnyNumberOfRanks) {
  RunOptions options;
  options.training = training(100);
  options.training.max_steps = 30;
  const Outcome one = train(run_dir("1"), options);
  ASSERT_EQ(one.records.size(), 30U);
  for (const StepRecord& record : one.records) {
    double sum = 0;
    for (const char* part : {"ranking", "l2", "self", "contrastive"}) {
      EXPECT_GT(record.parts.of(part), 0) << part;
      sum += record.parts.of(part);
    }
    EXPECT_NEAR(record.loss, sum, 1e-12);
    EXPECT_GT(record.triples_per_second, 0);
  }
  EXPECT_LT(one.records.back().parts.of("ranking"),
            0.95 * one.records.front().parts.of("ranking"));  // it learns
  for (const int ranks : {2, 3, 4}) {
    options.ranks = ranks;
    const Outcome several = train(run_dir(std::to_string(ranks)), options);
    expect_near_losses(several.records, one.records, 1e-4);
  }
}

TEST_F(TrainerTest, TheFirstStepsAreTheSameOnAnyGrid) {
  RunOptions options;
  options.training = training(100);
  options.training.max_steps = 30;
  const Outcome one = train(run_dir("1x1"), options);
  for (const ProcessGrid& grid : std::vector<ProcessGrid>{{1, 2}, {2, 2}, {1, 4}, {3, 2}}) {
    SCOPED_TRACE(to_text(grid));
    options.ranks = grid.rows;
    options.columns = grid.columns;
    expect_near_losses(train(run_dir(to_text(grid)), options).records, one.records, 1e-4);
  }
}

// All parameters, moments, ridge maps and losses after four epochs, for any grid.
TEST_F(TrainerTest, AReproducibleRunHasTheSameBitsOnAnyGrid) {
  RunOptions options;
  options.summands = 7;
  options.training = training(4);
  const Outcome one = train(run_dir("1x1"), options);
  ASSERT_GE(one.records.size(), 10U);
  const std::vector<ProcessGrid> grids = {{2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}, {3, 2}, {7, 1}};
  for (const ProcessGrid& grid : grids) {
    SCOPED_TRACE(to_text(grid));
    options.ranks = grid.rows;
    options.columns = grid.columns;
    const Outcome other = train(run_dir(to_text(grid)), options);
    expect_same_values(other, one);
    expect_near_losses(other.records, one.records, 0);
  }
}

// Propagation, templates and semantic neighbours act on each column by itself.
TEST_F(TrainerTest, ColumnPartsExchangeNoRowsOfTheGraph) {
  for (const ProcessGrid& grid : std::vector<ProcessGrid>{{1, 2}, {1, 4}, {2, 2}}) {
    SCOPED_TRACE(to_text(grid));
    RunOptions options;
    options.ranks = grid.rows;
    options.columns = grid.columns;
    options.training = training(1);
    options.training.max_steps = 2;
    std::atomic<std::int64_t> halo_bytes = 0, score_bytes = 0;
    options.after_step = [&](ModelRank& rank, std::int64_t step) {
      if (step != 2) return;
      for (const auto& [name, entry] : rank.communicator.ledger().snapshot()) {
        if (phase_of(name) == "halo") halo_bytes += entry.bytes_sent;
        if (name == "step.scores") score_bytes += entry.bytes_sent;
      }
    };
    train(run_dir(to_text(grid)), options);
    EXPECT_EQ(halo_bytes > 0, grid.rows > 1);
    EXPECT_GT(score_bytes, 0);
  }
}

TEST_F(TrainerTest, ACheckpointOfAGridGoesOnOnAnother) {
  RunOptions options;
  options.summands = 7;
  options.training = training(4);
  const Outcome whole = train(run_dir("whole"), options);
  for (const ProcessGrid& grid : std::vector<ProcessGrid>{{3, 1}, {1, 2}, {1, 1}, {2, 4}}) {
    SCOPED_TRACE(to_text(grid));
    const std::string directory = run_dir("from2x2to" + to_text(grid));
    options.ranks = options.columns = 2;
    options.resume = false;
    options.training = training(2);
    train(directory, options);
    EXPECT_EQ(
        read_whole(Checkpoint::open(newest_checkpoint(directory).value()), "embedding").size(1),
        options.model.dim);
    options.ranks = grid.rows;
    options.columns = grid.columns;
    options.resume = true;
    options.training = training(4);
    expect_same_values(train(directory, options), whole);
  }
}

// Four epochs are two epochs, a checkpoint, and two epochs of a fresh model: the same bits of every
// parameter and moment.
TEST_F(TrainerTest, AResumedRunIsTheSameRun) {
  for (const int ranks : {1, 2}) {
    RunOptions options;
    options.ranks = ranks;
    options.training = training(4);
    const Outcome whole = train(run_dir(text("whole", ranks)), options);
    EXPECT_EQ(whole.end, TrainingEnd::finished);
    EXPECT_EQ(whole.state.step, 4 * whole.steps_per_epoch);
    EXPECT_EQ(whole.metrics.size(), 4U);

    options.training = training(2);
    const Outcome first = train(run_dir(text("halves", ranks)), options);
    EXPECT_EQ(first.state.step, 2 * first.steps_per_epoch);
    options.training = training(4);
    options.resume = true;
    const Outcome second = train(run_dir(text("halves", ranks)), options);
    EXPECT_EQ(second.state.step, whole.state.step);
    expect_same_values(second, whole);
    for (std::size_t n = 0; n < second.records.size(); ++n) {
      EXPECT_EQ(second.records[n].loss, whole.records[first.records.size() + n].loss);
    }
    EXPECT_EQ(first.records.size() + second.records.size(), whole.records.size());
  }
}

TEST_F(TrainerTest, ARunSavedInTheMiddleOfAnEpochIsTheSameRun) {
  RunOptions options;
  options.ranks = 2;
  options.training = training(3);
  const Outcome whole = train(run_dir("whole"), options);
  const std::int64_t middle = whole.steps_per_epoch + 2;
  ASSERT_NE(middle % whole.steps_per_epoch, 0);
  options.stop = [&](int rank, std::int64_t step) { return rank == 1 && step == middle; };
  const Outcome first = train(run_dir("parts"), options);
  EXPECT_EQ(first.end, TrainingEnd::interrupted);
  EXPECT_EQ(first.state.step, middle);
  options.stop = nullptr;
  options.resume = true;
  const Outcome second = train(run_dir("parts"), options);
  EXPECT_EQ(second.end, TrainingEnd::finished);
  expect_same_values(second, whole);
  EXPECT_EQ(second.state.best_metric, whole.state.best_metric);
}

TEST_F(TrainerTest, ACheckpointOfThreeRanksGoesOnAtOthers) {
  RunOptions options;
  options.ranks = 3;
  options.training = training(4);
  const Outcome whole = train(run_dir("whole"), options);
  for (const int ranks : {1, 2}) {
    const std::string directory = run_dir(text("to", ranks));
    options.ranks = 3;
    options.resume = false;
    options.training = training(2);
    const Outcome first = train(directory, options);
    options.ranks = ranks;
    options.resume = true;
    options.training = training(4);
    const Outcome second = train(directory, options);
    const std::vector<StepRecord> expected(
        whole.records.begin() + static_cast<std::ptrdiff_t>(first.records.size()),
        whole.records.end());
    expect_near_losses(second.records, expected, 1e-4);
  }
}

TEST_F(TrainerTest, StopsEarlyAndKeepsTheBest) {
  RunOptions options;
  options.training = training(50);
  options.training.patience = 2;
  options.training.keep_last = 1;
  std::int64_t steps = 0;
  options.metric = [&](std::int64_t step) {
    steps = std::max(steps, step);
    return step <= 15 ? static_cast<double>(step) : 1.0 / static_cast<double>(step);
  };
  options.training.validate_every = 0;
  options.training.validate_every_steps = 5;
  const Outcome run = train(run_dir("run"), options);
  EXPECT_EQ(run.end, TrainingEnd::early_stopped);
  EXPECT_EQ(run.state.step, 25);
  EXPECT_EQ(run.state.best_step, 15);
  EXPECT_EQ(run.state.best_metric, 15);
  EXPECT_EQ(run.state.validations_without_improvement, 2);
  EXPECT_EQ(run.metrics, std::vector<double>({5, 10, 15, 1.0 / 20, 1.0 / 25}));
  const std::string best = best_checkpoint(run_dir("run")).value();
  EXPECT_EQ(Checkpoint::open(best).info().step, 15);
  EXPECT_EQ(list_checkpoints(run_dir("run")).size(), 2U);  // the best and the last
  const Checkpoint last = Checkpoint::open(newest_checkpoint(run_dir("run")).value());
  EXPECT_EQ(last.info().step, 25);
  EXPECT_EQ(last.info().best_step, 15);
  EXPECT_EQ(last.info().validations_without_improvement, 2);

  // A run that is over stays over, and more patience lets it go on.
  options.resume = true;
  const Outcome again = train(run_dir("run"), options);
  EXPECT_EQ(again.end, TrainingEnd::early_stopped);
  EXPECT_TRUE(again.records.empty());
  options.training.patience = 3;
  EXPECT_EQ(train(run_dir("run"), options).state.step, 30);
}

TEST_F(TrainerTest, TheBestCheckpointIsTheModelOfItsStep) {
  RunOptions options;
  options.training = training(4);
  std::int64_t steps_per_epoch = 0;
  {
    RunOptions two = options;
    two.training = training(2);
    const Outcome run = train(run_dir("two"), two);
    steps_per_epoch = run.steps_per_epoch;
    options.metric = [=](std::int64_t step) { return step == 2 * steps_per_epoch ? 1.0 : 0.1; };
    const Outcome four = train(run_dir("four"), options);
    EXPECT_EQ(four.state.best_step, 2 * steps_per_epoch);
    const Checkpoint best = Checkpoint::open(best_checkpoint(run_dir("four")).value());
    EXPECT_TRUE(at::equal(read_whole(best, "embedding"), run.values.at("embedding")));
    EXPECT_TRUE(at::equal(read_whole(best, "tokens"), run.values.at("tokens")));
    EXPECT_FALSE(at::equal(four.values.at("embedding"), run.values.at("embedding")));
    EXPECT_EQ(annealing_epoch(best.info()), 1);
  }
}

TEST_F(TrainerTest, ALossThatIsNotFiniteEndsAllRanksAndKeepsTheLastCheckpoint) {
  for (const int ranks : {1, 3}) {
    const std::string directory = run_dir(text("run", ranks));
    RunOptions options;
    options.ranks = ranks;
    options.training = training(10);
    options.training.save_every_steps = 2;
    options.training.validate_every = 0;  // which would notice first
    options.after_step = [](ModelRank& rank, std::int64_t step) {
      // On one rank alone: the others must learn of it.
      if (step != 3 || rank.communicator.rank() != 0) return;
      const c10::NoGradGuard no_gradient;
      rank.model.parameters().front().value.fill_(std::numeric_limits<float>::quiet_NaN());
    };
    expect_error(Cause::diverged, {"step 4", "--lr"}, [&] { train(directory, options); });
    const Checkpoint last = Checkpoint::open(newest_checkpoint(directory).value());
    EXPECT_EQ(last.info().step, 2);
    EXPECT_TRUE(read_whole(last, "embedding").isfinite().all().item<bool>());
    options.after_step = nullptr;
    options.resume = true;
    options.training.max_steps = 6;
    EXPECT_EQ(train(directory, options).state.step, 6);
  }
}

TEST_F(TrainerTest, AHugeLearningRateDiverges) {
  RunOptions options;
  options.ranks = 2;
  options.training = training(10);
  options.training.learning_rate = 1e30;
  expect_error(Cause::diverged, {}, [&] { train(run_dir("run"), options); });
}

// What is not finite is never written, also where the loss has not shown it yet.
TEST_F(TrainerTest, AParameterThatIsNotFiniteIsNotSaved) {
  RunOptions options;
  options.ranks = 2;
  options.training = training(10);
  options.training.save_every_steps = 3;
  options.after_step = [](ModelRank& rank, std::int64_t step) {
    if (step != 6 || rank.communicator.rank() != 1) return;
    const c10::NoGradGuard no_gradient;
    if (rank.shard.owned_rows() > 0) {
      rank.model.parameters().front().value[0][0].fill_(std::numeric_limits<float>::infinity());
    }
  };
  expect_error(Cause::diverged, {}, [&] { train(run_dir("run"), options); });
  EXPECT_EQ(Checkpoint::open(newest_checkpoint(run_dir("run")).value()).info().step, 3);
}

// One rank hears the signal; all leave at the same step, with it saved.
TEST_F(TrainerTest, OneRankThatIsAskedToStopStopsAll) {
  for (const int asked : {0, 2}) {
    RunOptions options;
    options.ranks = 3;
    options.training = training(10);
    options.stop = [&](int rank, std::int64_t step) { return rank == asked && step >= 5; };
    const std::string directory = run_dir(text("run", asked));
    const Outcome run = train(directory, options);
    EXPECT_EQ(run.end, TrainingEnd::interrupted);
    EXPECT_EQ(run.state.step, 5);
    EXPECT_EQ(Checkpoint::open(newest_checkpoint(directory).value()).info().step, 5);
  }
}

// Steps are saved before anything that may be long: a validation that is due, or was under way, is
// what the resumed run does first, and the run has become what it would have been.
TEST_F(TrainerTest, ARunThatIsStoppedBeforeOrInAValidationSavesAndValidatesOnceItIsResumed) {
  for (const std::int64_t last : {4, 8}) {       // the step of the stop is the last, or not
    for (const double best : {2.0, 4.0, 6.0}) {  // it is validated as the best so far, or not
      for (const bool is_under_way : {false, true}) {
        SCOPED_TRACE(testing::Message() << last << " steps, " << best << ", " << is_under_way);
        RunOptions options;
        options.ranks = 2;
        options.training = training(10);
        options.training.max_steps = last;
        options.training.validate_every = 0;
        options.training.validate_every_steps = 2;
        options.metric = [&](std::int64_t step) {
          return 100 - std::abs(static_cast<double>(step) - best);
        };
        const std::string name = text(last, "-", best, "-", is_under_way);
        const Outcome whole = train(run_dir("whole" + name), options);
        ASSERT_EQ(whole.end, TrainingEnd::finished);

        RunOptions first = options;
        if (is_under_way) {
          first.stopped_validation = 4;
        } else {
          first.stop = [](int rank, std::int64_t step) { return rank == 1 && step == 4; };
        }
        const std::string directory = run_dir("stopped" + name);
        const Outcome stopped = train(directory, first);
        EXPECT_EQ(stopped.end, TrainingEnd::interrupted);
        EXPECT_EQ(stopped.state.step, 4);
        EXPECT_EQ(stopped.metrics, std::vector<double>({options.metric(2)}));
        EXPECT_EQ(Checkpoint::open(newest_checkpoint(directory).value()).info().step, 4);

        options.resume = true;
        RunOptions again = options;
        again.stopped_validation = 4;
        const Outcome stopped_again = train(directory, again);
        EXPECT_EQ(stopped_again.end, TrainingEnd::interrupted);
        EXPECT_EQ(stopped_again.state.step, 4);
        EXPECT_TRUE(stopped_again.saved.empty());

        const Outcome resumed = train(directory, options);
        EXPECT_EQ(resumed.end, TrainingEnd::finished);
        EXPECT_EQ(resumed.metrics,
                  std::vector<double>(whole.metrics.begin() + 1, whole.metrics.end()));
        expect_same_values(whole, resumed);
        for (const auto& path : {newest_checkpoint, best_checkpoint}) {
          const CheckpointInfo of_whole =
              Checkpoint::open(path(run_dir("whole" + name)).value()).info();
          const CheckpointInfo of_resumed = Checkpoint::open(path(directory).value()).info();
          EXPECT_EQ(of_resumed.step, of_whole.step);
          EXPECT_EQ(of_resumed.best_step, of_whole.best_step);
          EXPECT_EQ(of_resumed.best_metric, of_whole.best_metric);
          // What was saved of the last step before it was validated stays if that was not better.
          if (last == 4 && best < 3) continue;
          EXPECT_EQ(of_resumed.validations_without_improvement,
                    of_whole.validations_without_improvement);
          EXPECT_EQ(of_resumed.extra, of_whole.extra);
        }
      }
    }
  }
}

// Nothing is left to do for a resumed run but to test; the last save of the stopped one is whole.
TEST_F(TrainerTest, AStopInTheLastStepOfARunWithoutValidationLeavesItsResult) {
  RunOptions options;
  options.validates = false;
  options.training = training(10);
  options.training.max_steps = 4;
  const Outcome whole = train(run_dir("whole"), options);
  ASSERT_EQ(whole.end, TrainingEnd::finished);
  options.stop = [](int, std::int64_t step) { return step == 4; };
  const Outcome stopped = train(run_dir("stopped"), options);
  EXPECT_EQ(stopped.end, TrainingEnd::interrupted);
  options.resume = true;
  options.stop = nullptr;
  const Outcome resumed = train(run_dir("stopped"), options);
  EXPECT_EQ(resumed.end, TrainingEnd::finished);
  EXPECT_TRUE(resumed.records.empty());
  expect_same_values(whole, resumed);
}

TEST_F(TrainerTest, TheTimeLimitSavesAndInterrupts) {
  RunOptions options;
  options.ranks = 2;
  options.training = training(1'000'000);
  options.training.validate_every = 0;
  options.training.time_limit_seconds = 1.6;  // one second of which is kept for saving
  const Timer timer;
  const Outcome run = train(run_dir("run"), options);
  EXPECT_LT(timer.seconds(), 60);
  EXPECT_EQ(run.end, TrainingEnd::interrupted);
  EXPECT_GE(run.state.step, 1);
  EXPECT_EQ(Checkpoint::open(newest_checkpoint(run_dir("run")).value()).info().step,
            run.state.step);
}

TEST_F(TrainerTest, SavesWhenAskedAndAtTheEnd) {
  RunOptions options;
  options.training = training(100);
  options.training.max_steps = 11;
  options.training.validate_every = 0;
  options.training.save_every_steps = 4;
  options.training.keep_last = 2;
  options.metric = [](std::int64_t) { return 0.0; };
  const Outcome run = train(run_dir("run"), options);
  EXPECT_EQ(run.saved, std::vector<std::int64_t>({4, 8, 11}));
  EXPECT_EQ(list_checkpoints(run_dir("run")).size(), 2U);
  EXPECT_EQ(run.metrics.size(), 1U);  // the last step is always validated
}

// Whatever a checkpoint holds, read back whole: tensors by name, moments left out.
WholeTensors whole_tensors(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  WholeTensors tensors;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    tensors[tensor.name] = read_whole(checkpoint, tensor.name);
  }
  return tensors;
}

// Nothing of the first checkpoint is written before two more steps are taken: it is that of its
// step all the same, and so are all files of a run that did not wait.
TEST_F(TrainerTest, TrainingGoesOnWhileACheckpointIsWritten) {
  for (const int ranks : {1, 2, 3}) {
    RunOptions options;
    options.ranks = ranks;
    options.training = training(100);
    options.training.max_steps = 12;
    options.training.validate_every = 0;
    options.training.save_every_steps = 5;
    options.training.async_save = false;
    options.metric = [](std::int64_t) { return 0.0; };
    const std::string waited = run_dir(text("waited", ranks));
    EXPECT_EQ(train(waited, options).saved, std::vector<std::int64_t>({5, 10, 12}));

    std::atomic<std::int64_t> steps = 0;
    std::atomic<int> begun = 0;
    options.training.async_save = true;
    options.after_step = [&](ModelRank& rank, std::int64_t step) {
      if (rank.communicator.rank() == 0) {
        steps = step;
        steps.notify_all();
      }
    };
    options.save_step = [&](SaveStep at) {
      if (at != SaveStep::begun || ++begun > ranks) return;
      for (std::int64_t now = steps; now < 7; now = steps) steps.wait(now);
    };
    const std::string went_on = run_dir(text("went_on", ranks));
    EXPECT_EQ(train(went_on, options).saved, std::vector<std::int64_t>({5, 10, 12}));
    EXPECT_EQ(list_checkpoints(went_on), list_checkpoints(waited));
    for (const std::string& name : list_checkpoints(waited)) {
      const WholeTensors expected = whole_tensors(waited + "/" + name);
      const WholeTensors got = whole_tensors(went_on + "/" + name);
      ASSERT_EQ(got.size(), expected.size());
      for (const auto& [tensor, value] : expected) {
        EXPECT_TRUE(at::equal(got.at(tensor), value)) << name << " " << tensor;
      }
    }
  }
}

TEST_F(TrainerTest, AnEpochsCheckpointIsLeftOutWhileAnotherIsWritten) {
  RunOptions options;
  options.ranks = 2;
  options.training = training(4);
  options.training.validate_every = 0;
  options.training.save_every_epochs = 1;
  options.metric = [](std::int64_t) { return 0.0; };
  const Outcome alone = train(run_dir("alone"), options);
  const std::int64_t epoch = alone.steps_per_epoch;
  ASSERT_GE(epoch, 2);
  EXPECT_EQ(alone.saved.back(), 4 * epoch);

  std::atomic<std::int64_t> steps = 0;
  options.after_step = [&](ModelRank& rank, std::int64_t step) {
    if (rank.communicator.rank() == 0) {
      steps = step;
      steps.notify_all();
    }
  };
  options.save_step = [&](SaveStep at) {  // that of the first epoch lasts until the third
    if (at != SaveStep::begun) return;
    for (std::int64_t now = steps; now < 2 * epoch + 1; now = steps) steps.wait(now);
  };
  const Outcome busy = train(run_dir("busy"), options);
  EXPECT_EQ(busy.saved.front(), epoch);
  EXPECT_EQ(std::count(busy.saved.begin(), busy.saved.end(), 2 * epoch), 0);
  EXPECT_EQ(busy.saved.back(), 4 * epoch);
}

// The write fails on one rank while all train on: all end, with what was saved before.
TEST_F(TrainerTest, AFailedWriteInTheBackgroundEndsAllRanks) {
  for (const SaveStep failing : {SaveStep::shard_written, SaveStep::manifest_written}) {
    RunOptions options;
    options.ranks = 3;
    options.training = training(1000);
    options.training.validate_every = 0;
    options.training.save_every_steps = 2;
    std::atomic<int> reached = 0;
    const int times = failing == SaveStep::shard_written ? 4 : 2;  // within the second save
    options.save_step = [&](SaveStep at) {
      if (at == failing && ++reached == times) throw Error(Cause::io, "No space left on device");
    };
    const std::string directory = run_dir(name_of(failing));
    expect_error(Cause::io,
                 {"step-000000000004", "could not be saved", "No space left",
                  "earlier checkpoints are untouched"},
                 [&] { train(directory, options); });
    EXPECT_EQ(list_checkpoints(directory), std::vector<std::string>{"step-000000000002"});
    EXPECT_EQ(Checkpoint::open(newest_checkpoint(directory).value()).info().step, 2);
  }
}

// A stop and the end of a run wait for what is under way, and it is not lost.
TEST_F(TrainerTest, TheBestIsNotLostToAStopWhileItIsWritten) {
  RunOptions options;
  options.ranks = 2;
  options.training = training(100);
  options.training.validate_every = 0;
  options.training.validate_every_steps = 4;
  options.stop = [](int rank, std::int64_t step) { return rank == 1 && step == 5; };
  std::atomic<std::int64_t> steps = 0;
  options.after_step = [&](ModelRank& rank, std::int64_t step) {
    if (rank.communicator.rank() == 0) {
      steps = step;
      steps.notify_all();
    }
  };
  options.save_step = [&](SaveStep at) {
    if (at != SaveStep::begun) return;
    for (std::int64_t now = steps; now < 5; now = steps) steps.wait(now);
  };
  const Outcome run = train(run_dir("run"), options);
  EXPECT_EQ(run.end, TrainingEnd::interrupted);
  EXPECT_EQ(run.saved, std::vector<std::int64_t>({4, 5}));
  EXPECT_EQ(Checkpoint::open(best_checkpoint(run_dir("run")).value()).info().step, 4);
}

TEST_F(TrainerTest, LogsEverySoManyStepsAndTheLast) {
  RunOptions options;
  options.training = training(100);
  options.training.max_steps = 11;
  options.training.log_every = 4;
  options.training.lr_decay = true;
  const Outcome run = train(run_dir("run"), options);
  ASSERT_EQ(run.records.size(), 3U);
  EXPECT_EQ(run.records[0].step, 4);
  EXPECT_EQ(run.records[1].step, 8);
  EXPECT_EQ(run.records[2].step, 11);
  EXPECT_EQ(run.records[2].learning_rate, learning_rate_at(options.training, 10));
  for (const StepRecord& record : run.records) {
    EXPECT_EQ(record.epoch, (record.step - 1) / run.steps_per_epoch);
  }
}

TEST(EpochOfLastStep, IsTheOneTheStepWasTakenIn) {
  EXPECT_EQ(epoch_of_last_step(0, 7), 0);
  EXPECT_EQ(epoch_of_last_step(1, 7), 0);
  EXPECT_EQ(epoch_of_last_step(7, 7), 0);
  EXPECT_EQ(epoch_of_last_step(8, 7), 1);
  EXPECT_EQ(epoch_of_last_step(15, 7), 2);
}

TEST(AnnealingEpoch, NeedsACheckpointThatSaysHowLongAnEpochIs) {
  CheckpointInfo info;
  info.step = 15;
  for (const char* wrong : {"", "x", "0", "-3"}) {
    info.extra["steps_per_epoch"] = wrong;
    expect_error(Cause::checkpoint, {}, [&] { annealing_epoch(info); });
  }
  info.extra["steps_per_epoch"] = "7";
  EXPECT_EQ(annealing_epoch(info), 2);
}

}  // namespace
}  // namespace micrec
