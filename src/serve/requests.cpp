#include "serve/requests.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "serve/recommender.h"

namespace micrec {
namespace {

using Json = nlohmann::json;
using Ordered = nlohmann::ordered_json;
using KeysByDomain = std::map<std::string, std::vector<std::string>>;

std::string dump(const Ordered& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Ordered::error_handler_t::replace);
}

/// As a double whose shortest decimal form is that of the float.
double shortest(float value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  double number = value;
  std::from_chars(digits, end, number);
  return number;
}

/// The members of a request, read one by one.
class Members {
 public:
  /// Errors   Error(usage) where one has none of the names.
  Members(const Json& request, std::initializer_list<const char*> names) : request_(request) {
    const std::vector<std::string> known(names.begin(), names.end());
    for (const auto& [name, value] : request.items()) {
      if (std::ranges::find(known, name) != known.end()) continue;
      const std::optional<std::string> near = nearest(name, known);
      const std::string there = known.empty() ? "it has none" : "it may have " + join(known, ", ");
      throw Error(Cause::usage, text("a request has no member \"", name, "\" here; ",
                                     near ? "did you mean \"" + *near + "\"?" : there));
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

  [[noreturn]] static void refuse(const char* name, const char* expected) {
    throw Error(Cause::usage, text("\"", name, "\" must be ", expected));
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
  return {members.string("user"), members.keys_by_domain("history")};
}

Exclude exclude_of(const Members& members) {
  const std::string exclude = members.string("exclude").value_or("observed");
  if (exclude == "observed") return Exclude::observed;
  if (exclude == "all") return Exclude::all;
  if (exclude == "none") return Exclude::none;
  Members::refuse("exclude", "\"observed\", \"all\" or \"none\"");
}

Ordered json_of(const UnknownByDomain& unknown) {
  Ordered domains = Ordered::object();
  for (const auto& [domain, items] : unknown) {
    domains[domain] = {{"count", items.count}, {"example", items.example}};
  }
  return domains;
}

Ordered json_of(const Answer& answer) {
  Ordered lists = Ordered::array();
  for (const AnsweredList& list : answer.lists) {
    Ordered items = Ordered::array();
    for (const AnsweredItem& item : list.items) {
      Ordered one = {{"item", item.item}, {"score", shortest(item.score)}};
      if (!item.title.empty()) one["title"] = item.title;
      items.push_back(std::move(one));
    }
    lists.push_back({{"domain", list.domain}, {"basis", list.basis}, {"items", std::move(items)}});
  }
  return {{"checkpoint", answer.checkpoint},
          {"lists", std::move(lists)},
          {"unknown_items", json_of(answer.unknown)}};
}

Ordered recommend(RecommendationService& service, const Json& json) {
  const Members members(json, {"user", "history", "domains", "k", "exclude"});
  return json_of(service.recommend({asker_of(members), members.strings("domains"),
                                    members.integer("k", 20), exclude_of(members)}));
}

Ordered score(RecommendationService& service, const Json& json) {
  const Members members(json, {"user", "history", "items"});
  if (members.find("items") == nullptr) {
    Members::refuse("items", "given: {\"DOMAIN\": [\"ITEM\", ...], ...}");
  }
  return json_of(service.score({asker_of(members), members.keys_by_domain("items")}));
}

Ordered similar(RecommendationService& service, const Json& json) {
  const Members members(json, {"items", "domains", "k"});
  return json_of(service.similar(
      {members.keys_by_domain("items"), members.strings("domains"), members.integer("k", 20)}));
}

Ordered find_items(RecommendationService& service, const Json& json) {
  const Members members(json, {"domain", "q", "k"});
  const std::optional<std::string> domain = members.string("domain");
  if (!domain) Members::refuse("domain", "given");
  return json_of(
      service.find_items({*domain, members.string("q").value_or(""), members.integer("k", 20)}));
}

Ordered observe(RecommendationService& service, const Json& json) {
  const Members members(json, {"events"});
  const Json* const list = members.find("events");
  const char* const form = "a list of {\"domain\": ..., \"user\": ..., \"item\": ...}";
  if (list == nullptr || !list->is_array()) Members::refuse("events", form);
  std::vector<ObservedEvent> events;
  for (const Json& one : *list) {
    if (!one.is_object()) Members::refuse("events", form);
    const Members event(one, {"domain", "user", "item"});
    std::optional<std::string> domain = event.string("domain");
    std::optional<std::string> user = event.string("user");
    std::optional<std::string> item = event.string("item");
    if (!domain || !user || !item) Members::refuse("events", form);
    events.push_back({*std::move(domain), *std::move(user), *std::move(item)});
  }
  const ObserveAnswer answer = service.observe(events);
  return {
      {"added", answer.added}, {"known", answer.known}, {"unknown_items", json_of(answer.unknown)}};
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
    const std::string what = error.what();
    const std::size_t end = what.find("] ");
    refusal = {400,
               {{"error", text("the request is not JSON: ",
                               end == std::string::npos ? what : what.substr(end + 2))}}};
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
                               name, "\"")}}};
    } else {
      reply = answered(service, *route, json);
    }
  }
  Ordered whole = {{"status", reply->status}};
  whole.update(reply->json);
  return dump(whole);
}

}  // namespace micrec
