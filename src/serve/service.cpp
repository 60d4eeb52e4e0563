#include "serve/service.h"

#include <algorithm>
#include <ostream>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "serve/history.h"
#include "serve/recommender.h"
#include "serve/trained_run.h"

namespace micrec {

/// A run, the lists of its model, and the keys and titles of its items.
class ServedModel {
 public:
  ServedModel(std::unique_ptr<TrainedRun> run, const ItemTitles& titles)
      : run_(std::move(run)),
        recommender_(run_->dataset, *run_->model, run_->epoch, run_->coefficients(),
                     run_->model->item_regression().mixes()) {
    for (int domain = 0; domain < domains(); ++domain) {
      recommender_.prepare(domain, Exclude::all);
      items_.push_back(number_keys(run_->dataset.item_keys(domain)));
      titles_.emplace_back(items_.back().size());
    }
    for (const auto& [name, of_domain] : titles) {
      const int domain = run_->dataset.domain_number(name);
      for (std::int32_t item = 0; item < items_[domain].size(); ++item) {
        const auto title = of_domain.find(std::string(items_[domain].key(item)));
        if (title != of_domain.end()) titles_[domain][item] = title->second;
      }
    }
    for (int domain = 0; domain < domains(); ++domain) {
      searched_.emplace_back();
      for (std::int32_t item = 0; item < items_[domain].size(); ++item) {
        searched_.back().push_back(
            small_letters(text(items_[domain].key(item), '\n', titles_[domain][item])));
      }
    }
  }

  const TrainedRun& run() const { return *run_; }
  const Recommender& recommender() const { return recommender_; }
  int domains() const { return static_cast<int>(run_->dataset.domains().size()); }
  const std::string& name(int domain) const { return run_->dataset.domains()[domain].name; }
  const KeyTable& items(int domain) const { return items_[domain]; }
  /// Key and title in small letters, a line each.
  const std::string& searched(int domain, std::int32_t item) const {
    return searched_[domain][item];
  }

  /// The numbers of item keys, in their order; others are counted.
  std::vector<std::int32_t> numbers(int domain, const std::vector<std::string>& keys,
                                    UnknownByDomain& unknown) const {
    std::vector<std::int32_t> numbers;
    for (const std::string& key : keys) {
      const std::int32_t item = items_[domain].find(key);
      if (item >= 0) {
        numbers.push_back(item);
      } else if (unknown[name(domain)].count++ == 0) {
        unknown[name(domain)].example = key;
      }
    }
    return numbers;
  }

  AnsweredItem answered(int domain, const ScoredItem& item) const {
    return {std::string(items_[domain].key(item.item)), titles_[domain][item.item], item.score};
  }

 private:
  std::unique_ptr<TrainedRun> run_;
  Recommender recommender_;
  std::vector<KeyTable> items_;                     // [domain]
  std::vector<std::vector<std::string>> titles_;    // [domain][item]
  std::vector<std::vector<std::string>> searched_;  // [domain][item]
};

std::shared_ptr<const ServedModel> make_served_model(std::unique_ptr<TrainedRun> run,
                                                     const ItemTitles& titles) {
  return std::make_shared<const ServedModel>(std::move(run), titles);
}

namespace {

void make_set(std::vector<std::int32_t>& items) {
  std::ranges::sort(items);
  items.erase(std::unique(items.begin(), items.end()), items.end());
}

/// The domains asked for, each once, in the order in which they are named.
std::vector<int> chosen_domains(const ServedModel& model, const std::vector<std::string>& names) {
  std::vector<int> chosen;
  for (const std::string& name : names) {
    const int domain = model.run().dataset.domain_number(name);
    if (std::ranges::find(chosen, domain) == chosen.end()) chosen.push_back(domain);
  }
  return chosen;
}

void check_size(std::size_t size, std::int64_t limit, const char* what) {
  if (static_cast<std::int64_t>(size) <= limit) return;
  throw Error(Cause::usage,
              text("the request has ", with_commas(static_cast<std::int64_t>(size)), " ", what,
                   ", and this server takes at most ", with_commas(limit), "; send fewer"));
}

std::size_t size_of(const std::map<std::string, std::vector<std::string>>& items) {
  std::size_t size = 0;
  for (const auto& [domain, keys] : items) size += keys.size();
  return size;
}

}  // namespace

struct RecommendationService::Observations {
  std::vector<History> of_domain;
  std::set<std::string, std::less<>> people;
  std::int64_t events = 0;
};

struct RecommendationService::Resolved {
  std::vector<std::vector<std::int32_t>> histories;  // [domain]
  Person person;

