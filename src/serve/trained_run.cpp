#include "serve/trained_run.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/directory.h"
#include "checkpoints/manifest.h"
#include "io/paths.h"
#include "kernels/sparse_rows.h"
#include "model/item_regression/item_regression_fit.h"
#include "model/modality.h"
#include "train/item_regression_run.h"
#include "train/item_regression_search.h"
#include "train/node_origins.h"
#include "train/semantic_neighbours_run.h"
#include "train/trainer.h"

namespace micrec {
namespace {

/// "there are step-000000000010, step-000000000020": what can be asked for instead.
std::string other_checkpoints(const std::string& directory, const std::string& but) {
  std::vector<std::string> names = list_checkpoints(directory);
  std::erase(names, but);
  return names.empty() ? "there is no other"
                       : "evaluate, export and recommend take another by --checkpoint: there are " +
                             join(names, ", ");
}

/// The checkpoint that best.json names; nothing where there is no best.json.
/// Errors   Error(checkpoint) where that is damaged, or names one that is not there.
std::optional<std::string> named_best(const std::string& directory) {
  std::optional<std::string> name;
  if (const std::optional<Failure> damage =
          attempt([&] { name = best_checkpoint_name(directory); })) {
    throw Error(damage->cause, text(damage->message, "; ", other_checkpoints(directory, "")));
  }
  if (!name) return std::nullopt;
  const std::optional<std::string> found = best_checkpoint(directory);
  if (!found) {
    throw Error(Cause::checkpoint, directory, "/best.json names ", *name,
                ", which is not there or incomplete; ", other_checkpoints(directory, *name));
  }
  return found;
}

/// Path of the checkpoint that `which` means; see TrainedRunOptions.
std::string checkpoint_path(const std::string& run_dir, const std::string& which) {
  if (run_dir.empty()) {
    throw Error(Cause::usage, "no run is named: give --run_dir=FOLDER, the one that train wrote");
  }
  const std::string directory = checkpoints_of(run_dir);
  std::optional<std::string> found;
  if (which == "best") found = named_best(directory);
  if (which == "newest" || (which == "best" && !found)) found = newest_checkpoint(directory);
  if (which != "best" && which != "newest") {
    found = (std::filesystem::path(directory) / which).string();
  }
  if (!found) {
    throw Error(Cause::checkpoint, directory,
                " holds no checkpoint; train first, or give another --run_dir");
  }
  return *found;
}

/// Opens it; one that cannot be used is an Error that says which others there are.
Checkpoint open_or_name_others(const std::string& path, Communicator& communicator) {
  Failure why;
  std::optional<Checkpoint> checkpoint =
      Checkpoint::try_open(path, Verify::checksums, &communicator, why);
  if (checkpoint) return *std::move(checkpoint);
  if (why.cause != Cause::checkpoint) throw_failure(why);
  const std::filesystem::path folder(path);
  throw Error(why.cause,
              text(why.message, "; ",
                   other_checkpoints(folder.parent_path().string(), folder.filename().string())));
}

/// Says where the best was asked for and is gone, and best.json with it: then this is the newest.
void tell_of_lost_best(const TrainedRunOptions& options, const Checkpoint& checkpoint) {
  const std::int64_t best = checkpoint.info().best_step;
  if (options.checkpoint != "best" || options.report == nullptr || best <= 0) return;
  if (best == checkpoint.info().step || best_checkpoint_name(checkpoints_of(options.run_dir))) {
    return;
  }
  *options.report << checkpoint.name() << " is taken, the newest: " << checkpoint_name(best)
                  << ", which validated best, is not there\n";
}

/// The data set of a checkpoint, where it is now, all of it compared with its fingerprint.
DatasetFile open_dataset(const TrainedRunOptions& options, const Checkpoint& checkpoint) {
  const CheckpointInfo& info = checkpoint.info();
  const std::string path = options.dataset.empty() ? info.dataset_path : options.dataset;
  if (!is_there(path)) {
    throw Error(Cause::io, "the run's data set ", path,
                " is not there; give --dataset=FILE where it is now");
  }
  refuse_output_over_inputs("--out", options.out, {path});
  DatasetFile dataset = DatasetFile::open(path);
  if (origins_by_record(dataset, info.dataset_fingerprint)) {
    throw Error(
        Cause::checkpoint, path, " extends the data set on which ", checkpoint.directory(),
        " was trained: refresh the run on it with micrec train --init_from=", options.run_dir,
        ", or give the data set it was trained on, and what came since by --observed "
        "and --items");
  }
  if (dataset.fingerprint() != info.dataset_fingerprint) {
    throw Error(Cause::checkpoint, checkpoint.directory(),
                " was trained on a data set with fingerprint ", info.dataset_fingerprint, ", but ",
                path, " has ", dataset.fingerprint(),
                "; give --dataset=FILE with the one it was trained on");
  }
  dataset.verify();
  return dataset;
}

/// Items are placed by features where their score depends on these. `config` with the modalities
/// that were asked for, not yet resolved.
ColdItems cold_items_of(const ModelConfig& config) {
  if (config.modalities.empty()) return ColdItems::unplaced;
  const bool by_rows =
      config.kind == ModelKind::micrec && (config.has_semantic() || config.content);
  return by_rows || config.item_regression != ItemRegressionUse::off ? ColdItems::placed
                                                                     : ColdItems::unplaced;
}

/// Refuses new items that a model without features cannot place: they have nothing else.
void refuse_cold_items(const DatasetFile& dataset, const char* model) {
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    const std::vector<std::uint8_t> cold = dataset.cold_items(d);
    const auto item =
        std::find(cold.begin() + dataset.origin().extends.back().items[d], cold.end(), 1);
    if (item == cold.end()) continue;
    throw Error(Cause::usage, "--items: '", dataset.item_keys(d)[item - cold.begin()], "' of ",
                dataset.domains()[d].name, " has features and no interaction, and this model (",
                model,
                ") looks at no features, so it cannot place it; give what people did with it "
                "by --observed, or leave it out");
  }
}

/// The data set with what came later, where anything did.
DatasetFile with_additions(const TrainedRunOptions& options, DatasetFile dataset, ColdItems cold) {
  if (!options.read_additions) return dataset;
  std::ostringstream unheard;
  std::optional<Additions> additions =
      options.read_additions(dataset, cold, options.report != nullptr ? *options.report : unheard);
  if (!additions) return dataset;
  return DatasetFile::with(std::move(dataset), *std::move(additions));
}

/// How coefficients were fitted, as their file says.
struct FitSettings {
  std::vector<std::string> modalities;
  ItemRegressionChoice choice;
  std::uint64_t seed = 0;
};

FitSettings settings_of(const std::string& path, const TrainedRun& run) {
  const std::string text_of_file = look_at_coefficients(path).origin.settings;
  const nlohmann::json settings =
      nlohmann::json::parse(text_of_file, nullptr, /*allow_exceptions=*/false);
  if (!settings.is_object() || !settings.contains("chosen") || !settings.contains("asked")) {
    throw Error(Cause::checkpoint, path,
                " does not say with which settings item regression was fitted, so new "
                "items cannot join it; train the run again");
  }
  FitSettings fit;
  fit.modalities = settings["asked"].value("modalities", std::vector<std::string>());
  fit.choice.chosen =
      chosen_settings(settings["chosen"], run.dataset.domain_names(), fit.modalities, path);
  fit.seed = settings["asked"].value("seed", std::uint64_t{0});
  return fit;
}

/// Coefficients of the new items of this rank; rows of others are empty. Ranks: collective.
SparseRows solve_new(const TrainedRun& run, const FitSettings& settings,
                     std::vector<std::uint8_t> is_new) {
  const DatasetSummary observed = summarise(run.dataset, Observed::all);
  const Shard shard =
      load_shard(run.dataset, observed, run.shard.ownership, Observed::all, *run.shard.world);
  ItemRegressionFit fit(run.dataset, shard, settings.modalities, ItemFeatures::kColumns,
                        settings.seed, HubRule{}, run.model->config().neighbor_search);
  fit.solve_only(std::move(is_new));
  return fit_item_regression(fit, settings.choice, [](double) {});
}

/// Item regression of a run whose data set holds items that came after training: those that it was
/// fitted for keep their coefficients; new ones are solved for from what was observed of them
/// since, and from their features, with the settings of that fit, among all items that anybody has
/// met.
///
/// Shapes   rows: this rank's items of run.shard, numbered now as the columns are.
/// Ranks    collective.
/// Errors   those of read_coefficients(); Error(Cause::checkpoint) where the file does not say how
///          it was fitted.
/// Cost     without new items that of reading; else one fit for them alone, and three passes over
///          the features.
SparseRows coefficients_with_new_items(const TrainedRun& run, const std::string& path,
                                       const NodeOrigins& origins) {
  const NodeSpace& now = run.summary.space;
  const NodeSpace& then = origins.then;
  const std::vector<std::int32_t> own = whole_items(run.shard);
  const std::vector<std::uint8_t> is_new = new_items(origins, now);
  const std::vector<std::int32_t> known = items_then(origins, now, own);  // rising as now
  const SparseRows old =
      read_coefficients(path, *run.info.item_regression, run.info.dataset_fingerprint, then.items(),
                        known, *run.shard.world);
  SparseRows added;
  if (std::ranges::find(is_new, 1) != is_new.end()) {
    added = solve_new(run, settings_of(path, run), is_new);
  }
  const std::vector<std::int32_t> column_now = items_now(origins, now);
  SparseRows rows;
  std::int64_t next_old = 0;
  for (std::size_t n = 0; n < own.size(); ++n) {
    const bool from_fit = is_new[own[n]] != 0;
    const SparseRows& from = from_fit ? added : old;
    const std::int64_t row = from_fit ? static_cast<std::int64_t>(n) : next_old++;
    for (std::int64_t at = from.offsets[row]; at < from.offsets[row + 1]; ++at) {
      rows.column.push_back(from_fit ? from.column[at] : column_now[from.column[at]]);
      rows.value.push_back(from.value[at]);
    }
    rows.offsets.push_back(static_cast<std::int64_t>(rows.column.size()));
  }
  return rows;
}

}  // namespace

