#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>

#include "checkpoints/checkpoint.h"
#include "cluster/communicator.h"
#include "data/additions.h"
#include "data/dataset_file.h"
#include "io/tables/interactions_reader.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/step/shard.h"

namespace micrec {

/// A trained model, read back from a run for evaluation, export or serving. Not movable: its parts
/// refer to each other.
struct TrainedRun {
  std::string checkpoint;  ///< name, "step-000000001200"
  CheckpointInfo info;
  DatasetFile dataset;
  DatasetSummary summary;
  Shard shard;
  std::unique_ptr<Model> model;
  std::int64_t epoch = 0;  ///< whose annealing inference uses

  /// The coefficients of this rank's items; null where the score has none.
  const SparseRows* coefficients() const {
    const ItemRegression& regression = model->item_regression();
    return regression.is_on() ? &regression.coefficients() : nullptr;
  }
  /// Training interactions of the items of a domain.
  std::span<const std::int32_t> degree_of_items(int domain) const {
    const Range items = summary.space.items_of(domain);
    return std::span(summary.training_degree).subspan(items.begin, items.size());
  }
};

/// Files of what came after a run was trained.
struct LaterFiles {
  std::string items;            ///< of features of new items, "MODALITY:DOMAIN=FILE,..."; or empty
  std::string observed;         ///< of interactions, "DOMAIN=FILE,..."; or empty
  InteractionsOptions reading;  ///< of the latter
};

/// What a model does with a new item that has features and that nobody met.
enum class ColdItems {
  placed,    ///< by its features
  unplaced,  ///< it looks at none
};

/// Reads what came after the data set of a run was made, and says on `report` what that is; nothing
/// where nothing came.
using AdditionsReader = std::function<std::optional<Additions>(
    const DatasetFile& dataset, ColdItems cold, std::ostream& report)>;

/// The configuration that a run's settings, a flagfile as text, give its model; `origin` is for
/// messages.
using SettingsReader =
    std::function<ModelConfig(const std::string& settings, const std::string& origin)>;

struct TrainedRunOptions {
  std::string run_dir;
  /// "best" (the newest where none was validated), "newest", or the name of one.
  std::string checkpoint = "best";
  std::string dataset;  ///< where the data set is now; empty: where it was in training
  std::string out;      ///< the command's output, which must not be the data set; or empty
  Observed observed = Observed::all;
  SettingsReader read_settings = {};
  LaterFiles later = {};  ///< for whoever makes a reader of them
  /// Where there is one, the run is opened on what it reads too: new users and items are let in as
  /// those that a data set holds out, nothing is retrained. Called on every rank.
  AdditionsReader read_additions = {};
  std::ostream* report = nullptr;  ///< where that is told; null: nowhere
  c10::Device device{c10::kCPU};
};

/// Opens a run's dataset and checkpoint and rebuilds its model on these ranks, however many they
/// are.
///
/// Ranks    collective.
/// Errors   Error(usage) where no run is named, Error(checkpoint) where there is no checkpoint or
///          it is damaged or of another data set, Error(io|data) where the data set cannot be read;
///          those of `read_additions`; Error(usage) where new items have features alone and the
///          model looks at none.
std::unique_ptr<TrainedRun> open_trained_run(const TrainedRunOptions& options,
                                             Communicator& communicator);

}  // namespace micrec
