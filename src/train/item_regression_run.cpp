#include "train/item_regression_run.h"

#include <glog/logging.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/description.h"
#include "base/error.h"
#include "base/stopped.h"
#include "base/text.h"
#include "base/timer.h"
#include "checkpoints/coefficient_file.h"
#include "graph/approximate_neighbours.h"
#include "model/item_regression/item_regression_fit.h"
#include "model/item_regression/item_systems.h"
#include "train/plan/run_planner.h"

namespace micrec {
namespace {

/// A line every quarter; ends the fit where the run is asked to stop. Ranks: collective.
std::function<void(double)> progress_of(const char* what, const ItemRegressionRun& run,
                                        std::ostream& log) {
  return [&run, &log, what, told = 0](double share) mutable {
    if (run.agree_to_stop()) throw Stopped();
    const int quarter = static_cast<int>(share * 4 + 1e-9);
    if (quarter == told) return;
    told = quarter;
    log << "regression " << what << " " << 25 * quarter << "%\n" << std::flush;
  };
}

/// What decides the coefficients beside the data set, as far as it was asked for; with this begin
/// the settings that the file has.
std::string begin_of_settings(const TrainingTask& task) {
  const ItemRegressionWish& wish = task.item_regression;
  const NeighbourSearch search = task.model.neighbor_search;
  nlohmann::ordered_json asked = {{"modalities", task.modalities},
                                  {"seed", task.seed},
                                  {"lambda", wish.lambda},
                                  {"cross", wish.cross},
                                  {"alpha", wish.alpha}};
  if (!wish.half_life.empty()) asked["recency"] = wish.half_life;
  if (search != NeighbourSearch::automatic) {
    asked["neighbors"] = name_of(search);
  }
  return text("{\"asked\":", asked.dump(), ",");
}

void tell_choice(std::ostream& log, const ItemRegressionChoice& choice,
                 const std::vector<std::string>& domains,
                 const std::vector<std::string>& modalities) {
  for (std::size_t d = 0; d < domains.size(); ++d) {
    const auto in_words = [&](const ItemRegressionSettings& settings) {
      std::string words = text("lambda ", settings.lambda);
      for (std::size_t m = 0; m < modalities.size(); ++m) {
        words += text(", ", modalities[m], " ", settings.alpha[m]);
      }
      return domains.size() > 1 ? text(words, ", cross ", settings.cross) : words;
    };
    double best = 0;
    std::int64_t tried = 0;
    for (const ItemRegressionChoice::Tried& one : choice.tried) {
      if (one.domain != static_cast<int>(d)) continue;
      best = std::max(best, one.metric);
      ++tried;
    }
    log << "regression of " << domains[d] << ": " << in_words(choice.chosen[d])
        << (tried == 0 ? text("; given, or the defaults")
                       : text("; NDCG@20 ", decimal("%.4f", best), ", the best of ", tried,
                              " tried, which inspect ", kItemRegressionFile, " tells"))
        << "\n";
  }
  log << std::flush;
}

/// Which half-lives were tried and chosen.
void tell_half_life(std::ostream& log, const ItemRegressionChoice& choice,
                    const std::vector<std::string>& domains, std::size_t tried_before) {
  for (std::size_t d = 0; d < domains.size(); ++d) {
    std::vector<std::string> values;
    for (std::size_t n = tried_before; n < choice.tried.size(); ++n) {
      const ItemRegressionChoice::Tried& one = choice.tried[n];
      if (one.domain != static_cast<int>(d)) continue;
      values.push_back(text(one.half_life, ": ", decimal("%.4f", one.metric)));
    }
    const double chosen = choice.half_life[d];
    if (values.empty() && chosen == kNoRecency) continue;
    log << "recency of " << domains[d] << ": "
        << (chosen == kNoRecency ? std::string("off")
                                 : text("half-life of ", chosen, " newer interactions"))
        << (values.empty() ? std::string() : text(" (", join(values, ", "), ")")) << "\n";
  }
  log << std::flush;
}

/// The wish where the data set can fulfil it: half-lives need times.
ItemRegressionWish with_times(ItemRegressionWish wish, const DatasetFile& dataset,
                              std::ostream& log) {
  if (std::ranges::any_of(dataset.domains(), &DomainInfo::has_timestamps)) return wish;
  if (has_recency(wish.half_life)) {
    throw Error(Cause::usage, "--recency needs to know what came when, and ", dataset.path(),
                " has no times; prepare it from files with a timestamp, or "
                "leave the flag out");
  }
  if (wish.half_life.empty()) log << "recency   off: the data set has no times\n";
  wish.half_life = {kNoRecency};
  return wish;
}

/// What the parts of a fit took.
class FitMeter {
 public:
  explicit FitMeter(Communicator& world) : world_(world) {}

