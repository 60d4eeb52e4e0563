#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "model/model.h"
#include "serve/recommender.h"

namespace micrec {

/// What an item of a person's history, of any domain, adds to a score.
struct ItemShare {
  int domain = 0;
  std::int32_t item = 0;
  double share = 0;
};

/// A score as a sum: that of the shares of the history's items, and of what belongs to none of
/// them.
struct Explanation {
  std::vector<ItemShare> items;  ///< of the whole history, the largest share first
  double no_item = 0;            ///< tokens, offsets, and rows that are not a sum over items
  double embeddings = 0;         ///< how much of the score is the product of embeddings
};

/// An explanation in few words: its score is the sum of the shares, of the rest and of what belongs
/// to no item.
struct Reasons {
  std::span<const ItemShare> items;  ///< of the explanation: the largest shares above zero
  double other_items = 0;            ///< the shares of all others, together
};
/// With so many items at most. The explanation outlives it.
Reasons largest(const Explanation& explanation, std::int64_t count);

/// Says of scores which items of the person's history carried them. A score is linear in what the
/// items of the history give: the sum of coefficients is a sum over them, and the person's row is
/// the sum of what each of their rows adds to it (Model::new_user_shares), with the norms and
/// degrees of the whole history; so is the row that a ridge map makes of it in another domain. A
/// row that was solved from a whole history (ials) belongs to no item.
///
/// Ranks    the model lives on one rank.
class Explainer {
 public:
  /// `recommender` outlives it; the shares are of its model and epoch.
  Explainer(const Recommender& recommender, Model::NewUserShares shares)
      : recommender_(recommender), shares_(std::move(shares)) {}

  /// Of items of a domain, as recommend() scores them for the person.
  ///
  /// Cost     2 * history * dim operations an item.
  std::vector<Explanation> explain(int domain, const Person& person, Basis basis,
                                   std::span<const ScoredItem> items) const;
  /// Of a list of recommend().
  std::vector<Explanation> explain(int domain, const Recommendation& list) const;

 private:
  /// The summands of a person's row.
  struct RowShares {
    std::vector<std::pair<int, std::int32_t>> items;  // (domain, item)
    at::Tensor rows;  // (items + 1, dim) float32; the last is of no item
  };
  using Shares = std::map<std::pair<int, std::int32_t>, double>;  // by (domain, item)
  std::optional<RowShares> own_shares(int domain, const Person& person) const;
  std::optional<RowShares> row_shares(int domain, const Person& person, Basis basis) const;
  void add_coefficients(int domain, std::int32_t item, const Recommender::WeighedHistories& history,
                        Shares& share_of) const;

  const Recommender& recommender_;
  Model::NewUserShares shares_;
};

}  // namespace micrec
