#include "serve/service.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "data/feature_matching.h"
#include "io/paths.h"
#include "serve/observations.h"
#include "serve/recommender.h"
#include "serve/served_model.h"
#include "serve/similar_items.h"

namespace micrec {
namespace {

constexpr std::int64_t kMostShares = 1'000'000;  // of a list: its items times those of the history
constexpr std::size_t kLongestCondition = 4096;  // bytes

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
  throw Error(Cause::usage, "the request has ", with_commas(static_cast<std::int64_t>(size)), " ",
              what, ", and this server takes at most ", with_commas(limit), "; send fewer");
}

std::size_t size_of(const KeysByDomain& items) {
  std::size_t size = 0;
  for (const auto& [domain, keys] : items) size += keys.size();
  return size;
}

/// The number of a domain, or -1.
int find_domain(const ServedModel& model, const std::string& name) {
  for (int domain = 0; domain < model.domains(); ++domain) {
    if (model.name(domain) == name) return domain;
  }
  return -1;
}

/// The numbers of item keys, in their order; others are counted.
std::vector<std::int32_t> numbers_of(const ServedModel& model, int domain,
                                     const std::vector<std::string>& keys,
                                     UnknownByDomain& unknown) {
  std::vector<std::int32_t> numbers;
  for (const std::string& key : keys) {
    const std::int32_t item = model.items(domain).find(key);
    if (item >= 0) {
      numbers.push_back(item);
    } else if (UnknownItems& of_domain = unknown[model.name(domain)]; of_domain.count++ == 0) {
      of_domain.example = key;
    }
  }
  return numbers;
}

AnsweredItem answered(const ServedModel& model, int domain, const ScoredItem& item) {
  return {std::string(model.items(domain).key(item.item)), model.title(domain, item.item),
          item.score};
}

AnsweredReasons answered(const ServedModel& model, const Explanation& explanation,
                         std::int64_t count) {
  const Reasons reasons = largest(explanation, count);
  AnsweredReasons why = {explanation.embeddings, {}, reasons.other_items, explanation.no_item};
  for (const ItemShare& of : reasons.items) {
    why.items.push_back({model.name(of.domain), std::string(model.items(of.domain).key(of.item)),
                         model.title(of.domain, of.item), of.share});
  }
  return why;
}

/// A domain's filter of a request, its own or one that requests share.
class ChosenItems {
 public:
  ChosenItems(const ServedModel& model, int domain, const ItemChoice& choice,
              UnknownByDomain& unknown) {
    if (!choice.rules.is_empty()) shared_ = model.filter(domain, choice.rules);
    const auto only = choice.only_items.find(model.name(domain));
    const auto excluded = choice.exclude_items.find(model.name(domain));
    const bool has_only = only != choice.only_items.end();
    const bool has_excluded = excluded != choice.exclude_items.end();
    if (!has_only && !has_excluded) return;
    own_ = shared_ ? *shared_ : ItemFilter(model.items(domain).size());
    if (has_only) own_->keep_only(numbers_of(model, domain, only->second, unknown));
    if (has_excluded) own_->leave_out(numbers_of(model, domain, excluded->second, unknown));
  }

  const ItemFilter* filter() const { return own_ ? &*own_ : shared_.get(); }

