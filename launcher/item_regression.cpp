#include "launcher/item_regression.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/description.h"
#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "checkpoints/coefficient_file.h"
#include "model/item_regression_fit.h"
#include "model/modality.h"
#include "train/item_regression_search.h"

namespace micrec {
namespace {

std::vector<std::string> names_of_domains(const DatasetFile& dataset) {
  std::vector<std::string> names;
  for (const DomainInfo& domain : dataset.domains()) names.push_back(domain.name);
  return names;
}

/// A line every quarter; ends the fit where the run is asked to stop. Ranks: collective.
std::function<void(double)> progress_of(const char* what, Job& job) {
  return [&job, what, told = 0](double share) mutable {
    if (job.agree_to_stop("item_regression.stop")) throw StoppedWhileFitting();
    const int quarter = static_cast<int>(share * 4 + 1e-9);
    if (quarter == told) return;
    told = quarter;
    job.log_once() << "regression " << what << " " << 25 * quarter << "%\n" << std::flush;
  };
}

/// What decides the coefficients beside the data set, as far as it was asked for; with this begin
/// the settings that the file has.
std::string begin_of_settings(const RunConfig& config, const std::vector<std::string>& modalities) {
  const ItemRegressionWish& wish = config.item_regression;
  const nlohmann::ordered_json asked = {{"modalities", modalities},
                                        {"seed", config.seed},
                                        {"lambda", wish.lambda},
                                        {"cross", wish.cross},
                                        {"alpha", wish.alpha}};
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

struct Fitted {
  SparseRows coefficients;
  std::string settings;  // JSON
};

Fitted fit_now(const RunConfig& config, const DatasetFile& dataset, const Model& model,
               const std::vector<std::string>& modalities, const Validation& validation, Job& job) {
  const Shard& shard = model.shard();
  std::ostream& log = job.log_once();
  const Timer timer;
  const std::vector<std::string> domains = names_of_domains(dataset);
  const ItemRegressionFit fit(dataset, shard, modalities, ItemFeatures::kColumns, config.seed);
  if (fit.histories().people_sampled() > 0) {
    log << "regression takes a sample of " << with_commas(TrainingHistories::kLongestHistory)
        << " items of " << with_commas(fit.histories().people_sampled())
        << " people with more than those\n";
  }
  const bool validates = has_validation(dataset);
  if (!validates) {
    log << "regression has no validation interactions to choose settings on: the documented "
           "defaults, or what was given\n";
  }
  const ItemRegressionChoice choice = choose_item_regression(
      fit, static_cast<int>(domains.size()), config.item_regression,
      validates ? validation.rating() : RateCoefficients(), progress_of("settings", job));
  tell_choice(log, choice, domains, modalities);
  Fitted fitted{fit_item_regression(fit, choice, progress_of("fit", job)), ""};
  at::Tensor count = at::full({1}, fitted.coefficients.nonzeros(), at::kLong);
  shard.world->all_reduce("item_regression.count", count);
  log << "regression of " << with_commas(fit.histories().items()) << " items has "
      << with_commas(count.item<std::int64_t>()) << " coefficients, fitted in "
      << in_time(timer.seconds()) << "\n"
      << std::flush;
  fitted.settings = text(begin_of_settings(config, modalities),
                         "\"chosen\":", to_json(choice, domains, modalities).dump(), "}");
  return fitted;
}

}  // namespace

bool has_validation(const DatasetFile& dataset) {
  return std::ranges::any_of(dataset.domains(), [](const DomainInfo& domain) {
    return domain.interactions[static_cast<int>(Split::valid)] > 0;
  });
}

std::optional<StoredFile> provide_item_regression(const RunConfig& config,
                                                  const DatasetFile& dataset, Model& model,
                                                  const Validation& validation,
                                                  const RunStart& start, Job& job) {
  if (!model.item_regression().is_on()) return std::nullopt;
  const Shard& shard = model.shard();
  const NodeSpace& space = shard.space();
  Communicator& world = job.communicator();
  const std::string path = coefficient_file_of(config.run_dir);
  const std::vector<std::int32_t> own = whole_items(shard);
  const std::int64_t items = space.nodes() - space.users();
  const std::vector<std::string> modalities = resolve_modalities(config.model.modalities, dataset);
  std::optional<StoredFile> stored = start.item_regression;
  if (!stored && config.resume) {
    const CoefficientOrigin asked{dataset.fingerprint(), begin_of_settings(config, modalities)};
    std::string why;
    stored = matching_coefficients(path, items, asked, world, &why);
    if (!why.empty()) job.log_once() << "regression is fitted anew: " << why << "\n";
  }
  if (stored) {
    job.log_once() << "regression read from " << path << ", as it was fitted before\n";
    model.item_regression().set_coefficients(
        read_coefficients(path, *stored, dataset.fingerprint(), items, own, world));
    return stored;
  }
  Fitted fitted = fit_now(config, dataset, model, modalities, validation, job);
  stored = write_coefficients(path, items, own, fitted.coefficients,
                              {dataset.fingerprint(), fitted.settings}, world);
  model.item_regression().set_coefficients(std::move(fitted.coefficients));
  return stored;
}

Validation::Validation(const RunConfig& config, const DatasetFile& dataset, Model& model, Job& job)
    : model_(model), domains_(names_of_domains(dataset)) {
  const Shard& shard = model.shard();
  const EvaluationOptions options{
      .split = Split::valid, .k = config.k, .slices = false, .threads = job.threads()};
  if (model.item_regression().is_on()) {
    std::vector<double> weights = config.regression_weight;
    check_one_a_domain(weights, shard.space().domains(), "regression_weight");
    if (weights.size() == 1) weights.resize(dataset.domains().size(), weights.front());
    mix_.emplace(dataset, shard.space(), shard.whole, job.rank(), options, std::move(weights));
  } else {
    product_alone_.emplace(dataset, shard.space(), shard.whole, job.rank(), options);
  }
}

double Validation::operator()(const at::Tensor& z) {
  Communicator& world = *model_.shard().world;
  if (product_alone_) {
    last_ = product_alone_->evaluate(z, world);
  } else {
    MixChoice choice = mix_->choose({z, &model_.item_regression().coefficients()}, world);
    model_.item_regression().set_mixes(choice.mixes);
    weights_in_words_ = choice.in_words(domains_);
    tried_ = std::move(choice.tried);
    last_ = std::move(choice.report);
  }
  return last_.mean(Metric::ndcg, kValidationCutoff);
}

RateCoefficients Validation::rating() const {
  CHECK(mix_);
  return [this](const SparseRows& coefficients) {
    const Shard& shard = model_.shard();
    return mix_->rate_alone(coefficients, static_cast<std::int64_t>(shard.whole_nodes.size()),
                            *shard.world);
  };
}

nlohmann::ordered_json Validation::last_json() const {
  nlohmann::ordered_json json = last_.to_json();
  for (std::size_t d = 0; d < tried_.size(); ++d) {
    nlohmann::ordered_json& of_domain = json["item_regression"][domains_[d]];
    of_domain = nlohmann::ordered_json::array();
    for (const TriedMix& one : tried_[d]) {
      const nlohmann::ordered_json weight =
          one.mix.embeddings ? nlohmann::ordered_json(one.weight) : "alone";
      of_domain.push_back(
          {{"weight", weight}, {"factor", one.mix.regression}, {"ndcg@20", one.ndcg}});
    }
  }
  return json;
}

void Validation::weigh_without(const at::Tensor& z) {
  if (!mix_) return;
  model_.item_regression().set_mixes(mix_->without_validation(
      {z, &model_.item_regression().coefficients()}, *model_.shard().world));
}

}  // namespace micrec