  /// Takes a history that stands for what the person did in a domain.
  void set(int domain, std::vector<std::int32_t> items) {
    if (items.empty()) return;
    histories[domain] = std::move(items);
    person.histories[domain] = &histories[domain];
  }
};

RecommendationService::RecommendationService(std::shared_ptr<const ServedModel> model,
                                             ServiceLimits limits, const std::string& log,
                                             std::ostream& report)
    : limits_(limits), model_(std::move(model)), observed_(std::make_unique<Observations>()) {
  observed_->of_domain.resize(model_->domains());
  if (log.empty()) return;
  ObserveAnswer read;
  std::int64_t of_others = 0;
  log_ = std::make_unique<ObservedLog>(
      log,
      [&](const std::vector<ObservedEvent>& events) {
        std::vector<ObservedEvent> usable;
        for (const ObservedEvent& event : events) {
          bool is_known = false;
          for (int d = 0; d < model_->domains(); ++d) is_known |= model_->name(d) == event.domain;
          if (is_known) usable.push_back(event);
          of_others += !is_known;
        }
        remember(*model_, usable, read);
      },
      report);
  for (const auto& [domain, items] : read.unknown) of_others += items.count;
  if (of_others > 0) {
    report << log << ": " << with_commas(of_others)
           << " of its events are of items that this model does not know; they stay in the file\n";
  }
}

RecommendationService::~RecommendationService() = default;

std::shared_ptr<const ServedModel> RecommendationService::model() const {
  const std::lock_guard<std::mutex> lock(model_mutex_);
  return model_;
}

std::int64_t RecommendationService::checked_length(std::int64_t k) const {
  if (k >= 1 && k <= limits_.k) return k;
  throw Error(Cause::usage, text("k is ", k, ", and this server gives lists of 1 to ",
                                 with_commas(limits_.k), " items"));
}

/// Each domain's history is what the request gives, or else what was observed since joined to what
/// the data set has of a user; where there is neither, Recommender takes the data set's user.
RecommendationService::Resolved RecommendationService::resolve(const ServedModel& model,
                                                               const Asker& asker,
                                                               UnknownByDomain& unknown) const {
  check_size(size_of(asker.history), limits_.items, "items in its history");
  Resolved resolved;
  resolved.histories.resize(model.domains());
  resolved.person.histories.resize(model.domains());
  if (asker.user) {
    resolved.person.key = *asker.user;
    const std::shared_lock<std::shared_mutex> lock(observed_mutex_);
    for (int domain = 0; domain < model.domains(); ++domain) {
      const std::vector<std::int32_t>* const later = observed_->of_domain[domain].of(*asker.user);
      if (later == nullptr) continue;
      std::vector<std::int32_t> items = *later;
      const std::int32_t user = model.recommender().users(domain).find(*asker.user);
      if (user >= 0) {
        const std::vector<std::int32_t>& before = model.recommender().seen(domain, user);
        items.insert(items.end(), before.begin(), before.end());
        make_set(items);
      }
      resolved.set(domain, std::move(items));
    }
  }
  for (const auto& [name, keys] : asker.history) {
    const int domain = model.run().dataset.domain_number(name);
    std::vector<std::int32_t> items = model.numbers(domain, keys, unknown);
    make_set(items);
    resolved.set(domain, std::move(items));
  }
  return resolved;
}

Answer RecommendationService::recommend(const ListRequest& request) const {
  const std::shared_ptr<const ServedModel> model = this->model();
  const ListOptions options = {.k = checked_length(request.k), .exclude = request.exclude};
  Answer answer = {model->run().checkpoint, {}, {}};
  const Resolved who = resolve(*model, request.person, answer.unknown);
  std::vector<int> domains = chosen_domains(*model, request.domains);
  for (int d = 0; request.domains.empty() && d < model->domains(); ++d) domains.push_back(d);
  for (const int domain : domains) {
    model->recommender().recommend(
        domain, {&who.person, 1}, options, [&](const Recommendation& list) {
          AnsweredList answered = {model->name(domain), name_of(list.basis), {}};
          for (const ScoredItem& item : list.items) {
            answered.items.push_back(model->answered(domain, item));
          }
          answer.lists.push_back(std::move(answered));
        });
  }
  return answer;
}

Answer RecommendationService::score(const ScoreRequest& request) const {
  const std::shared_ptr<const ServedModel> model = this->model();
  check_size(size_of(request.items), limits_.items, "items to score");
  Answer answer = {model->run().checkpoint, {}, {}};
  const Resolved who = resolve(*model, request.person, answer.unknown);
  for (const auto& [name, keys] : request.items) {
    const int domain = model->run().dataset.domain_number(name);
    const std::vector<std::int32_t> items = model->numbers(domain, keys, answer.unknown);
    const PersonScores scored = model->recommender().score(domain, who.person, items);
    AnsweredList answered = {name, name_of(scored.basis), {}};
    for (std::size_t n = 0; n < items.size(); ++n) {
      answered.items.push_back(model->answered(domain, {items[n], scored.scores[n]}));
    }
    answer.lists.push_back(std::move(answered));
  }
  return answer;
}

Answer RecommendationService::similar(const SimilarRequest& request) const {
  const std::shared_ptr<const ServedModel> model = this->model();
  const std::int64_t k = checked_length(request.k);
  Answer answer = {model->run().checkpoint, {}, {}};
  const Resolved items = resolve(*model, {{}, request.items}, answer.unknown);
  std::vector<int> domains = chosen_domains(*model, request.domains);
  for (int d = 0; request.domains.empty() && d < model->domains(); ++d) {
    if (items.person.history(d) != nullptr) domains.push_back(d);
  }
  if (std::ranges::all_of(items.histories, &std::vector<std::int32_t>::empty)) {
    throw Error(Cause::usage,
                "no item that the model knows is given; name some by "
                "{\"items\": {\"DOMAIN\": [\"KEY\", ...]}}");
  }
  for (const int domain : domains) {
    const auto list = model->recommender().similar(domain, items.person, k);
    if (!list) {
      throw Error(Cause::usage,
                  text("the items given have no row to compare in ", model->name(domain),
                       ": it shares no people with their domains, or the model has no embeddings"));
    }
    const bool own = items.person.history(domain) != nullptr;
    AnsweredList answered = {model->name(domain), own ? "items" : "other_domain", {}};
    for (const ScoredItem& item : *list) answered.items.push_back(model->answered(domain, item));
    answer.lists.push_back(std::move(answered));
  }
  return answer;
}

Answer RecommendationService::find_items(const ItemSearch& search) const {
  const std::shared_ptr<const ServedModel> model = this->model();
  const std::int64_t k = checked_length(search.k);
  const int domain = model->run().dataset.domain_number(search.domain);
  const std::string wanted = small_letters(search.text);
  AnsweredList found = {search.domain, "popular", {}};
  for (const ScoredItem& item : model->recommender().popular(domain)) {
    if (static_cast<std::int64_t>(found.items.size()) == k) break;
    if (model->searched(domain, item.item).find(wanted) == std::string::npos) continue;
    found.items.push_back(model->answered(domain, item));
  }
  return {model->run().checkpoint, {std::move(found)}, {}};
}

void RecommendationService::remember(const ServedModel& model,
                                     const std::vector<ObservedEvent>& events,
                                     ObserveAnswer& answer) {
  const std::unique_lock<std::shared_mutex> lock(observed_mutex_);
  for (const ObservedEvent& event : events) {
    const int domain = model.run().dataset.domain_number(event.domain);
    const std::vector<std::int32_t> item = model.numbers(domain, {event.item}, answer.unknown);
    if (item.empty()) continue;
    History& history = observed_->of_domain[domain];
    const std::int32_t user = history.users.add(event.user);
    if (user == static_cast<std::int32_t>(history.items.size())) history.items.emplace_back();
    std::vector<std::int32_t>& items = history.items[user];
    const auto place = std::ranges::lower_bound(items, item.front());
    if (place != items.end() && *place == item.front()) {
      ++answer.known;
      continue;
    }
    items.insert(place, item.front());
    observed_->people.insert(event.user);
    ++observed_->events;
    ++answer.added;
  }
}

ObserveAnswer RecommendationService::observe(const std::vector<ObservedEvent>& events) {
  if (!log_)
    throw Error(Cause::usage, "this server observes nothing: it was started without a log");
  const std::shared_ptr<const ServedModel> model = this->model();
  check_size(events.size(), limits_.items, "events");
  ObserveAnswer answer;
  std::vector<ObservedEvent> kept;
  for (const ObservedEvent& event : events) {
    const int domain = model->run().dataset.domain_number(event.domain);
    if (!model->numbers(domain, {event.item}, answer.unknown).empty()) kept.push_back(event);
  }
  log_->append(kept);
  UnknownByDomain told = std::exchange(answer.unknown, {});
  remember(*model, kept, answer);
  answer.unknown = std::move(told);
  return answer;
}

void RecommendationService::replace(std::shared_ptr<const ServedModel> model) {
  const std::string before = this->model()->run().dataset.fingerprint();
  const std::string& after = model->run().dataset.fingerprint();
  if (before != after) {
    throw Error(Cause::checkpoint,
                text(model->run().checkpoint, " is of a data set with fingerprint ", after,
                     ", and this server has ", before, "; start another server for it"));
  }
  const std::lock_guard<std::mutex> lock(model_mutex_);
  model_.swap(model);
}

ServiceState RecommendationService::state() const {
  const std::shared_ptr<const ServedModel> model = this->model();
  const TrainedRun& run = model->run();
  ServiceState state;
  state.checkpoint = run.checkpoint;
  state.dataset = run.dataset.path();
  state.fingerprint = run.dataset.fingerprint();
  state.model = name_of(run.model->config().kind);
  state.dim = run.model->config().dim;
  state.people = run.dataset.people();
  std::vector<ScoreMix> mixes = run.model->item_regression().mixes();
  mixes.resize(model->domains());
  for (int domain = 0; domain < model->domains(); ++domain) {
    const DomainInfo& info = run.dataset.domains()[domain];
    state.domains.push_back({info.name, info.users, info.items, mixes[domain].embeddings,
                             static_cast<double>(mixes[domain].regression)});
  }
  if (log_) state.log_bytes = log_->bytes();
  const std::shared_lock<std::shared_mutex> lock(observed_mutex_);
  state.observed_people = static_cast<std::int64_t>(observed_->people.size());
  state.observed_events = observed_->events;
  return state;
}

}  // namespace micrec
