#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "serve/filter/filter_rules.h"
#include "serve/observed_log.h"

namespace micrec {

enum class Exclude;
class ItemFilter;
class Observations;
class ServedModel;
struct ServedAdditions;

/// Opens a model, what the checkpoint's name means now, with what came since.
using ModelLoader = std::function<std::shared_ptr<const ServedModel>(const ServedAdditions&)>;
using KeysByDomain = std::map<std::string, std::vector<std::string>>;
using TimesByDomain = std::map<std::string, std::vector<std::int64_t>>;

/// How much one request may ask for.
struct ServiceLimits {
  std::int64_t k = 1000;
  std::int64_t items = 10000;  // of a history, to score, to observe
};

/// Who asks: by key, by a history, by both, or nobody in particular.
struct Asker {
  std::optional<std::string> user;
  /// Item keys by domain. In a domain that has known ones they stand for all that the person did
  /// there.
  KeysByDomain history;
  /// When, by domain: as many as keys, in any unit; of a domain that is not named nobody knows.
  TimesByDomain history_times = {};
};

/// Which items a list is made of; in a domain without any of these all.
struct ItemChoice {
  KeysByDomain only_items = {};  // where a domain is named: these alone, be it none
  KeysByDomain exclude_items = {};
  ItemRules rules = {};
};

/// Item keys of a request that the data set does not have, by domain.
struct UnknownItems {
  std::int64_t count = 0;
  std::string example;  // the first
};
using UnknownByDomain = std::map<std::string, UnknownItems>;

/// What an item of somebody's history adds to a score.
struct AnsweredShare {
  std::string domain;
  std::string item;
  std::string title;  // empty where there is none
  double share = 0;
};

/// A score as a sum; see Explanation and Reasons.
struct AnsweredReasons {
  double embeddings = 0;
  std::vector<AnsweredShare> items;
  double other_items = 0;
  double no_item = 0;
};

struct AnsweredItem {
  std::string item;
  std::string title;  // empty where there is none
  float score = 0;
  std::optional<AnsweredReasons> why = {};
};

/// Items of a domain, best first, and what their scores rest on: name_of(Basis), of similar items
/// name_of(Likeness).
struct AnsweredList {
  std::string domain;
  std::string basis;
  std::vector<AnsweredItem> items;
};

struct Answer {
  std::string checkpoint;
  std::vector<AnsweredList> lists;
  UnknownByDomain unknown;
};

struct ListRequest {
  Asker person;
  std::vector<std::string> domains;  // none: all
  std::int64_t k = 20;
  Exclude exclude{};
  ItemChoice choice = {};
  std::int64_t why = 0;  // items of the history to name beside each score; 0: no reasons
};

struct ScoreRequest {
  Asker person;
  KeysByDomain items;
};

struct SimilarRequest {
  KeysByDomain items;
  std::vector<std::string> domains;  // none: those of the items
  std::int64_t k = 20;
  ItemChoice choice = {};
};

struct ItemSearch {
  std::string domain;
  std::string text;  // a part of the key or title, letters large or small
  std::int64_t k = 20;
};

struct ObserveAnswer {
  std::int64_t added = 0;
  std::int64_t known = 0;  // already
  std::int64_t added_items = 0;
  std::int64_t known_items = 0;  // already, or of the data set
  UnknownByDomain unknown;
};

struct ServedDomain {
  std::string name;
  std::int64_t users = 0;
  std::int64_t items = 0;
  bool embeddings = false;  // whether the score has the product of embeddings
  double regression = 0;    // weight of item regression in the score
};

struct ServiceState {
  std::string checkpoint;
  std::string fingerprint;
  std::string model;  // its kind
  std::int64_t dim = 0;
  std::vector<ServedDomain> domains;
  std::int64_t people = 0;  // of the data set
  std::int64_t observed_people = 0;
  std::int64_t observed_events = 0;
  std::int64_t new_items = 0;      // that the model has
  std::int64_t waiting_items = 0;  // that it has not yet
  std::int64_t log_bytes = 0;
};

/// Answers single requests of a trained model, as Recommender would, and remembers what it is told.
///
/// What somebody did counts in the next request about them. New items, and what was done with them
/// and with those that came by files, need a model that has them in its graph: has_news() says that
/// there are some, and reload() opens it, as recommend does for --items and --observed. Until then
/// lists are without them.
///
/// Every member may be called by several threads at once, but reload(), which one calls.
/// Errors   Error(usage) where a request names what there is not, or asks for more than the limits.
/// Cost     a list: the rows of the person's history, one product with the items of each domain.
class RecommendationService {
 public:
  /// Opens the model, once, on what `log` holds. What is told is appended to it; without one
  /// nothing can be observed. Says on `report` what of it is of no use to the model; where that
  /// cannot be opened on the new items, answers are without them. `notify` is called, by any
  /// thread, when has_news() may have become true.
  ///
  /// Errors   those of `load` without additions, and of ObservedLog.
  RecommendationService(ModelLoader load, ServiceLimits limits, const std::string& log,
                        std::ostream& report, std::function<void()> notify = nullptr);
  ~RecommendationService();

  const ServiceLimits& limits() const { return limits_; }

  Answer recommend(const ListRequest& request) const;
  /// The items in the order in which they are asked for.
  Answer score(const ScoreRequest& request) const;
  /// similar_items() of all of the items together.
  Answer similar(const SimilarRequest& request) const;
  /// Those with the most training interactions first, which are their scores.
  Answer find_items(const ItemSearch& search) const;

  /// Used by every later request of the same people.
  /// Errors   Error(io) where the log cannot take it: then none counts.
  ObserveAnswer observe(const Observation& observation);

  /// Whether new items wait for a model.
  bool has_news() const;
  /// Whether they do, and it is time for one: making models takes at most a fifth of the time.
  bool has_news_in_time() const;
  /// Opens the model again, on all that was observed, and answers from it from now on; requests
  /// that are being answered keep theirs.
  ///
  /// Errors   those of the loader; Error(checkpoint) where it is of another data set. Then the old
  ///          one stays.
  void reload();

  ServiceState state() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Resolved;  // an asker, in numbers

  void open_log(const std::string& path, std::ostream& report);
  std::shared_ptr<const ServedModel> open_model();
  std::shared_ptr<const ServedModel> model() const;
  Resolved resolve(const ServedModel& model, const Asker& person, UnknownByDomain& unknown) const;
  void check_choice(const ServedModel& model, const ItemChoice& choice) const;
  void check_new_item(const ServedModel& model, const NewItem& item) const;
  std::int64_t checked_length(std::int64_t k) const;

  const ModelLoader load_;
  const ServiceLimits limits_;
  const std::function<void()> notify_;
  mutable std::mutex model_mutex_;
  std::shared_ptr<const ServedModel> model_;
  std::int64_t loaded_changes_ = 0;  // of the observations, when a model was last opened with them
  Clock::time_point next_load_;      // not before
  mutable std::shared_mutex observed_mutex_;
  std::unique_ptr<Observations> observed_;
  std::unique_ptr<ObservedLog> log_;
};

}  // namespace micrec
