#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_file.h"
#include "data/key_table.h"
#include "evaluate/ranking.h"
#include "model/model.h"
#include "serve/history.h"

namespace micrec {

/// What a person's list comes from; the first of these that there is.
enum class Basis {
  history,       ///< what they did since, in this domain
  dataset,       ///< what they did as a user of this domain
  other_domain,  ///< what they did in other domains: their rows there, mapped to this one and
                 ///< averaged, and the coefficients that their items there have for items here
  popular,       ///< nothing is known of them
};
/// "dataset", "history", "other_domain" or "popular".
const char* name_of(Basis basis);

/// Rows of people for one domain.
struct PeopleRows {
  at::Tensor z;              // (people, dim) float32, zeros where the basis is popular
  std::vector<Basis> basis;  // (people)
};

/// What is left out of a list besides the person's history.
enum class Exclude {
  observed,  ///< what the model has seen of a user of the data set
  all,       ///< their validation and test interactions too
};

struct ListOptions {
  std::int64_t k = 20;
  Exclude exclude = Exclude::observed;
};

/// A person's list; views hold during the call that gets it.
struct Recommendation {
  std::string_view user;
  Basis basis = Basis::popular;
  std::span<const ScoredItem> items;  // best first, ties to the smaller item number
};

/// Recommends items of a trained model to users of its data set and to people who came later.
/// Nothing is trained: who has a history in a domain gets a row from it, as the model would have
/// given a user; who is known in another domain alone is mapped from there, where the domains share
/// people; all others get the items with the most training interactions. Where there is item
/// regression, lists are by the mix of both terms, and the linear term is over what a person did in
/// all domains: in each what they did since, or else what they did as a user of the data set.
///
/// Ranks    the model lives on one rank.
class Recommender {
 public:
  /// `dataset`, `model` and `coefficients` (of the items of all domains, or null) outlive it;
  /// `epoch` is the one whose annealing inference uses. The model is not asked for embeddings that
  /// no mix takes.
  ///
  /// Shapes   mixes: (domains), or none for the product of embeddings alone.
  /// Cost     the final rows of all nodes and the keys of all users, in memory; with coefficients
  ///          all interactions too.
  Recommender(const DatasetFile& dataset, Model& model, std::int64_t epoch,
              const SparseRows* coefficients = nullptr, std::vector<ScoreMix> mixes = {});

  const DatasetFile& dataset() const { return dataset_; }
  /// The keys of the users of a domain, numbered as in the data set.
  const KeyTable& users(int domain) const { return users_[domain]; }
  /// Has the people of a history served from it in that domain.
  void set_history(int domain, History history);
  /// The keys in all histories, or those of the users of the domain where there are none.
  std::vector<std::string> everyone(int domain) const;

  PeopleRows rows_for(int domain, std::span<const std::string> keys) const;

  /// Calls `use` with a list for each of the keys, in order.
  ///
  /// Errors   those of top_k() and of reading the data set.
  /// Cost     2 * people * items * dim operations; rows and lists of 4,096 people at a time.
  void recommend(int domain, std::span<const std::string> keys, const ListOptions& options,
                 const std::function<void(const Recommendation&)>& use) const;

 private:
  using Items = std::vector<std::vector<std::int32_t>>;  // of each user, rising

  PeopleRows own_rows(int domain, std::span<const std::string> keys) const;
  std::vector<ScoredItem> popular_items(int domain, std::int64_t k) const;
  Items items_of_users(int domain, Exclude exclude) const;
  NumberLists left_out(int domain, std::span<const std::string> keys, std::span<const Basis> basis,
                       const Items& of_users) const;
  Candidates candidates(int domain) const;
  NumberLists histories_of(std::span<const std::string> keys) const;

  const DatasetFile& dataset_;
  Model& model_;
  std::int64_t epoch_;
  const SparseRows* coefficients_;  // (items of all domains)
  std::vector<ScoreMix> mixes_;     // (domains)
  at::Tensor z_;                    // (nodes, dim) float32 on the host, final rows
  std::vector<Items> seen_;         // [domain] by the model, with coefficients
  std::vector<KeyTable> users_;     // [domain]
  std::vector<History> histories_;  // [domain]
};

}  // namespace micrec