 private:
  std::shared_ptr<const ItemFilter> shared_;
  std::optional<ItemFilter> own_;
};

/// Errors   Error(usage) where times are not as many as the items that they are of.
void check_times(const Asker& asker) {
  for (const auto& [domain, times] : asker.history_times) {
    const auto keys = asker.history.find(domain);
    const std::size_t items = keys == asker.history.end() ? 0 : keys->second.size();
    if (times.size() == items) continue;
    throw Error(Cause::usage, "\"history_times\" has ", times.size(), " times for ",
                excerpt(domain), ", and \"history\" has ", items,
                " items there; expected one for each, in "
                "the same order");
  }
}

/// What was observed of somebody in a domain after what the data set has of them; nothing where no
/// known item was observed.
MetItems observed_and_seen(const ServedModel& model, int domain, const std::string& key,
                           const Observations& observed) {
  const Observations::Told* const later = observed.history(model.name(domain), key);
  if (later == nullptr) return {};
  std::vector<std::int32_t> items;
  std::vector<std::int32_t> since;  // of items that came after the data set, seen without its times
  std::vector<std::int64_t> times;
  for (std::size_t n = 0; n < later->items.size(); ++n) {
    const std::string_view told = observed.item_key(model.name(domain), later->items[n]);
    const std::int32_t item = model.items(domain).find(told);
    if (item < 0) continue;
    items.push_back(item);
    times.push_back(later->turn[n]);
    if (model.is_new(domain, item)) since.push_back(item);
  }
  if (items.empty()) return {};
  if (const MetItems* const before = model.recommender().met(domain, {key, {}})) {
    std::ranges::sort(since);
    for (std::size_t n = 0; n < before->items.size(); ++n) {
      if (std::ranges::binary_search(since, before->items[n])) continue;
      items.push_back(before->items[n]);
      times.push_back(before->newer.empty() ? -1 : -1 - std::int64_t{before->newer[n]});
    }
  }
  return met_items(items, times);
}

/// Errors   Error(usage) where reasons would have too many shares.
void check_shares(const ServedModel& model, const Person& person, std::int64_t k) {
  std::int64_t items = 0;
  for (int domain = 0; domain < model.domains(); ++domain) {
    const MetItems* const met = model.recommender().met(domain, person);
    if (met != nullptr) items += std::ssize(met->items);
  }
  if (items * k <= kMostShares) return;
  throw Error(Cause::usage, "reasons for ", with_commas(k), " items by a history of ",
              with_commas(items), " are more than this server gives; ask for ",
              with_commas(std::max<std::int64_t>(1, kMostShares / items)),
              " items or fewer by \"k\"");
}

/// Errors   Error(checkpoint) where a model is of another data set than the one before.
void check_same_dataset(const ServedModel& before, const ServedModel& made) {
  const std::string& was = before.run().info.dataset_fingerprint;
  const std::string& is = made.run().info.dataset_fingerprint;
  if (was == is) return;
  throw Error(Cause::checkpoint, made.run().checkpoint, " is of a data set with fingerprint ", is,
              ", and this server has ", was, "; start another server for it");
}

}  // namespace

struct RecommendationService::Resolved {
  std::vector<MetItems> histories;  // [domain]
  Person person;

  /// Takes a history that stands for what the person did in a domain.
  void set(int domain, MetItems met) {
    if (met.items.empty()) return;
    histories[domain] = std::move(met);
    person.histories[domain] = &histories[domain];
  }
};

RecommendationService::RecommendationService(ModelLoader load, ServiceLimits limits,
                                             const std::string& log, std::ostream& report,
                                             std::function<void()> notify)
    : load_(std::move(load)),
      limits_(limits),
      notify_(std::move(notify)),
      observed_(std::make_unique<Observations>()) {
  if (!log.empty() && is_there(log)) open_log(log, report);
  try {
    model_ = open_model();
  } catch (const Error& error) {
    if (observed_->changes() == 0) throw;
    model_ = load_({});
    report << error.what() << "; answers are without new items\n";
  }
  next_load_ = {};  // what comes first need not wait
  if (log.empty()) return;
  if (!log_) open_log(log, report);  // which makes it, as there is a model now
  const std::int64_t foreign =
      observed_->count_foreign([&](const std::string& name, std::string_view item) {
        const int domain = find_domain(*model_, name);
        return domain >= 0 && model_->items(domain).find(item) >= 0;
      });
  if (foreign > 0) {
    report << log << ": " << with_commas(foreign)
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
  throw Error(Cause::usage, "k is ", k, ", and this server gives lists of 1 to ",
              with_commas(limits_.k), " items");
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
      resolved.set(domain, observed_and_seen(model, domain, *asker.user, *observed_));
    }
  }
  check_times(asker);
  for (const auto& [name, keys] : asker.history) {
    const int domain = model.run().dataset.domain_number(name);
    const auto given = asker.history_times.find(name);
    std::vector<std::int64_t> times;  // of known items
    for (std::size_t n = 0; given != asker.history_times.end() && n < keys.size(); ++n) {
      if (model.items(domain).find(keys[n]) >= 0) times.push_back(given->second[n]);
    }
    resolved.set(domain, met_items(numbers_of(model, domain, keys, unknown), times));
  }
  return resolved;
}

