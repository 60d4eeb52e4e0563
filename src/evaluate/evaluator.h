#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "evaluate/evaluated_domain.h"
#include "evaluate/gathered_rows.h"
#include "evaluate/histories.h"
#include "evaluate/ranking.h"
#include "evaluate/report.h"
#include "kernels/score_mix.h"
#include "kernels/sparse_rows.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// What the scores of pairs are made from, on one rank.
struct ScoreTerms {
  /// (owned rows, dim) float32, in the order of Ownership::nodes_of(rank); no columns where there
  /// are no embeddings.
  at::Tensor z;
  /// Of this rank's items by rising number, source items numbered over all domains; null: none.
  const SparseRows* coefficients = nullptr;
  /// (domains) how fast histories fade in the sums of a domain's items, or none: see
  /// model/item_regression/recency.h.
  std::span<const double> half_life = {};
};

/// How many items an evaluation found before each relevant one of this rank's users: [domain]
/// (positives, groups).
using ItemsAhead = std::vector<std::vector<std::int32_t>>;

/// Ranks, for every user with relevant items, all items of the domain exactly, and reports the
/// metrics.
///
/// Out of a user's ranking (masked) are their training interactions and those observed later, and
/// at test their validation interactions. Every user is ranked by the rank that owns them. Metrics
/// of users are added as multiples of 2^-36 in integers, so a report has the same bits at any
/// number of ranks and threads.
///
/// Slices are named USERS.ITEMS; a part that is everything is left out, and the whole is "all".
///
///   USERS  old_users, new_users              where the domain has held-out users
///          overlapping_users, other_users    people of several domains and of this one alone
///   ITEMS  old_items, new_items, cold_items  where it has new or cold items
///          items_degree_0, items_degree_1_3, _4_7, _8_15, _16_31, _32_up
///                                            by number of training interactions
///          items_with_M, items_without_M     for every modality M
///
/// ITEMS restricts which items are relevant; a user still chooses among all items. Old, new and
/// cold items have a second slice each, "new_items/among_themselves", where they are ranked among
/// the items of their own kind alone, as papers on cold start do. Degrees and modalities are not
/// crossed with USERS.
class Evaluator {
 public:
  /// Loads what this rank's users need, once.
  ///
  /// Ranks    not collective.
  /// Errors   Error(Cause::data) where a relevant item of a user is masked too.
  /// Cost     One pass over the interactions in pieces.
  Evaluator(const EvaluationSource& source, EvaluationOptions options);

  /// Metrics of embeddings: the score of a pair is the dot product of its rows.
  ///
  /// Shapes   z: (owned rows, dim) float32, in the order of Ownership::nodes_of(rank).
  /// Ranks    collective; the report is the same on all.
  /// Errors   Error(Cause::diverged), on all ranks, where scores are not finite; Stopped,
  ///          after which `items_ahead` is worth nothing.
  /// Cost     2 * users * items * dim operations over all ranks, on the device of z; a block's item
  ///          rows twice.
  ///
  /// What was counted is added to `items_ahead`, for the metrics of each user (user_metrics.h).
  Report evaluate(const at::Tensor& z, Communicator& communicator,
                  ItemsAhead* items_ahead = nullptr) const;

  const EvaluationOptions& options() const { return options_; }
  const std::vector<EvaluatedDomain>& domains() const { return domains_; }

  /// Metrics of scores that each domain mixes from its terms; a linear term needs
  /// EvaluationOptions::histories.
  ///
  /// Shapes   mixes: (domains).
  /// Ranks    collective, and errors as above.
  /// Cost     beside it an addition for each coefficient that a history meets; coefficients travel
  ///          as item rows do.
  Report evaluate(const ScoreTerms& terms, std::span<const ScoreMix> mixes,
                  Communicator& communicator, ItemsAhead* items_ahead = nullptr) const;

  /// A report for each of several ways to mix, for little more than one costs: the terms are
  /// computed once. `items_ahead` gets what was counted of the first.
  ///
  /// Shapes   ways: (ways, domains).
  std::vector<Report> evaluate_ways(const ScoreTerms& terms,
                                    const std::vector<std::vector<ScoreMix>>& ways,
                                    Communicator& communicator,
                                    ItemsAhead* items_ahead = nullptr) const;

  /// Whether EvaluationOptions::most_users leaves out anybody, on any rank.
  bool leaves_out_users() const;

 private:
  /// Items of all ranks, on the device of the terms.
  struct GatheredItems {
    at::Tensor rows;                   // (items, dim)
    std::vector<std::int32_t> row_of;  // (items) in rows and coefficients
    DeviceRows coefficients;           // undefined where there are none
  };
  GatheredItems gather_items(const EvaluatedDomain& domain, const ScoreTerms& terms, Range items,
                             Communicator& communicator) const;
  std::vector<std::int32_t> count_items_ahead(int number, const ScoreTerms& terms,
                                              std::span<const ScoreMix> mixes,
                                              std::int64_t most_coefficients,
                                              Communicator& communicator,
                                              const std::function<bool()>& stop) const;
  void add_metrics(const EvaluatedDomain& domain, std::span<const std::int32_t> ahead,
                   std::int64_t* sums) const;
  std::int64_t refuse_infinite_scores(const ScoreTerms& terms, std::span<const ScoreMix> mixes,
                                      Communicator& communicator) const;
  std::int64_t sums_of_slice() const;
  Report to_report(const std::int64_t* sums) const;

  EvaluationOptions options_;
  int ranks_;
  std::int64_t owned_rows_ = 0;
  std::int64_t owned_users_ = 0;
  std::int64_t all_items_ = 0;  // of all domains
  std::vector<EvaluatedDomain> domains_;
  Histories histories_;  // of the people among the evaluated users, with options.histories
};

}  // namespace micrec