std::unique_ptr<TrainedRun> open_trained_run(const TrainedRunOptions& options,
                                             Communicator& communicator) {
  const std::string path = checkpoint_path(options.run_dir, options.checkpoint);
  const Checkpoint checkpoint = open_or_name_others(path, communicator);
  const CheckpointInfo& info = checkpoint.info();
  tell_of_lost_best(options, checkpoint);
  ModelConfig config = options.read_settings(info.config, path);
  DatasetFile known = open_dataset(options, checkpoint);
  config.modalities = resolve_modalities(config.modalities, known);
  if (!info.item_regression) config.item_regression = ItemRegressionUse::off;
  const ColdItems cold = cold_items_of(config);
  DatasetFile dataset = with_additions(options, std::move(known), cold);
  const std::optional<NodeOrigins> origins = origins_by_record(dataset, info.dataset_fingerprint);
  DatasetSummary summary = summarise(dataset);
  auto run = std::unique_ptr<TrainedRun>(
      new TrainedRun{checkpoint.name(), info, std::move(dataset), std::move(summary), {}, {}, 0});
  run->shard = load_shard(run->dataset, run->summary,
                          assign_balanced(run->summary.space, run->summary.people,
                                          run->summary.training_degree, communicator.size()),
                          options.observed, communicator);
  move_to(run->shard, options.device);
  if (origins && cold == ColdItems::unplaced) refuse_cold_items(run->dataset, name_of(config.kind));
  config = resolve(config, run->summary.space.domains());
  run->model = std::make_unique<Model>(
      config, run->dataset, run->shard, /*seed=*/0,
      provide_semantic_neighbours({.run_dir = options.run_dir,
                                   .dataset_fingerprint = info.dataset_fingerprint,
                                   .origins = origins ? &*origins : nullptr},
                                  config, run->dataset, run->shard));
  restore(checkpoint, *run->model, /*optimizer=*/nullptr, origins ? &*origins : nullptr);
  if (info.item_regression) {
    const NodeSpace& space = run->summary.space;
    const std::string file = coefficient_file_beside(path);
    run->model->item_regression().set_coefficients(
        origins ? coefficients_with_new_items(*run, file, *origins)
                : read_coefficients(file, *info.item_regression, info.dataset_fingerprint,
                                    space.items(), whole_items(run->shard), communicator));
    run->model->item_regression().set_half_life(half_life_of(file, run->dataset));
  }
  run->epoch = annealing_epoch(info);
  return run;
}

}  // namespace micrec
