#include "serve/requests.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "serve/json_number.h"
#include "serve/recommender.h"

namespace micrec {
namespace {

using Json = nlohmann::json;
using Ordered = nlohmann::ordered_json;

std::string dump(const Ordered& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Ordered::error_handler_t::replace);
}

/// The members of a request, read one by one.
class Members {
 public:
  /// Errors   Error(usage) where one has none of the names.
  Members(const Json& request, std::initializer_list<const char*> names,
          std::span<const char* const> more = {})
      : request_(request) {
    std::vector<std::string> known(names.begin(), names.end());
    known.insert(known.end(), more.begin(), more.end());
    for (const auto& [name, value] : request.items()) {
      if (std::ranges::find(known, name) != known.end()) continue;
      const std::optional<std::string> near = nearest(name, known);
      const std::string there = known.empty() ? "it has none" : "it may have " + join(known, ", ");
      throw Error(Cause::usage, "a request has no member \"", printable(name), "\" here; ",
                  near ? "did you mean \"" + *near + "\"?" : there);
    }
  }

  const Json* find(const char* name) const {
    const auto at = request_.find(name);
    return at == request_.end() || at->is_null() ? nullptr : &*at;
  }

  std::optional<std::string> string(const char* name) const {
    const Json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) refuse(name, "a string");
    return value->get<std::string>();
  }

  std::int64_t integer(const char* name, std::int64_t otherwise) const {
    const Json* const value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_number_integer()) refuse(name, "a whole number");
    if (value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX) return INT64_MAX;
    return value->get<std::int64_t>();
  }

  /// From 0, which it is where it is not given.
  std::int64_t count(const char* name) const {
    const std::int64_t value = integer(name, 0);
    if (value < 0 || value == INT64_MAX) refuse(name, "a whole number from 0 to 2^63 - 2");
    return value;
  }

  std::vector<std::string> strings(const char* name) const {
    const Json* const value = find(name);
    if (value == nullptr) return {};
    return strings_of(*value, name);
  }

  KeysByDomain keys_by_domain(const char* name) const {
    const Json* const value = find(name);
    KeysByDomain keys;
    if (value == nullptr) return keys;
    if (!value->is_object()) refuse(name, "{\"DOMAIN\": [\"ITEM\", ...], ...}");
    for (const auto& [domain, list] : value->items()) keys[domain] = strings_of(list, name);
    return keys;
  }

  TimesByDomain times_by_domain(const char* name) const {
    const char* const form = "{\"DOMAIN\": [numbers], ...}";
    const Json* const value = find(name);
    TimesByDomain times;
    if (value == nullptr) return times;
    if (!value->is_object()) refuse(name, form);
    for (const auto& [domain, list] : value->items()) {
      const auto is_time = [](const Json& one) { return one.is_number(); };
      if (!list.is_array() || !std::ranges::all_of(list, is_time)) refuse(name, form);
      const auto given = list.get<std::vector<long double>>();  // which holds every int64
      std::vector<long double> rising = given;
      std::ranges::sort(rising);
      std::vector<std::int64_t>& order = times[domain];
      for (const long double time : given) {
        order.push_back(std::ranges::lower_bound(rising, time) - rising.begin());
      }
    }
    return times;
  }

  [[noreturn]] static void refuse(const char* name, const char* expected) {
    throw Error(Cause::usage, "\"", name, "\" must be ", expected);
  }

 private:
  static std::vector<std::string> strings_of(const Json& list, const char* name) {
    const auto is_string = [](const Json& value) { return value.is_string(); };
    if (!list.is_array() || !std::ranges::all_of(list, is_string)) {
      refuse(name, "made of lists of strings");
    }
    return list.get<std::vector<std::string>>();
  }

  const Json& request_;
};

Asker asker_of(const Members& members) {
  return {members.string("user"), members.keys_by_domain("history"),
          members.times_by_domain("history_times")};
}

Exclude exclude_of(const Members& members) {
  const std::string exclude = members.string("exclude").value_or("observed");
  if (exclude == "observed") return Exclude::observed;
  if (exclude == "all") return Exclude::all;
  if (exclude == "none") return Exclude::none;
  Members::refuse("exclude", "\"observed\", \"all\" or \"none\"");
}

/// The members that say which items lists are made of.
constexpr const char* kChoice[] = {"only_items", "exclude_items", "where", "at_most", "min_degree"};

ItemChoice choice_of(const Members& members) {
  ItemChoice choice = {
      members.keys_by_domain("only_items"), members.keys_by_domain("exclude_items"), {}};
  choice.rules.where = members.string("where").value_or("");
  choice.rules.at_most = members.string("at_most").value_or("");
  choice.rules.min_degree = members.count("min_degree");
  return choice;
}

Ordered json_of(const UnknownByDomain& unknown) {
  Ordered domains = Ordered::object();
  for (const auto& [domain, items] : unknown) {
    domains[domain] = {{"count", items.count}, {"example", items.example}};
  }
  return domains;
}

