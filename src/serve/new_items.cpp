#include "serve/new_items.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "model/item_regression/item_regression_fit.h"
#include "train/item_regression_search.h"

namespace micrec {
namespace {

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
    throw Error(Cause::checkpoint,
                text(path,
                     " does not say with which settings item regression was fitted, so new "
                     "items cannot join it; train the run again"));
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

}  // namespace

SparseRows coefficients_with_new_items(const TrainedRun& run, const std::string& path,
                                       const NodeOrigins& origins) {
  const NodeSpace& now = run.summary.space;
  const NodeSpace& then = origins.then;
  const std::vector<std::int32_t> own = whole_items(run.shard);
  std::vector<std::uint8_t> is_new(now.items(), 0);
  for (std::size_t item = 0; item < is_new.size(); ++item) {
    is_new[item] = origins.is_new(now.users() + static_cast<std::int64_t>(item)) ? 1 : 0;
  }
  std::vector<std::int32_t> known;  // of this rank, numbered then; rising as now
  for (const std::int32_t item : own) {
    if (is_new[item] == 0) {
      known.push_back(origins.node[now.users() + item] - static_cast<std::int32_t>(then.users()));
    }
  }
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

}  // namespace micrec
