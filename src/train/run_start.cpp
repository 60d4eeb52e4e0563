#include "train/run_start.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/directory.h"
#include "io/paths.h"
#include "train/leakage.h"
#include "train/node_origins.h"

namespace micrec {

std::string checkpoint_to_begin_from(const std::string& run_dir) {
  const std::string directory = checkpoints_of(run_dir);
  std::optional<std::string> found = best_checkpoint(directory);
  if (!found) found = newest_checkpoint(directory);
  if (!found) {
    throw Error(Cause::checkpoint, directory,
                " holds no checkpoint to begin from; name the folder of a run that "
                "was trained by --init_from");
  }
  return *found;
}

namespace {

/// What the nodes of the data set were in the one that the checkpoint's model was trained on;
/// nothing where it is the same.
std::optional<NodeOrigins> origins_in(const CheckpointInfo& info, const DatasetFile& dataset,
                                      std::ostream& log) {
  if (info.dataset_fingerprint == dataset.fingerprint()) return std::nullopt;
  std::optional<NodeOrigins> origins = origins_by_record(dataset, info.dataset_fingerprint);
  if (origins) {
    log << "           " << dataset.path() << " extends the data set that it was trained on\n";
    return origins;
  }
  if (!is_there(info.dataset_path)) {
    throw Error(Cause::io, dataset.path(),
                " does not say that it extends the data set of --init_from, "
                "so users and items are matched by key; but that data set, ",
                info.dataset_path,
                ", is not there. Put it back, or make the new one with micrec prepare "
                "--append");
  }
  const DatasetFile then = DatasetFile::open(info.dataset_path);
  if (then.fingerprint() != info.dataset_fingerprint) {
    throw Error(Cause::checkpoint, then.path(),
                " is no longer the data set that the run of --init_from was "
                "trained on: it has the fingerprint ",
                then.fingerprint(), " and not ", info.dataset_fingerprint);
  }
  log << "           users and items matched by the keys of " << then.path() << "\n";
  return origins_by_keys(dataset, then);
}

/// Refuses to begin a model with tensors of which the checkpoint has nothing.
void refuse_missing_parts(const Checkpoint& checkpoint, Model& model, const std::string& run_dir) {
  std::vector<std::string> missing;
  const auto note = [&](const std::string& name) {
    const bool is_there = std::ranges::any_of(
        checkpoint.tensors(), [&](const StoredTensor& tensor) { return tensor.name == name; });
    if (!is_there) missing.push_back(name);
  };
  for (const Parameter& parameter : model.parameters()) note(parameter.name);
  for (const Buffer& buffer : model.buffers()) note(buffer.name);
  if (missing.empty()) return;
  throw Error(Cause::usage, "--init_from: the run in ", run_dir, " has nothing of what ",
              name_of(model.config().kind), " as it is set begins with (", join(missing, ", "),
              "); leave the flags of the model out, which are then that run's, or begin from "
              "nothing");
}

/// (owned rows) bool, 1 where the node was not there.
at::Tensor new_rows(const Shard& shard, const std::optional<NodeOrigins>& origins) {
  at::Tensor is_new = at::zeros({shard.owned_rows()}, at::kBool);
  bool* const flags = is_new.mutable_data_ptr<bool>();
  for (std::size_t row = 0; origins && row < shard.owned().size(); ++row) {
    flags[row] = origins->is_new(value(shard.owned()[row]));
  }
  return is_new.to(shard.device);
}

}  // namespace

RunStart begin_from(const std::string& run_dir, const DatasetFile& dataset, Model& model,
                    Optimizer& optimizer, std::ostream& log) {
  if (model.config().is_solved()) {
    throw Error(Cause::usage, "--init_from: ", name_of(model.config().kind),
                " is solved whole in each epoch and needs no beginning; leave "
                "it out");
  }
  const Shard& shard = model.shard();
  const Checkpoint checkpoint = Checkpoint::open(checkpoint_to_begin_from(run_dir), *shard.world);
  const CheckpointInfo& info = checkpoint.info();
  log << "begun     from " << checkpoint.directory() << "\n";
  refuse_missing_parts(checkpoint, model, run_dir);
  const std::optional<NodeOrigins> origins = origins_in(info, dataset, log);
  if (shard.world->rank() == 0) warn_of_leakage(info, dataset, log);
  const TrainingState then = restore(checkpoint, model, &optimizer, origins ? &*origins : nullptr);
  std::vector<std::string> left;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const bool is_ours = std::ranges::any_of(
        model.parameters(), [&](const Parameter& own) { return own.name == tensor.name; });
    if (tensor.trained && !is_ours) left.push_back(tensor.name);
  }
  if (!left.empty()) {
    log << "           not taken over, as " << name_of(model.config().kind)
        << " as it is set has nothing of the kind: " << join(left, ", ") << "\n";
  }
  const std::int64_t epoch = annealing_epoch(info);
  model.let_in(new_rows(shard, origins), epoch);
  optimizer.let_in();
  if (origins) {
    const auto known = std::ranges::count_if(origins->node, [](std::int32_t n) { return n >= 0; });
    log << "           " << with_commas(known) << " users and items it knew, "
        << with_commas(static_cast<std::int64_t>(origins->node.size()) - known) << " are new\n";
  }
  RunStart start;
  start.state.steps_before = then.steps_before + then.step;
  start.state.epochs_before = epoch;
  return start;
}

RunStart resume(const std::vector<RunSetting>& settings, const DatasetFile& dataset,
                const CheckpointStore& checkpoints, Model& model, Optimizer& optimizer,
                std::ostream& log) {
  std::vector<std::string> stepped_over;
  const Checkpoint newest = checkpoints.open_newest_valid(&stepped_over);
  for (const std::string& damage : stepped_over) {
    LOG_IF(WARNING, model.shard().world->rank() == 0) << "stepped over a checkpoint: " << damage;
  }
  const CheckpointInfo& info = newest.info();
  std::vector<std::string> differences =
      different_settings(settings, info.config, newest.directory());
  if (info.dataset_fingerprint != dataset.fingerprint()) {
    differences.push_back(text("dataset ", dataset.path(), " with fingerprint ",
                               dataset.fingerprint(), " (the checkpoint has ", info.dataset_path,
                               " with ", info.dataset_fingerprint, ")"));
  }
  if (!differences.empty()) {
    throw Error(Cause::checkpoint, newest.directory(),
                " is of a run with other settings: ", join(differences, ", "),
                "; give those of the run, or start a new one in another --run_dir");
  }
  RunStart resumed;
  resumed.state = restore(newest, model, &optimizer);
  resumed.checkpoint = newest.name();
  resumed.history = history_of(info.config);
  resumed.changes = changed_settings(settings, info.config, newest.directory());
  resumed.item_regression = info.item_regression;
  log << "resumed   from " << newest.name() << "\n";
  for (const ChangedSetting& change : resumed.changes) {
    resumed.history += history_line(resumed.state.step, change);
    log << "changed   --" << change.name << "=" << change.now << ", until here " << change.before
        << "\n";
  }
  return resumed;
}

}  // namespace micrec
