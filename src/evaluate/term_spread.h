#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/dataset_file.h"
#include "evaluate/evaluator.h"
#include "evaluate/histories.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// How far the two terms of a domain's scores spread over pairs, as standard deviations; nothing
/// where there is no such term.
struct TermSpread {
  std::optional<double> product;  ///< of embeddings, each user's mean taken off: it ranks nothing
  std::optional<double> regression;  ///< of the sum of coefficients over a history
};

/// A fixed sample of pairs in each domain: at most 1,024 users and 1,024 items that have training
/// interactions, those with the smallest hashes of their numbers.
class PairSample {
 public:
  /// Ranks    not collective; every rank draws the same sample.
  /// Cost     three passes over the training interactions in pieces.
  explicit PairSample(const EvaluationSource& source, HistoryAges ages = HistoryAges::unknown);

  /// Shapes   returns (domains).
  /// Ranks    collective; the same bits on all, and at any number of ranks for the same terms.
  /// Cost     2^21 * dim operations and the sample's histories a domain, on every rank.
  std::vector<TermSpread> spreads(const ScoreTerms& terms, Communicator& communicator) const;

 private:
  /// Nodes of which each rank gives its own, and where they arrive.
  struct Gathered {
    std::vector<std::int64_t> own;  // owned rows of this rank's
    Arrival arrival;
  };
  struct OfDomain {
    Range users;                           // among the sampled nodes
    Range items;                           // among the sampled nodes
    std::vector<std::int32_t> history_of;  // (users) list among the histories
  };
  Gathered gathered(const Ownership& ownership, int rank) const;
  double product_spread(const OfDomain& domain, const at::Tensor& rows) const;
  double regression_spread(const OfDomain& domain, const SparseRows& coefficients,
                           double half_life) const;

  std::int64_t owned_users_ = 0;
  std::vector<std::int64_t> nodes_;  // sampled, users before items in each domain
  std::vector<OfDomain> domains_;
  Histories histories_;  // of the people among the users
  Gathered gathered_;
};

}  // namespace micrec
