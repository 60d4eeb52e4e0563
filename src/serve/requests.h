#pragma once

#include <map>
#include <string>
#include <string_view>

#include "serve/service.h"

namespace micrec {

/// An answer as HTTP has it.
struct Reply {
  int status = 200;
  std::string body;  // JSON
};

/// {"error": sentence}.
std::string error_json(std::string_view sentence);

/// What a request may be about. Each takes one JSON object and gives one; openapi.json has their
/// members.
enum class Route { recommend, score, similar, observe, items, model };
inline constexpr Route kRoutes[] = {Route::recommend, Route::score, Route::similar,
                                    Route::observe,   Route::items, Route::model};
/// "recommend", ...: the name in a path, and in the member "route" of a line.
const char* name_of(Route route);

/// The answer to a request in JSON: 200, or with a sentence 400 where it is no JSON object, 422
/// where it asks for what there is not, 500 where the model fails, 507 where the log of
/// observations cannot be written.
Reply answer(RecommendationService& service, Route route, std::string_view body);

/// The same where the members are those of a URL's query.
Reply answer_query(RecommendationService& service, Route route,
                   const std::multimap<std::string, std::string>& query);

/// The same of a line {"route": "recommend", ...}, whose answer has the status as a member.
std::string answer_line(RecommendationService& service, std::string_view line);

}  // namespace micrec
