#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "model/item_regression/item_regression_costs.h"
#include "model/item_regression/item_regression_fit.h"
#include "model/item_regression/recency.h"

namespace micrec {

/// Settings that were asked for; an empty list is chosen on validation. One value is of every
/// domain, else there is one a domain.
struct ItemRegressionWish {
  std::vector<double> lambda;
  std::vector<double> cross;
  std::vector<double> alpha;      ///< of all modalities
  std::vector<double> half_life;  ///< of histories; see model/item_regression/recency.h
};

/// The settings of each domain, and what was tried for them.
struct ItemRegressionChoice {
  struct Tried {
    int domain = 0;
    ItemRegressionSettings settings;
    double half_life = kNoRecency;
    double metric = 0;
  };
  std::vector<ItemRegressionSettings> chosen;  // [domain]
  std::vector<double> half_life;               // [domain]
  std::vector<Tried> tried;                    // in order; none without validation
};

/// NDCG@20 on the validation interactions of each domain, ranked by these coefficients alone over
/// histories with half-lives (domains); below 0 where a domain has none. Ranks: collective.
using RateCoefficients = std::function<std::vector<double>(const SparseRows& coefficients,
                                                           std::span<const double> half_life)>;

/// Chooses what the wish leaves open, one setting after the other: lambda, alpha of each modality,
/// then whether to cross. A tie goes to the value nearer to the default. Where a domain has more
/// than 20,000 items, a seeded sample of so many is solved for. Half-lives are the wish's, or
/// kNoRecency.
///
/// `rate`: empty where there is no validation: the defaults are taken.
/// Ranks    collective. Errors   Error(usage) where a list fits neither one nor all domains.
/// Cost     a fit of all solutions of one setting each. `progress`: as of
///          ItemRegressionFit::solve().
ItemRegressionChoice choose_item_regression(const ItemRegressionFit& fit, int domains,
                                            const ItemRegressionWish& wish,
                                            const RateCoefficients& rate,
                                            const std::function<void(double)>& progress);

/// What a fit solves for, in order, as a plan has it: what choose_item_regression() does where
/// there is a validation, then fit_item_regression(). Neighbours cross if they do in any domain.
std::vector<ItemRegressionSolve> solves_of_fit(const ItemRegressionWish& wish, int domains,
                                               int modalities, bool has_validation);

/// Coefficients with the chosen settings. Ranks: collective.
SparseRows fit_item_regression(const ItemRegressionFit& fit, const ItemRegressionChoice& choice,
                               const std::function<void(double)>& progress);

/// Chooses the half-life of every domain by the coefficients that were fitted, where the wish
/// leaves it open; a tie goes to the longer one. Ranks: collective. Cost: an evaluation for each of
/// six.
void choose_half_life(const SparseRows& coefficients, const ItemRegressionWish& wish,
                      const RateCoefficients& rate, ItemRegressionChoice& choice);

/// What was chosen and what was tried for it, by domain; "recency" where there is one:
/// {"food": {"lambda": 60, "cross": 0.6, "alpha": {"text": 2}, "recency": 2,
///           "tried": [{..., "ndcg@20": 0.08}]}}
nlohmann::ordered_json to_json(const ItemRegressionChoice& choice,
                               const std::vector<std::string>& domains,
                               const std::vector<std::string>& modalities);

/// The settings that such an object holds for each domain.
/// Errors   Error(Cause::checkpoint) naming `origin` where it lacks one or a number is none.
std::vector<ItemRegressionSettings> chosen_settings(const nlohmann::json& chosen,
                                                    const std::vector<std::string>& domains,
                                                    const std::vector<std::string>& modalities,
                                                    const std::string& origin);

/// The half-lives that such an object holds, one a domain; kNoRecency where it says nothing.
/// Errors   Error(Cause::checkpoint) naming `origin` where one is no number from 0.
std::vector<double> chosen_half_life(const nlohmann::json& chosen,
                                     const std::vector<std::string>& domains,
                                     const std::string& origin);

/// Refuses a list that has neither one value nor one a domain; empty is fine. Errors: Error(usage)
/// naming the flag.
void check_one_a_domain(const std::vector<double>& list, int domains, const char* flag);

}  // namespace micrec