Ordered json_of(const AnsweredReasons& why) {
  Ordered items = Ordered::array();
  for (const AnsweredShare& of : why.items) {
    Ordered one = {{"domain", of.domain}, {"item", of.item}, {"share", of.share}};
    if (!of.title.empty()) one["title"] = of.title;
    items.push_back(std::move(one));
  }
  return {{"embeddings", why.embeddings},
          {"items", std::move(items)},
          {"other_items", why.other_items},
          {"no_item", why.no_item}};
}

Ordered json_of(const Answer& answer) {
  Ordered lists = Ordered::array();
  for (const AnsweredList& list : answer.lists) {
    Ordered items = Ordered::array();
    for (const AnsweredItem& item : list.items) {
      Ordered one = {{"item", item.item}, {"score", shortest(item.score)}};
      if (!item.title.empty()) one["title"] = item.title;
      if (item.why) one["why"] = json_of(*item.why);
      items.push_back(std::move(one));
    }
    lists.push_back({{"domain", list.domain}, {"basis", list.basis}, {"items", std::move(items)}});
  }
  return {{"checkpoint", answer.checkpoint},
          {"lists", std::move(lists)},
          {"unknown_items", json_of(answer.unknown)}};
}

Ordered recommend(RecommendationService& service, const Json& json) {
  const Members members(
      json, {"user", "history", "history_times", "domains", "k", "exclude", "why"}, kChoice);
  return json_of(
      service.recommend({asker_of(members), members.strings("domains"), members.integer("k", 20),
                         exclude_of(members), choice_of(members), members.count("why")}));
}

Ordered score(RecommendationService& service, const Json& json) {
  const Members members(json, {"user", "history", "history_times", "items"});
  if (members.find("items") == nullptr) {
    Members::refuse("items", "given: {\"DOMAIN\": [\"ITEM\", ...], ...}");
  }
  return json_of(service.score({asker_of(members), members.keys_by_domain("items")}));
}

Ordered similar(RecommendationService& service, const Json& json) {
  const Members members(json, {"items", "domains", "k"}, kChoice);
  return json_of(service.similar({members.keys_by_domain("items"), members.strings("domains"),
                                  members.integer("k", 20), choice_of(members)}));
}

Ordered find_items(RecommendationService& service, const Json& json) {
  const Members members(json, {"domain", "q", "k"});
  const std::optional<std::string> domain = members.string("domain");
  if (!domain) Members::refuse("domain", "given");
  return json_of(
      service.find_items({*domain, members.string("q").value_or(""), members.integer("k", 20)}));
}

ObservedEvent event_of(const Json& json) {
  const char* const form = "a list of {\"domain\": ..., \"user\": ..., \"item\": ...}";
  if (!json.is_object()) Members::refuse("events", form);
  const Members event(json, {"domain", "user", "item"});
  std::optional<std::string> domain = event.string("domain");
  std::optional<std::string> user = event.string("user");
  std::optional<std::string> item = event.string("item");
  if (!domain || !user || !item) Members::refuse("events", form);
  return {*std::move(domain), *std::move(user), *std::move(item)};
}

/// Infinite where a float is too small for it.
float as_float(double number) {
  constexpr double kMost = std::numeric_limits<float>::max();
  if (std::abs(number) > kMost) return std::numeric_limits<float>::infinity();
  return static_cast<float>(number);
}

NewItem new_item_of(const Json& json) {
  const char* const form =
      "a list of {\"domain\": ..., \"item\": ..., \"features\": {\"MODALITY\": [numbers]}, "
      "\"title\": ...}, the last two where there are any";
  if (!json.is_object()) Members::refuse("items", form);
  const Members members(json, {"domain", "item", "features", "title"});
  std::optional<std::string> domain = members.string("domain");
  std::optional<std::string> item = members.string("item");
  if (!domain || !item) Members::refuse("items", form);
  NewItem made = {*std::move(domain), *std::move(item), {}, members.string("title").value_or("")};
  const Json* const features = members.find("features");
  if (features == nullptr) return made;
  if (!features->is_object()) Members::refuse("items", form);
  for (const auto& [modality, row] : features->items()) {
    const auto is_number = [](const Json& value) { return value.is_number(); };
    if (!row.is_array() || !std::ranges::all_of(row, is_number)) Members::refuse("items", form);
    std::vector<float>& numbers = made.features[modality];
    for (const Json& number : row) numbers.push_back(as_float(number.get<double>()));
  }
  return made;
}

