#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "serve/observed_log.h"

namespace micrec {

enum class Exclude;
struct TrainedRun;
class ServedModel;

/// Titles of items by domain and item key.
using ItemTitles = std::map<std::string, std::unordered_map<std::string, std::string>>;

/// A model ready to be asked: its lists prepared, its keys numbered.
///
/// Errors   Error(usage) where titles name a domain that it does not have; those of reading the data
///          set.
/// Cost     that of a Recommender, and keys and titles of all items.
std::shared_ptr<const ServedModel> make_served_model(std::unique_ptr<TrainedRun> run,
                                                     const ItemTitles& titles);

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
  std::map<std::string, std::vector<std::string>> history;
};

/// Item keys of a request that the data set does not have, by domain.
struct UnknownItems {
  std::int64_t count = 0;
  std::string example;  // the first
};
using UnknownByDomain = std::map<std::string, UnknownItems>;

struct AnsweredItem {
  std::string item;
  std::string title;  // empty where there is none
  float score = 0;
};

/// Items of a domain, best first, and what their scores rest on (name_of(Basis)).
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
};

struct ScoreRequest {
  Asker person;
  std::map<std::string, std::vector<std::string>> items;  // keys by domain
};

struct SimilarRequest {
  std::map<std::string, std::vector<std::string>> items;  // keys by domain
  std::vector<std::string> domains;                       // none: those of the items
  std::int64_t k = 20;
};

struct ItemSearch {
  std::string domain;
  std::string text;  // a part of the key or title, letters large or small
  std::int64_t k = 20;
};

struct ObserveAnswer {
  std::int64_t added = 0;
  std::int64_t known = 0;  // already
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
  std::string dataset;  // path
  std::string fingerprint;
  std::string model;  // its kind
  std::int64_t dim = 0;
  std::vector<ServedDomain> domains;
  std::int64_t people = 0;  // of the data set
  std::int64_t observed_people = 0;
  std::int64_t observed_events = 0;
  std::int64_t log_bytes = 0;
};

/// Answers single requests of a trained model, as Recommender would, and remembers what it is told.
///
/// Every member may be called by several threads at once.
/// Errors   Error(usage) where a request names what there is not, or asks for more than the limits.
/// Cost     a list: the rows of the person's history, one product with the items of each domain.
class RecommendationService {
 public:
  /// Events are appended to `log` and, those it holds, known from the start; without one nothing can
  /// be observed. Says on `report` which of them are of no use to the model.
  RecommendationService(std::shared_ptr<const ServedModel> model, ServiceLimits limits,
                        const std::string& log, std::ostream& report);
  ~RecommendationService();

  const ServiceLimits& limits() const { return limits_; }

  Answer recommend(const ListRequest& request) const;
  /// The items in the order in which they are asked for.
  Answer score(const ScoreRequest& request) const;
  /// Items with the largest cosines: in a domain of items that were given, to the mean direction of
  /// their final rows; in another one, whose rows are of another space, to the row that a person who
  /// met just these items has there.
  Answer similar(const SimilarRequest& request) const;
  /// Those with the most training interactions first, which are their scores.
  Answer find_items(const ItemSearch& search) const;

  /// Used by every later request of the same people.
  /// Errors   Error(io) where the log cannot take them: then none counts.
  ObserveAnswer observe(const std::vector<ObservedEvent>& events);

  /// Answers from another model from now on; requests that are being answered keep theirs.
  /// Errors   Error(checkpoint) where it is of another data set.
  void replace(std::shared_ptr<const ServedModel> model);

  ServiceState state() const;

 private:
  struct Observations;  // of people, in the numbers of the data set
  struct Resolved;      // an asker, in numbers

  std::shared_ptr<const ServedModel> model() const;
  Resolved resolve(const ServedModel& model, const Asker& person, UnknownByDomain& unknown) const;
  void remember(const ServedModel& model, const std::vector<ObservedEvent>& events,
                ObserveAnswer& answer);
  std::int64_t checked_length(std::int64_t k) const;

  const ServiceLimits limits_;
  mutable std::mutex model_mutex_;
  std::shared_ptr<const ServedModel> model_;
  mutable std::shared_mutex observed_mutex_;
  std::unique_ptr<Observations> observed_;
  std::unique_ptr<ObservedLog> log_;
};

}  // namespace micrec
