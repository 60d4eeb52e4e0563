#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evaluate/evaluator.h"
#include "evaluate/term_spread.h"

namespace micrec {

/// A way to weigh a domain's two terms. The weight is that of the regression where both terms are
/// divided by their spreads.
struct TriedMix {
  /// The weight of the regression without embeddings.
  static constexpr double kAlone = std::numeric_limits<double>::infinity();

  double weight = 0;
  ScoreMix mix;
  double ndcg = 0;  ///< NDCG@20 of those users that it was tried on
};

/// What was chosen on validation, and how it ranks.
struct MixChoice {
  std::vector<ScoreMix> mixes;               ///< (domains)
  std::vector<std::vector<TriedMix>> tried;  ///< [domain]; none where nobody has validation items
  Report report;                             ///< of these mixes

  /// "food: weight 1.3 (0: 0.0512, 0.3: 0.0570, ..., alone: 0.0601)", a domain each.
  std::vector<std::string> in_words(const std::vector<std::string>& domains) const;
};

/// Weighs the regression against the product of embeddings, in each domain by itself.
///
/// The mix of weight w is the product plus w * (spread of products / spread of regression) times
/// the sum of coefficients; weight 0 is the product alone, and "alone" the regression alone.
/// Whatever has no spread is left out: without coefficients the product scores alone, without
/// embeddings the regression.
class MixChooser {
 public:
  /// Where there is no validation: what validation chooses in four of five domains of real data.
  static constexpr double kDefaultWeight = 0.6;
  /// So many users of a domain are enough to choose a weight.
  static constexpr std::int64_t kTrialUsers = 10'000;

  /// `options` are those of the report, its sample of users included; the cutoffs must have 20.
  /// Where that has more than `most_users` of a domain, weights are tried on so many, the same ones
  /// whatever the report's sample, and only the mix that was chosen on all of it. `weights`: of
  /// each domain, where they are not to be chosen; else empty.
  ///
  /// Ranks    not collective.
  /// Errors   those of Evaluator.
  MixChooser(const EvaluationSource& source, const EvaluationOptions& options,
             std::vector<double> weights = {}, std::int64_t most_users = kTrialUsers);

  /// The mix with the highest NDCG@20 in each domain; of equal ones that with the smaller weight. A
  /// domain without validation interactions has the default weight.
  ///
  /// Ranks    collective; the same on all, and the same bits at any number of ranks.
  /// Errors   those of Evaluator::evaluate().
  /// Cost     little more than an evaluation; two where the report has other users than the trial.
  MixChoice choose(const ScoreTerms& terms, Communicator& communicator) const;

  /// NDCG@20 of each domain on the users that weights are tried on, ranked by these coefficients
  /// alone; below 0 where a domain has none.
  ///
  /// Shapes   half_life: as of ScoreTerms; rows: of this rank, as those of ScoreTerms::z, ranked
  ///          on the device.
  /// Ranks    collective, and errors as choose().
  std::vector<double> rate_alone(const SparseRows& coefficients, std::span<const double> half_life,
                                 std::int64_t rows, c10::Device device,
                                 Communicator& communicator) const;

  /// The mixes of the given weights, or else of the default one, where nothing can be validated.
  /// Ranks: collective, as choose().
  std::vector<ScoreMix> without_validation(const ScoreTerms& terms,
                                           Communicator& communicator) const;

 private:
  int domains_;
  std::vector<double> weights_;  // (domains) given, or empty
  PairSample sample_;
  Evaluator trial_;                // of the users that weights are tried on
  std::optional<Evaluator> full_;  // of those of the report, where they are others
};

/// The mix of a weight; see MixChooser.
ScoreMix mix_of(double weight, const TermSpread& spread);

}  // namespace micrec
