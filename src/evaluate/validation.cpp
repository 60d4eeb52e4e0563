#include "evaluate/validation.h"

#include <glog/logging.h>

#include <algorithm>

namespace micrec {

Validation::Validation(const EvaluationSource& source, EvaluationOptions options,
                       const std::optional<std::vector<double>>& weights)
    : domains_(source.dataset.domain_names()) {
  options.split = Split::valid;
  options.slices = false;
  is_sampled_ = options.most_users > 0;
  options.squares = is_sampled_;
  if (!weights) {
    product_alone_.emplace(source, options);
    return;
  }
  mix_.emplace(source, options, *weights);
  if (!is_sampled_ || options.most_users >= MixChooser::kTrialUsers) return;
  options.most_users = MixChooser::kTrialUsers;
  options.sample_seed.reset();
  mix_of_result_.emplace(source, options, *weights);
}

/// Keeps the weights, and returns the report.
Report Validation::take(MixChoice choice) {
  weights_in_words_ = choice.in_words(domains_);
  mixes_ = std::move(choice.mixes);
  tried_ = std::move(choice.tried);
  return std::move(choice.report);
}

double Validation::operator()(const ScoreTerms& terms, Communicator& world) {
  last_ =
      product_alone_ ? product_alone_->evaluate(terms.z, world) : take(mix_->choose(terms, world));
  return last_.mean(Metric::ndcg, kValidationCutoff);
}

std::optional<double> Validation::margin() const {
  if (!is_sampled_ || !last_.is_of_sample()) return std::nullopt;
  return last_.margin_95(Metric::ndcg, kValidationCutoff);
}

void Validation::weigh_result(const ScoreTerms& terms, Communicator& world) {
  if (mix_of_result_) take(mix_of_result_->choose(terms, world));
}

void Validation::weigh_without(const ScoreTerms& terms, Communicator& world) {
  if (mix_) mixes_ = mix_->without_validation(terms, world);
}

std::vector<double> Validation::rate_alone(const SparseRows& coefficients,
                                           std::span<const double> half_life, std::int64_t rows,
                                           c10::Device device, Communicator& world) const {
  CHECK(mix_);
  return (mix_of_result_ ? mix_of_result_ : mix_)
      ->rate_alone(coefficients, half_life, rows, device, world);
}

std::vector<std::pair<std::string, double>> Validation::by_domain() const {
  std::vector<std::pair<std::string, double>> values;
  for (const DomainReport& domain : last_.domains) {
    if (domain.slices.empty()) continue;
    values.emplace_back(domain.name,
                        last_.value(domain.slices.front(), Metric::ndcg, kValidationCutoff));
  }
  return values;
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

}  // namespace micrec