  /// Does a part, and counts it in.
  template <typename Part>
  auto measure(const Part& part) {
    begin();
    auto result = part();
    end();
    return result;
  }
  /// Does something within a part that does not count.
  template <typename Other>
  auto leave_out(const Other& other) {
    end();
    auto result = other();
    begin();
    return result;
  }
  /// All of that, beside what was planned. Ranks: collective.
  FittedRegression total(const std::optional<FitPlan>& plan) const {
    FittedRegression fit;
    fit.seconds = seconds_;
    fit.sent = Traffic::of(world_, 1, sent_);
    if (!plan) return fit;
    fit.planned_seconds = plan->time[plan->slowest_rank()].total();
    fit.sent.bound_bytes = bytes_by_name(plan->bytes);
    return fit;
  }

 private:
  void begin() {
    before_ = world_.ledger().snapshot();
    timer_.restart();
  }
  void end() {
    seconds_ += timer_.seconds();
    add(sent_, since(before_, world_.ledger().snapshot()));
  }

  Communicator& world_;
  Timer timer_;
  LedgerEntries before_;
  double seconds_ = 0;
  LedgerEntries sent_;
};

struct Fitted {
  SparseRows coefficients;
  std::vector<double> half_life;  // (domains)
  std::string settings;           // JSON
  FittedRegression took;
};

/// Takes the run's graph, which is free again once the plan is made.
Fitted fit_now(ItemRegressionRun& run, const TrainingTask& task, const Shard& shard,
               std::ostream& log) {
  std::optional<FitPlan> plan;
  if (run.graph) plan = plan_fit(task, *run.graph, shard.whole);
  run.graph.reset();
  const Timer timer;
  const std::vector<std::string> domains = task.dataset.domain_names();
  FitMeter meter(*shard.world);
  const auto made = meter.measure([&] {
    return std::make_unique<ItemRegressionFit>(task.dataset, shard, task.modalities,
                                               ItemFeatures::kColumns, task.seed, HubRule{},
                                               task.model.neighbor_search);
  });
  const ItemRegressionFit& fit = *made;
  if (fit.histories().people_sampled() > 0) {
    log << "regression takes a sample of " << with_commas(TrainingHistories::kLongestHistory)
        << " items of " << with_commas(fit.histories().people_sampled())
        << " people with more than those\n";
  }
  if (!run.rate) {
    log << "regression has no validation interactions to choose settings on: the documented "
           "defaults, or what was given\n";
  }
  const ItemRegressionWish wish = with_times(task.item_regression, task.dataset, log);
  RateCoefficients rate;
  if (run.rate) {
    rate = [&](const SparseRows& coefficients, std::span<const double> half_life) {
      return meter.leave_out([&] { return run.rate(coefficients, half_life); });
    };
  }
  ItemRegressionChoice choice = meter.measure([&] {
    return choose_item_regression(fit, static_cast<int>(domains.size()), wish, rate,
                                  progress_of("settings", run, log));
  });
  tell_choice(log, choice, domains, task.modalities);
  Fitted fitted;
  const std::int64_t count = meter.measure([&] {
    fitted.coefficients = fit_item_regression(fit, choice, progress_of("fit", run, log));
    return fit.count(fitted.coefficients);
  });
  fitted.took = meter.total(plan);
  const std::size_t tried_before = choice.tried.size();
  choose_half_life(fitted.coefficients, wish, run.rate, choice);
  tell_half_life(log, choice, domains, tried_before);
  fitted.half_life = choice.half_life;
  for (const NeighbourSearchReport& search : fit.searches()) {
    if (search.tried_graphs) log << "regression by features " << in_words(search) << "\n";
  }
  log << "regression of " << with_commas(fit.histories().items()) << " items has "
      << with_commas(count) << " coefficients, fitted in " << in_time(timer.seconds()) << "\n"
      << std::flush;
  fitted.settings = text(begin_of_settings(task),
                         "\"chosen\":", to_json(choice, domains, task.modalities).dump(), "}");
  return fitted;
}

}  // namespace

double most_coefficient_bytes(std::int64_t items) {
  constexpr double kOffsetBytes = sizeof(std::int64_t);
  constexpr double kCoefficientBytes = sizeof(std::int32_t) + sizeof(float);
  return static_cast<double>(items) *
         (kOffsetBytes + kCoefficientBytes * ItemSystems::kMostNeighbours);
}

ProvidedItemRegression provide_item_regression(ItemRegressionRun run, const TrainingTask& task,
                                               Model& model, std::ostream& log) {
  if (!model.item_regression().is_on()) return {};
  const Shard& shard = model.shard();
  Communicator& world = *shard.world;
  const std::string path = coefficient_file_of(run.run_dir);
  const std::string fingerprint = task.dataset.fingerprint();
  const std::vector<std::int32_t> own = whole_items(shard);
  const std::int64_t items = shard.space().items();
  std::optional<StoredFile> stored = run.of_checkpoint;
  if (!stored && run.resume) {
    std::string why;
    stored =
        matching_coefficients(path, items, {fingerprint, begin_of_settings(task)}, world, &why);
    if (!why.empty()) log << "regression is fitted anew: " << why << "\n";
  }
  if (stored) {
    log << "regression read from " << path << ", as it was fitted before\n";
    model.item_regression().set_coefficients(
        read_coefficients(path, *stored, fingerprint, items, own, world));
    model.item_regression().set_half_life(half_life_of(path, task.dataset));
    return {stored, std::nullopt};
  }
  Fitted fitted = fit_now(run, task, shard, log);
  stored = write_coefficients(path, items, own, fitted.coefficients,
                              {fingerprint, fitted.settings, has_recency(fitted.half_life)}, world);
  model.item_regression().set_coefficients(std::move(fitted.coefficients));
  model.item_regression().set_half_life(std::move(fitted.half_life));
  return {stored, std::move(fitted.took)};
}

std::vector<double> half_life_of(const std::string& path, const DatasetFile& dataset) {
  const auto settings = nlohmann::json::parse(look_at_coefficients(path).origin.settings, nullptr,
                                              /*allow_exceptions=*/false);
  const bool is_told = settings.is_object() && settings.contains("chosen");
  return chosen_half_life(is_told ? settings["chosen"] : nlohmann::json::object(),
                          dataset.domain_names(), path);
}

std::vector<FlagSetting> chosen_item_regression(const Checkpoint& checkpoint) {
  if (!checkpoint.info().item_regression) return {};
  const std::string path = coefficient_file_beside(checkpoint.directory());
  const auto settings = nlohmann::ordered_json::parse(look_at_coefficients(path).origin.settings,
                                                      nullptr, /*allow_exceptions=*/false);
  if (!settings.is_object() || !settings.contains("chosen")) return {};
  std::vector<std::string> lambda, cross, alpha, recency;
  for (const auto& [domain, of] : settings["chosen"].items()) {
    if (!of.contains("lambda") || !of.contains("cross")) return {};
    lambda.push_back(of["lambda"].dump());
    cross.push_back(of["cross"].dump());
    recency.push_back(of.contains("recency") ? of["recency"].dump() : "0");
    std::set<std::string> of_modalities;
    if (of.contains("alpha")) {
      for (const auto& one : of["alpha"]) of_modalities.insert(one.dump());
    }
    if (of_modalities.size() == 1) alpha.push_back(*of_modalities.begin());
  }
  std::vector<FlagSetting> flags = {{"regression_lambda", join(lambda, ","), path},
                                    {"regression_cross", join(cross, ","), path},
                                    {"recency", join(recency, ","), path}};
  if (alpha.size() == lambda.size()) {
    flags.push_back({"regression_alpha", join(alpha, ","), path});
  }
  return flags;
}

}  // namespace micrec
