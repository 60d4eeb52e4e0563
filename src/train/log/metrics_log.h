#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/descriptor.h"
#include "train/log/run_clock.h"

namespace micrec {

class DatasetFile;
struct ChangedSetting;
struct FittedRegression;
struct RunPhase;
struct SavedCheckpoint;
struct StepProfile;
struct StepRecord;
struct Traffic;
struct ValidatedMetric;

/// The log of a run for programs: RUN_DIR/metrics.jsonl, one JSON object a line, each with "kind"
/// and "step":
///
///   start       where this process begins, a new run or one that goes on: ranks, threads of a
///               rank, device, grid; dataset: path, fingerprint, split, hold_out, core, and of each
///               of its domains how many users, items, interactions of each split and items with
///               each modality; versions of the program and its libraries; phases until then
///   step        epoch, loss, learning_rate, seconds, triples_per_second; what is a number beside
///               these is a part of the loss: ranking, l2, self, contrastive
///   validation  epoch, metric (what early stopping looks at), improved, and evaluate's JSON:
///               split, checkpoint, mean, domains; with item regression also item_regression: of
///               each domain the weights that were tried beside the embeddings, with the factor
///               that each makes and its ndcg@20; with --validate_users also margin, half the
///               width of the metric's 95% interval, and the sample of evaluate's JSON
///   validation_of_all  with --validate_users, at the end: evaluate's JSON of the best checkpoint
///                      on
///               the validation split, of all users or --test_users
///   test        evaluate's JSON
///   save        checkpoint; bytes of all its files; seconds from the moment asked for until it was
///               published, blocked_seconds of them in which training stood still, copy_seconds of
///               these for the copy of the state (0: written without one), write_seconds in which
///               the slowest rank wrote, synchronized and digested its file. Written once it is
///               published, so lines of later steps may stand before it
///   ledger      beside each step line where there are several ranks: steps (since the last such
///               line), bytes_per_step, and collectives by name: phase, calls_per_step,
///               bytes_per_step, largest_rank_bytes_per_step, waited_seconds_per_step,
///               hidden_seconds_per_step; where the plan foresees it, bound_bytes_per_step, the
///               least that must travel, and over_bound, the ratio to it, of all as well. Bytes are
///               those sent from one rank to another, summed over ranks; calls and seconds are a
///               rank's, on average: waited is what it stood still for, hidden what travelled while
///               it worked
///   fit         where item regression was fitted: seconds that its preparation and the fit of all
///               items took, without the choice of settings; between several ranks also bytes, sent
///               from one rank to another for these, and collectives by name: calls, of a rank,
///               bytes, largest_rank_bytes; beside them planned_seconds and, by name and of all
///               that was planned, planned_bytes, the most that could be sent
///   resume      where the run goes on: checkpoint, and changed, the settings that are others from
///               there on, by flag: before, now
///   profile     once a process that was asked for it (--profile_steps): steps timed; ms_per_step,
///               the wall time of rank 0's thread in planning, forward, backward and optimizer, in
///               exchange what it stood still for in collectives, whatever the part, and the total
///               of these; device_ms_per_step, null on a CPU: how long its GPU was busy with what
///               each part had launched, with collectives alone (exchange), with nothing (idle),
///               and the total of these; launches_per_step (kernels, copies within it
///               and fills), uploads_per_step and downloads_per_step of the GPU, and waits_per_step
///               of the host for all that it had given it. Where a GPU could not be recorded,
///               device_note says why
///   end         reason ("finished", "no improvement", "interrupted", "diverged"), seconds; phases
///               since the start
///
/// Phases are what this process did one after the other: phase, its name; seconds; memory_bytes,
/// the most that rank 0 had held when it ended.
///
/// Numbers that are not finite are null. A line is complete in the file, or at its very end and cut
/// off by a crash.
///
/// Ranks    rank 0 alone opens one.
/// Errors   Error(Cause::io) where the file cannot be written.
class MetricsLog {
 public:
  /// Writes nothing.
  MetricsLog() = default;
  /// Opens the log of a run that goes on from a checkpoint of `step` (0: a new run). What an
  /// earlier attempt wrote of later steps, and of its end, is dropped, and its validation of this
  /// step where the run does that again, so that the log reads as that of one run.
  MetricsLog(const std::string& run_dir, std::int64_t step, bool repeats_validation = false);

  // Each is in the hands of the operating system when it returns. `report` is Report::to_json(),
  // `facts` what the line of kind start has but for phases.
  void start(std::int64_t step, const nlohmann::ordered_json& facts,
             const std::vector<RunPhase>& phases);
  void step(const StepRecord& record);
  void validation(std::int64_t epoch, std::int64_t step, const ValidatedMetric& metric,
                  bool improved, const nlohmann::ordered_json& report);
  /// Of the result; `kind`: "test" or "validation_of_all".
  void result(const char* kind, std::int64_t step, const nlohmann::ordered_json& report);
  void save(const SavedCheckpoint& saved);
  void ledger(std::int64_t step, const Traffic& traffic);
  void fit(std::int64_t step, const FittedRegression& fit);
  void resume(std::int64_t step, const std::string& checkpoint,
              const std::vector<ChangedSetting>& changes);
  void profile(const StepProfile& profile);
  void end(std::int64_t step, const std::string& reason, double seconds,
           const std::vector<RunPhase>& phases = {});

  static std::string path_in(const std::string& run_dir);

 private:
  void append(const nlohmann::ordered_json& line);

  std::string path_;
  Descriptor file_;
};

/// What the line of kind start says of a data set.
nlohmann::ordered_json dataset_facts(const DatasetFile& dataset);

}  // namespace micrec
