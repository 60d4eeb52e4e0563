#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evaluate/mix_choice.h"

namespace micrec {

inline constexpr std::int64_t kValidationCutoff = 20;  // early stopping looks at NDCG@20

/// Validation of a run that is trained. Where the score has item regression beside the embeddings,
/// both are weighed anew each time.
///
/// With EvaluationOptions::most_users it ranks a sample of users of each domain, and weighs the
/// terms on that; what a checkpoint is to score with is then weighed on more by weigh_result().
class Validation {
 public:
  /// `options`: split and slices are the validation's own; kValidationCutoff is among the cutoffs.
  /// `weights`: where there is item regression its weights, one a domain, or empty: chosen.
  ///
  /// Ranks    not collective.
  /// Errors   those of Evaluator.
  Validation(const EvaluationSource& source, EvaluationOptions options,
             const std::optional<std::vector<double>>& weights);

  /// Ranks the validation split and returns NDCG@20, the mean over the domains.
  /// Ranks: collective. Errors: those of Evaluator::evaluate().
  double operator()(const ScoreTerms& terms, Communicator& world);
  /// Weighs the terms of the last validation again, on the users that weights are tried on where
  /// all are validated, unless it did so on those. Ranks: collective.
  void weigh_result(const ScoreTerms& terms, Communicator& world);
  /// Weighs the terms as it is documented where nothing can be validated. Ranks: collective.
  void weigh_without(const ScoreTerms& terms, Communicator& world);

  /// NDCG@20 of each domain by these item coefficients alone, of `rows` rows of this rank, whatever
  /// the sample; see MixChooser. Only with item regression. Ranks: collective.
  std::vector<double> rate_alone(const SparseRows& coefficients, std::span<const double> half_life,
                                 std::int64_t rows, c10::Device device, Communicator& world) const;

  /// How the last one, or weigh_result() after it, weighed the terms (domains); none without item
  /// regression.
  const std::vector<ScoreMix>& mixes() const { return mixes_; }
  /// The same for people, a line a domain.
  const std::vector<std::string>& weights_in_words() const { return weights_in_words_; }
  /// Where the last one was of a sample, how far its NDCG@20 may be from that of all users, with
  /// 95% confidence.
  std::optional<double> margin() const;
  /// NDCG@20 of each domain that has users, in the last one.
  std::vector<std::pair<std::string, double>> by_domain() const;
  /// The last one's JSON, with the weights that were tried.
  nlohmann::ordered_json last_json() const;

 private:
  Report take(MixChoice choice);

  std::vector<std::string> domains_;
  std::optional<Evaluator> product_alone_;  // where item regression is off
  std::optional<MixChooser> mix_;
  std::optional<MixChooser> mix_of_result_;  // where those that it is chosen on are others
  bool is_sampled_ = false;
  Report last_;
  std::vector<ScoreMix> mixes_;
  std::vector<std::string> weights_in_words_;
  std::vector<std::vector<TriedMix>> tried_;  // [domain] of the last validation
};

}  // namespace micrec