void RecommendationService::check_choice(const ServedModel& model, const ItemChoice& choice) const {
  for (const KeysByDomain* keys : {&choice.only_items, &choice.exclude_items}) {
    for (const auto& [name, items] : *keys) model.run().dataset.domain_number(name);
  }
  check_size(size_of(choice.only_items) + size_of(choice.exclude_items), limits_.items,
             "items in only_items and exclude_items");
  for (const std::string* rule : {&choice.rules.where, &choice.rules.at_most}) {
    if (rule->size() <= kLongestCondition) continue;
    throw Error(Cause::usage, "\"", rule == &choice.rules.where ? "where" : "at_most", "\" has ",
                with_commas(std::ssize(*rule)), " bytes, and this server takes at most ",
                with_commas(kLongestCondition),
                "; name items by \"only_items\" or \"exclude_items\" instead");
  }
}

Answer RecommendationService::recommend(const ListRequest& request) const {
  const std::shared_ptr<const ServedModel> model = this->model();
  ListOptions options = {.k = checked_length(request.k), .exclude = request.exclude};
  check_choice(*model, request.choice);
  Answer answer = {model->run().checkpoint, {}, {}};
  const Resolved who = resolve(*model, request.person, answer.unknown);
  if (request.why > 0) check_shares(*model, who.person, options.k);
  std::vector<int> domains = chosen_domains(*model, request.domains);
  for (int d = 0; request.domains.empty() && d < model->domains(); ++d) domains.push_back(d);
  for (const int domain : domains) {
    const ChosenItems chosen(*model, domain, request.choice, answer.unknown);
    options.filter = chosen.filter();
    model->recommender().recommend(
        domain, {&who.person, 1}, options, [&](const Recommendation& list) {
          AnsweredList of_domain = {model->name(domain), name_of(list.basis), {}};
          for (const ScoredItem& item : list.items) {
            of_domain.items.push_back(answered(*model, domain, item));
          }
          if (request.why > 0) {
            const std::vector<Explanation> explanations =
                model->explainer().explain(domain, who.person, list.basis, list.items);
            for (std::size_t n = 0; n < explanations.size(); ++n) {
              of_domain.items[n].why = answered(*model, explanations[n], request.why);
            }
          }
          answer.lists.push_back(std::move(of_domain));
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
    const std::vector<std::int32_t> items = numbers_of(*model, domain, keys, answer.unknown);
    const PersonScores scored = model->recommender().score(domain, who.person, items);
    AnsweredList of_domain = {name, name_of(scored.basis), {}};
    for (std::size_t n = 0; n < items.size(); ++n) {
      of_domain.items.push_back(answered(*model, domain, {items[n], scored.scores[n]}));
    }
    answer.lists.push_back(std::move(of_domain));
  }
  return answer;
}

Answer RecommendationService::similar(const SimilarRequest& request) const {
  const std::shared_ptr<const ServedModel> model = this->model();
  const std::int64_t k = checked_length(request.k);
  check_choice(*model, request.choice);
  Answer answer = {model->run().checkpoint, {}, {}};
  const Resolved items = resolve(*model, {{}, request.items}, answer.unknown);
  std::vector<int> domains = chosen_domains(*model, request.domains);
  for (int d = 0; request.domains.empty() && d < model->domains(); ++d) {
    if (items.person.history(d) != nullptr) domains.push_back(d);
  }
  if (std::ranges::all_of(items.person.histories, [](auto* met) { return met == nullptr; })) {
    throw Error(Cause::usage,
                "no item that the model knows is given; name some by "
                "{\"items\": {\"DOMAIN\": [\"KEY\", ...]}}");
  }
  for (const int domain : domains) {
    const ChosenItems chosen(*model, domain, request.choice, answer.unknown);
    const SimilarItems list =
        similar_items(model->recommender(), items.person, domain, k, chosen.filter());
    if (list.likeness == Likeness::none) {
      throw Error(Cause::usage, "nothing relates the items given to those of ", model->name(domain),
                  ": ", kUnrelated, "; leave it out of \"domains\"");
    }
    AnsweredList of_domain = {model->name(domain), name_of(list.likeness), {}};
    for (const ScoredItem& item : list.items) {
      of_domain.items.push_back(answered(*model, domain, item));
    }
    answer.lists.push_back(std::move(of_domain));
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
    found.items.push_back(answered(*model, domain, item));
  }
  return {model->run().checkpoint, {std::move(found)}, {}};
}

/// Errors   Error(usage) where a file of interactions could not have the key.
void check_key(const char* what, const std::string& key) {
  const char* const problem = problem_of_key(key);
  if (problem == nullptr) return;
  throw Error(Cause::usage, "the key ", excerpt(key), " of ", what, " ", problem);
}

/// Errors   Error(usage) where its key is none, or its features are not as the data set has them.
void RecommendationService::check_new_item(const ServedModel& model, const NewItem& item) const {
  const DatasetFile& dataset = model.run().dataset;
  dataset.domain_number(item.domain);
  check_key("a new item", item.item);
  for (const auto& [modality, row] : item.features) {
    const ModalityInfo* const info = find_modality(dataset, modality);
    if (info == nullptr) {
      std::vector<std::string> names;
      for (const DomainInfo& domain : dataset.domains()) {
        for (const ModalityInfo& one : domain.modalities) {
          if (std::ranges::find(names, one.name) == names.end()) names.push_back(one.name);
        }
      }
      throw Error(Cause::usage, "the item ", excerpt(item.item), " has features of ",
                  excerpt(modality), ", and nothing was learned of these; ",
                  names.empty() ? "leave them out" : text("the modalities are ", listed(names)));
    }
    if (std::ssize(row) != info->width) {
      throw Error(Cause::usage, "the item ", excerpt(item.item), " has ",
                  with_commas(std::ssize(row)), " numbers of ", modality, ", expected ",
                  with_commas(info->width),
                  "; encode it with the model that was taken for the dataset");
    }
    if (!std::ranges::all_of(row, [](float number) { return std::isfinite(number); })) {
      throw Error(Cause::usage, "the item ", excerpt(item.item), " has a number of ", modality,
                  " that is too large for float32; check how it was encoded");
    }
    const std::string problem = problem_of_length(row, modality, model.longest_row(modality));
    if (!problem.empty()) {
      throw Error(Cause::usage, "the item ", excerpt(item.item), " ", problem);
    }
  }
}

ObserveAnswer RecommendationService::observe(const Observation& observation) {
  if (!log_)
    throw Error(Cause::usage, "this server observes nothing: it was started without a log");
  const std::shared_ptr<const ServedModel> model = this->model();
  check_size(observation.events.size(), limits_.items, "events");
  check_size(observation.items.size(), limits_.items, "new items");
  for (const NewItem& item : observation.items) check_new_item(*model, item);
  for (const ObservedEvent& event : observation.events) check_key("a user", event.user);
  ObserveAnswer answer;
  Observation kept;
  std::set<std::pair<std::string_view, std::string_view>> told_now;  // domains and items
  {
    const std::shared_lock<std::shared_mutex> lock(observed_mutex_);
    for (const NewItem& item : observation.items) {
      const int domain = model->run().dataset.domain_number(item.domain);
      const bool is_there = model->items(domain).find(item.item) >= 0 ||
                            observed_->is_new_item(item.domain, item.item);
      if (is_there) {
        ++answer.known_items;
      } else {
        kept.items.push_back(item);
        told_now.emplace(item.domain, item.item);
      }
    }
    for (const ObservedEvent& event : observation.events) {
      const int domain = model->run().dataset.domain_number(event.domain);
      const bool is_told = observed_->is_new_item(event.domain, event.item) ||
                           told_now.contains({event.domain, event.item});
      if (is_told || !numbers_of(*model, domain, {event.item}, answer.unknown).empty()) {
        kept.events.push_back(event);
      }
    }
  }
  log_->append(kept);
  bool has_changed = false;
  {
    const std::unique_lock<std::shared_mutex> lock(observed_mutex_);
    const std::int64_t before = observed_->changes();
    const Observations::Added added =
        observed_->add(kept, [&](const std::string& name, std::string_view key) {
          const int domain = find_domain(*model, name);
          const std::int32_t item = model->items(domain).find(key);
          return item >= 0 && model->is_new(domain, item);
        });
    answer.added = added.events;
    answer.known = added.known_events;
    answer.added_items = added.items;
    answer.known_items += added.known_items;
    has_changed = observed_->changes() != before;
  }
  if (has_changed && notify_) notify_();
  return answer;
}

bool RecommendationService::has_news() const {
  std::int64_t changes = 0;
  {
    const std::shared_lock<std::shared_mutex> lock(observed_mutex_);
    changes = observed_->changes();
  }
  const std::lock_guard<std::mutex> lock(model_mutex_);
  return changes != loaded_changes_;
}

bool RecommendationService::has_news_in_time() const {
  if (!has_news()) return false;
  const std::lock_guard<std::mutex> lock(model_mutex_);
  return Clock::now() >= next_load_;
}

void RecommendationService::open_log(const std::string& path, std::ostream& report) {
  log_ = std::make_unique<ObservedLog>(
      path, [&](const Observation& commit) { observed_->add(commit); }, report);
}

/// A model of all that was observed. Notes when the next may be made.
std::shared_ptr<const ServedModel> RecommendationService::open_model() {
  constexpr int kRest = 4;  // times as long as making a model took
  const Clock::time_point begin = Clock::now();
  ServedAdditions additions;
  std::int64_t changes = 0;
  {
    const std::shared_lock<std::shared_mutex> lock(observed_mutex_);
    changes = observed_->changes();
    additions.titles = observed_->titles();
    if (observed_->events() > 0 || changes > 0) {
      additions.told = [this](const IsLater& is_later) {
        const std::shared_lock<std::shared_mutex> told_lock(observed_mutex_);
        return observed_->new_items(is_later);
      };
    }
  }
  const auto note_time = [&] {  // Of a failure too: it is not tried again before there is more.
    const std::lock_guard<std::mutex> lock(model_mutex_);
    loaded_changes_ = changes;
    next_load_ = Clock::now() + kRest * (Clock::now() - begin);
  };
  try {
    std::shared_ptr<const ServedModel> made = load_(additions);
    if (model_) check_same_dataset(*model_, *made);
    note_time();
    return made;
  } catch (...) {
    note_time();
    throw;
  }
}

void RecommendationService::reload() {
  std::shared_ptr<const ServedModel> made = open_model();
  const std::lock_guard<std::mutex> lock(model_mutex_);
  model_.swap(made);
}

ServiceState RecommendationService::state() const {
  const std::shared_ptr<const ServedModel> model = this->model();
  const TrainedRun& run = model->run();
  ServiceState state;
  state.checkpoint = run.checkpoint;
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
  state.new_items = model->new_items();
  if (log_) state.log_bytes = log_->bytes();
  const std::shared_lock<std::shared_mutex> lock(observed_mutex_);
  state.observed_people = observed_->people();
  state.observed_events = observed_->events();
  state.waiting_items =
      observed_->count_new_items([&](const std::string& name, std::string_view item) {
        const int domain = find_domain(*model, name);
        return domain >= 0 && model->items(domain).find(item) < 0;
      });
  return state;
}

}  // namespace micrec
