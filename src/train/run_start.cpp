#include "train/run_start.h"

#include <glog/logging.h>

#include "base/error.h"
#include "base/text.h"

namespace micrec {

RunStart begin(Model& model) {
  model.initialise();
  return {};
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
    throw Error(
        Cause::checkpoint,
        text(newest.directory(), " is of a run with other settings: ", join(differences, ", "),
             "; give those of the run, or start a new one in another --run_dir"));
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
