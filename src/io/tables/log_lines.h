#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "io/paths.h"

namespace micrec {

/// A member, or null where it is missing or `object` is none.
inline const nlohmann::ordered_json& member(const nlohmann::ordered_json& object,
                                            const char* name) {
  static const nlohmann::ordered_json none;
  if (!object.is_object()) return none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

/// A text of an object; "" where it is missing or no text.
inline std::string text_in(const nlohmann::ordered_json& object, const char* name) {
  const nlohmann::ordered_json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

/// Calls `take` with each line of a log of JSON objects (train/log/metrics_log.h) that says of what
/// kind it is, and returns how many do not, as a crash leaves one.
///
/// Errors   Error(Cause::io) where it cannot be read.
template <typename Take>
std::int64_t take_log_lines(const std::string& path, const Take& take) {
  refuse_unreadable(path);
  std::int64_t unreadable = 0;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    auto object = nlohmann::ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (text_in(object, "kind").empty()) {
      ++unreadable;
    } else {
      take(object);
    }
  }
  return unreadable;
}

}  // namespace micrec
