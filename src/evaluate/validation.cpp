#include "evaluate/validation.h"

#include <glog/logging.h>

#include <algorithm>

namespace micrec {

bool has_validation(const DatasetFile& dataset) {
  return std::ranges::any_of(dataset.domains(), [](const DomainInfo& domain) {
    return domain.interactions[static_cast<int>(Split::valid)] > 0;
  });
}

Validation::Validation(const DatasetFile& dataset, const NodeSpace& space,
                       const Ownership& ownership, int rank, EvaluationOptions options,
                       const std::optional<std::vector<double>>& weights) {
  for (const DomainInfo& domain : dataset.domains()) domains_.push_back(domain.name);
  options.split = Split::valid;
  options.slices = false;
  if (weights) {
    mix_.emplace(dataset, space, ownership, rank, options, *weights);
  } else {
    product_alone_.emplace(dataset, space, ownership, rank, options);
  }
}

double Validation::operator()(const ScoreTerms& terms, Communicator& world) {
  if (product_alone_) {
    last_ = product_alone_->evaluate(terms.z, world);
  } else {
    MixChoice choice = mix_->choose(terms, world);
    weights_in_words_ = choice.in_words(domains_);
    mixes_ = std::move(choice.mixes);
    tried_ = std::move(choice.tried);
    last_ = std::move(choice.report);
  }
  return last_.mean(Metric::ndcg, kValidationCutoff);
}

void Validation::weigh_without(const ScoreTerms& terms, Communicator& world) {
  if (mix_) mixes_ = mix_->without_validation(terms, world);
}

std::vector<double> Validation::rate_alone(const SparseRows& coefficients, std::int64_t rows,
                                           Communicator& world) const {
  CHECK(mix_);
  return mix_->rate_alone(coefficients, rows, world);
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
