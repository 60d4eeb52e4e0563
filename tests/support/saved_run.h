#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoints/store.h"
#include "cluster/communicator.h"
#include "serve/later_files.h"
#include "serve/trained_run.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "train/optimizer.h"
#include "train/trainer.h"

namespace micrec {

/// A small world on the disk and a run of a model that nobody trained on it, to be served.
class SavedRun {
 public:
  SavedRun() : dataset_(write_small_world({}, folder_ / "world.h5")) {
    for (const int domain : {0, 1}) items_.push_back(dataset_.item_keys(domain));
    save(25);
  }

  static ModelConfig config() {
    ModelConfig config;
    config.dim = 8;
    config.layers = 1;  // up to which a copy of a user has the user's row bit for bit
    config.semantic_neighbors = 3;
    config.modalities = {"image", "text"};
    return config;
  }

  /// Adds a checkpoint, whose parameters are others at each step.
  void save(std::int64_t step) {
    CheckpointInfo info;
    info.step = step;
    info.dataset_path = folder_ / "world.h5";
    info.dataset_fingerprint = dataset_.fingerprint();
    info.grid = "1x1";
    info.world_size = 1;
    info.extra["steps_per_epoch"] = "10";
    ShardedSetting setting;
    setting.seed = static_cast<std::uint64_t>(step);
    on_ranks(dataset_, config(), setting, [&](ModelRank& rank) {
      rank.model.fit_ridge(rank.model.embeddings(2));
      CheckpointStore store(folder_ / "run/checkpoints", rank.communicator);
      const Optimizer optimizer(rank.model);
      store.save(info, rank.shard.whole_nodes, checkpoint_tensors(rank.model, optimizer), {});
    });
  }

  /// Opens the newest checkpoint on what was told since.
  std::unique_ptr<TrainedRun> open(Communicator& communicator,
                                   const ToldReader& told = nullptr) const {
    TrainedRunOptions options;
    options.run_dir = folder_ / "run";
    options.checkpoint = "newest";
    options.read_settings = [](const std::string&, const std::string&) { return config(); };
    options.read_additions = additions_reader({}, told);
    return open_trained_run(options, communicator);
  }

  const TemporaryFolder& folder() const { return folder_; }
  const DatasetFile& dataset() const { return dataset_; }
  /// Item keys by domain.
  const std::vector<std::vector<std::string>>& items() const { return items_; }

 private:
  TemporaryFolder folder_;
  DatasetFile dataset_;
  std::vector<std::vector<std::string>> items_;
};

}  // namespace micrec
