#include "evaluate/mix_choice.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/description.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr double kWeights[] = {0, 0.3, 0.6, 0.9, 1.3, 1.8, 3, 6, TriedMix::kAlone};
constexpr std::int64_t kCutoff = 20;
constexpr ScoreMix kAlone = {.embeddings = false, .regression = 1};

EvaluationOptions with_histories(EvaluationOptions options) {
  options.histories = true;
  return options;
}

/// Those of the users that weights are tried on.
EvaluationOptions of_trial(EvaluationOptions options, std::int64_t most_users) {
  if (options.most_users == 0 || options.most_users >= most_users) {
    options.most_users = most_users;
    options.sample_seed.reset();
  }
  return with_histories(options);
}

/// Those weights that make mixes of their own, in their order.
std::vector<TriedMix> mixes_to_try(std::span<const double> weights, const TermSpread& spread) {
  std::vector<TriedMix> mixes;
  for (const double weight : weights) {
    const ScoreMix mix = mix_of(weight, spread);
    const bool is_new = std::ranges::none_of(mixes, [&](const TriedMix& other) {
      return other.mix.embeddings == mix.embeddings && other.mix.regression == mix.regression;
    });
    if (is_new) mixes.push_back({mix.embeddings ? weight : TriedMix::kAlone, mix});
  }
  return mixes;
}

std::string weight_in_words(double weight) {
  return weight == TriedMix::kAlone ? "alone" : decimal("%g", weight);
}

}  // namespace

ScoreMix mix_of(double weight, const TermSpread& spread) {
  const double product = spread.product.value_or(0);
  const double regression = spread.regression.value_or(0);
  if (!spread.product || (product == 0 && regression > 0)) return kAlone;
  if (regression == 0 || weight == 0) return {};
  if (weight == TriedMix::kAlone) return kAlone;
  return {.embeddings = true, .regression = static_cast<float>(weight * product / regression)};
}

std::vector<std::string> MixChoice::in_words(const std::vector<std::string>& domains) const {
  std::vector<std::string> lines;
  for (std::size_t d = 0; d < domains.size(); ++d) {
    std::vector<std::string> values;
    std::string chosen = "nothing to validate on";
    for (const TriedMix& tried_mix : tried[d]) {
      const std::string weight = weight_in_words(tried_mix.weight);
      values.push_back(text(weight, ": ", decimal("%.4f", tried_mix.ndcg)));
      const bool is_chosen = tried_mix.mix.embeddings == mixes[d].embeddings &&
                             tried_mix.mix.regression == mixes[d].regression;
      if (is_chosen) chosen = text("weight ", weight);
    }
    const std::string all = values.empty() ? "" : text(" (", join(values, ", "), ")");
    lines.push_back(text(domains[d], ": ", chosen, all));
  }
  return lines;
}

MixChooser::MixChooser(const EvaluationSource& source, const EvaluationOptions& options,
                       std::vector<double> weights, std::int64_t most_users)
    : domains_(source.space.domains()),
      weights_(std::move(weights)),
      sample_(source, options.ages ? HistoryAges::counted : HistoryAges::unknown),
      trial_(source, of_trial(options, most_users)) {
  const EvaluationOptions& tried = trial_.options();
  const bool are_the_same =
      tried.most_users == options.most_users && tried.sample_seed == options.sample_seed;
  if (trial_.leaves_out_users() && !are_the_same) {
    full_.emplace(source, with_histories(options));
  }
}

std::vector<double> MixChooser::rate_alone(const SparseRows& coefficients,
                                           std::span<const double> half_life, std::int64_t rows,
                                           c10::Device device, Communicator& communicator) const {
  const ScoreTerms terms{at::zeros({rows, 0}, device), &coefficients, half_life};
  const Report report =
      trial_.evaluate(terms, std::vector<ScoreMix>(domains_, kAlone), communicator);
  std::vector<double> metrics;
  for (const DomainReport& domain : report.domains) {
    const SliceReport& all = domain.slices.front();
    metrics.push_back(all.users == 0 ? -1 : report.value(all, Metric::ndcg, kCutoff));
  }
  return metrics;
}

std::vector<ScoreMix> MixChooser::without_validation(const ScoreTerms& terms,
                                                     Communicator& communicator) const {
  std::vector<ScoreMix> mixes;
  for (const TermSpread& spread : sample_.spreads(terms, communicator)) {
    mixes.push_back(mix_of(weights_.empty() ? kDefaultWeight : weights_[mixes.size()], spread));
  }
  return mixes;
}

MixChoice MixChooser::choose(const ScoreTerms& terms, Communicator& communicator) const {
  MixChoice choice;
  std::size_t most = 0;
  const std::vector<TermSpread> spreads = sample_.spreads(terms, communicator);
  for (int d = 0; d < domains_; ++d) {
    const std::span<const double> weights =
        weights_.empty() ? std::span(kWeights) : std::span(&weights_[d], 1);
    choice.tried.push_back(mixes_to_try(weights, spreads[d]));
    most = std::max(most, choice.tried.back().size());
  }
  // Where a domain has fewer ways than another its last one is tried again.
  std::vector<std::vector<ScoreMix>> ways(most);
  for (std::size_t way = 0; way < most; ++way) {
    for (const std::vector<TriedMix>& tried : choice.tried) {
      ways[way].push_back(tried[std::min(way, tried.size() - 1)].mix);
    }
  }
  const std::vector<Report> reports = trial_.evaluate_ways(terms, ways, communicator);

  choice.report = reports.front();
  for (int d = 0; d < domains_; ++d) {
    std::vector<TriedMix>& tried = choice.tried[d];
    const auto all = [&](std::size_t way) -> const SliceReport& {
      return reports[way].domains[d].slices.front();
    };
    if (all(0).users == 0) {
      tried.clear();
      choice.mixes.push_back(mix_of(weights_.empty() ? kDefaultWeight : weights_[d], spreads[d]));
      continue;
    }
    std::size_t best = 0;
    for (std::size_t way = 0; way < tried.size(); ++way) {
      tried[way].ndcg = reports[way].value(all(way), Metric::ndcg, kCutoff);
      if (tried[way].ndcg > tried[best].ndcg) best = way;
    }
    choice.mixes.push_back(tried[best].mix);
    choice.report.domains[d] = reports[best].domains[d];
  }
  if (full_) choice.report = full_->evaluate(terms, choice.mixes, communicator);
  return choice;
}

}  // namespace micrec
