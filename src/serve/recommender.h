#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_file.h"
#include "data/key_table.h"
#include "evaluate/ranking.h"
#include "model/model.h"
#include "serve/filter/item_filter.h"
#include "serve/history.h"
#include "serve/trained_run.h"

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

/// Somebody to recommend to: a key, what they did since, or both. Views hold during the call.
struct Person {
  std::optional<std::string_view> key;
  /// [domain] at least one item; null where the key tells what they did there. Or none, for null in
  /// all domains.
  std::vector<const MetItems*> histories;

  const MetItems* history(int domain) const {
    return histories.empty() ? nullptr : histories[domain];
  }
};

/// Rows of people for one domain.
struct PeopleRows {
  at::Tensor z;              // (people, dim) float32, zeros where the basis is popular
  std::vector<Basis> basis;  // (people)
};

/// What is left out of a list: the person's history and, of a user of the data set,
enum class Exclude {
  observed,  ///< what the model has seen of them
  all,       ///< their validation and test interactions too
  none,      ///< nothing, the history neither
};

struct ListOptions {
  std::int64_t k = 20;
  Exclude exclude = Exclude::observed;
  const ItemFilter* filter = nullptr;  ///< of the domain's items; null: all may be listed
};

/// A person's list; views hold during the call that gets it.
struct Recommendation {
  std::string_view user;  // empty where they have no key
  Basis basis = Basis::popular;
  std::span<const ScoredItem> items;  // best first, ties to the smaller item number
};

/// What one person's items score; all are training interactions where the basis is popular.
struct PersonScores {
  Basis basis = Basis::popular;
  std::vector<float> scores;  // (items asked for)
};

/// Recommends items of a trained model to users of its data set and to people who came later.
/// Nothing is trained: who has a history in a domain gets a row from it, as the model would have
/// given a user; who is known in another domain alone is mapped from there, where the domains share
/// people; all others get the items with the most training interactions. Where there is item
/// regression, lists are by the mix of both terms, and the linear term is over what a person did in
/// all domains: in each what they did since, or else what they did as a user of the data set. What
/// each of it counts is told by the domain's half-life (model/item_regression/recency.h).
///
/// Ranks    the model lives on one rank. Once it is made, and prepare() was called, several threads
///          may ask at once.
class Recommender {
 public:
  /// `dataset`, `model` and `coefficients` (of the items of all domains, or null) outlive it;
  /// `epoch` is the one whose annealing inference uses. The model is not asked for embeddings that
  /// no mix takes.
  ///
  /// Shapes   mixes: (domains), or none for the product of embeddings alone; half_life: (domains),
  ///          or none for kNoRecency.
  /// Cost     the final rows of all nodes, what new people read of the graph, the keys of all users
  ///          and all interactions, in memory.
  Recommender(const DatasetFile& dataset, Model& model, std::int64_t epoch,
              const SparseRows* coefficients = nullptr, std::vector<ScoreMix> mixes = {},
              std::vector<double> half_life = {});
  /// Of a run, which outlives it.
  explicit Recommender(const TrainedRun& run);
  ~Recommender();

  const DatasetFile& dataset() const { return dataset_; }
  const ModelConfig& config() const { return model_.config(); }
  /// The keys of the users of a domain, numbered as in the data set.
  const KeyTable& users(int domain) const { return users_[domain]; }
  /// What a person did in a domain: their history there, or what the model has seen of them as its
  /// user; null: nothing.
  const MetItems* met(int domain, const Person& person) const;
  /// Whether it matters what of a history came when.
  bool fades() const { return !half_life_.empty(); }
  /// Has the people of a history served from it in that domain.
  void set_history(int domain, History history);
  /// The keys in all histories, or those of the users of the domain where there are none.
  std::vector<std::string> everyone(int domain) const;

  /// Makes what all lists of a domain share: its items packed for the kernels, the order of the
  /// popular ones, what is left out. The first question about a domain does it, where nobody has.
  ///
  /// Errors   those of reading the data set.
  void prepare(int domain, Exclude exclude) const;

  /// People who are known by key, with what histories have of them.
  std::vector<Person> people_of(std::span<const std::string> keys) const;
  PeopleRows rows_for(int domain, std::span<const Person> people) const;

  /// Calls `use` with a list for each of the people, in order.
  ///
  /// Errors   those of top_k() and of prepare().
  /// Cost     2 * people * items * dim operations; rows and lists of 4,096 people at a time.
  void recommend(int domain, std::span<const Person> people, const ListOptions& options,
                 const std::function<void(const Recommendation&)>& use) const;
  void recommend(int domain, std::span<const std::string> keys, const ListOptions& options,
                 const std::function<void(const Recommendation&)>& use) const;

  /// The scores that items of a domain have in a person's list, or would have were they not left
  /// out.
  PersonScores score(int domain, const Person& person, std::span<const std::int32_t> items) const;

  /// The items of a domain by the cosine of their final rows to the mean direction of some, without
  /// those: the k first, of the ones that a filter lets through. Nothing where these have no rows.
  ///
  /// Cost     2 * items * dim operations.
  std::optional<std::vector<ScoredItem>> similar(int domain, std::span<const std::int32_t> items,
                                                 std::int64_t k,
                                                 const ItemFilter* filter = nullptr) const;

  /// All items of a domain, those with the most training interactions first. After prepare().
  std::span<const ScoredItem> popular(int domain) const;

 private:
  friend class Explainer;
  struct Catalogue;  // of a domain
  struct Ranked;     // people as the kernels take them

  /// What people did in all domains, numbered over all of them.
  struct WeighedHistories {
    NumberLists items;
    std::vector<float> weights;  // (items.values) what each counts for a domain's scores; none: 1
  };

  std::int32_t user_of(int domain, const Person& person) const;
  PeopleRows own_rows(int domain, std::span<const Person> people) const;
  std::vector<ScoredItem> popular_items(int domain) const;
  void read_seen();
  NumberLists left_out(int domain, std::span<const Person> people, std::span<const Basis> basis,
                       Exclude exclude) const;
  Candidates candidates(int domain) const;
  const Catalogue& catalogue(int domain) const;
  WeighedHistories histories_for(int target, std::span<const Person> people) const;
  Ranked rank(int domain, std::span<const Person> people) const;

  const DatasetFile& dataset_;
  Model& model_;
  Model::NewUserRows new_user_rows_;
  const SparseRows* coefficients_;           // (items of all domains)
  std::vector<ScoreMix> mixes_;              // (domains)
  at::Tensor z_;                             // (nodes, dim) float32 on the host, final rows
  std::vector<double> half_life_;            // (domains), or none
  std::vector<std::vector<MetItems>> seen_;  // [domain][user] by the model
  std::vector<KeyTable> users_;              // [domain]
  std::vector<History> histories_;           // [domain]
  std::vector<std::unique_ptr<Catalogue>> catalogues_;  // [domain]
};

}  // namespace micrec