Ordered observe(RecommendationService& service, const Json& json) {
  const Members members(json, {"events", "items"});
  const Json* const events = members.find("events");
  const Json* const items = members.find("items");
  if (events == nullptr && items == nullptr) Members::refuse("events", "given, or \"items\"");
  Observation observation;
  if (events != nullptr) {
    if (!events->is_array()) Members::refuse("events", "a list");
    for (const Json& one : *events) observation.events.push_back(event_of(one));
  }
  if (items != nullptr) {
    if (!items->is_array()) Members::refuse("items", "a list");
    for (const Json& one : *items) observation.items.push_back(new_item_of(one));
  }
  const ObserveAnswer answer = service.observe(observation);
  return {{"added", answer.added},
          {"known", answer.known},
          {"added_items", answer.added_items},
          {"known_items", answer.known_items},
          {"unknown_items", json_of(answer.unknown)}};
}

Ordered describe(RecommendationService& service, const Json& json) {
  const Members none(json, {});
  const ServiceState state = service.state();
  Ordered domains = Ordered::array();
  for (const ServedDomain& domain : state.domains) {
    domains.push_back({{"domain", domain.name},
                       {"users", domain.users},
                       {"items", domain.items},
                       {"embeddings", domain.embeddings},
                       {"item_regression", domain.regression}});
  }
  return {{"checkpoint", state.checkpoint},
          {"model", state.model},
          {"dim", state.dim},
          {"dataset", state.fingerprint},
          {"domains", std::move(domains)},
          {"people", state.people},
          {"observed_people", state.observed_people},
          {"observed_events", state.observed_events},
          {"new_items", state.new_items},
          {"waiting_items", state.waiting_items},
          {"limits", {{"k", service.limits().k}, {"items", service.limits().items}}}};
}

Ordered answer_json(RecommendationService& service, Route route, const Json& json) {
  switch (route) {
    case Route::recommend:
      return recommend(service, json);
    case Route::score:
      return score(service, json);
    case Route::similar:
      return similar(service, json);
    case Route::observe:
      return observe(service, json);
    case Route::items:
      return find_items(service, json);
    case Route::model:
      break;
  }
  return describe(service, json);
}

int status_of(Cause cause) {
  switch (cause) {
    case Cause::usage:
      return 422;
    case Cause::io:
      return 507;
    default:
      return 500;
  }
}

struct Answered {
  int status = 200;
  Ordered json;
};

Answered answered(RecommendationService& service, Route route, const Json& json) {
  try {
    return {200, answer_json(service, route, json)};
  } catch (const Error& error) {
    return {status_of(error.cause()), {{"error", error.what()}}};
  }
}

/// The object in a text, or a refusal.
Json parse_object(std::string_view body, std::optional<Answered>& refusal) {
  try {
    Json json = Json::parse(body);
    if (json.is_object()) return json;
    refusal = {400, {{"error", text("expected a JSON object, got ", json.type_name())}}};
  } catch (const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string what = error.what();
    if (const std::size_t end = what.find("] "); end != std::string::npos) what.erase(0, end + 2);
    if (const std::size_t last = what.find("; last read: "); last != std::string::npos) {
      what.erase(last);  // which is all of a word, be it as long as the request
    }
    refusal = {400, {{"error", text("the request is not JSON: ", what)}}};
  }
  return {};
}

}  // namespace

std::string error_json(std::string_view sentence) { return dump({{"error", sentence}}); }

const char* name_of(Route route) {
  constexpr const char* kNames[] = {"recommend", "score", "similar", "observe", "items", "model"};
  return kNames[static_cast<int>(route)];
}

Reply answer(RecommendationService& service, Route route, std::string_view body) {
  std::optional<Answered> refusal;
  const Json json = parse_object(body, refusal);
  const Answered reply = refusal ? *std::move(refusal) : answered(service, route, json);
  return {reply.status, dump(reply.json)};
}

Reply answer_query(RecommendationService& service, Route route,
                   const std::multimap<std::string, std::string>& query) {
  Json json = Json::object();
  for (const auto& [name, value] : query) {
    const std::optional<std::int64_t> number =
        name == "k" ? parse_integer(value) : std::optional<std::int64_t>();
    json[name] = number ? Json(*number) : Json(value);
  }
  const Answered reply = answered(service, route, json);
  return {reply.status, dump(reply.json)};
}

std::string answer_line(RecommendationService& service, std::string_view line) {
  std::optional<Answered> reply;
  Json json = parse_object(line, reply);
  if (!reply) {
    std::string name;
    if (json.contains("route") && json["route"].is_string()) name = json["route"];
    json.erase("route");
    const auto* const route =
        std::ranges::find_if(kRoutes, [&](Route one) { return name == name_of(one); });
    if (route == std::end(kRoutes)) {
      reply = {404,
               {{"error", text("\"route\" must be recommend, score, similar, observe, items or "
                               "model, got \"",
                               printable(name), "\"")}}};
    } else {
      reply = answered(service, *route, json);
    }
  }
  Ordered whole = {{"status", reply->status}};
  whole.update(reply->json);
  return dump(whole);
}

}  // namespace micrec
