#include "base/path_list.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace micrec {
namespace {

/// A text in quotes at the beginning of `list`, without them, and how many bytes it takes with
/// them; nothing where the closing quote is missing or more follows it.
std::optional<std::pair<std::string, std::size_t>> quoted(std::string_view list) {
  std::string inside;
  for (std::size_t at = 1; at < list.size(); ++at) {
    if (list[at] != '"') {
      inside += list[at];
    } else if (at + 1 < list.size() && list[at + 1] == '"') {
      inside += list[++at];
    } else {
      if (at + 1 < list.size() && list[at + 1] != ',') return std::nullopt;
      return std::pair(inside, at + 1);
    }
  }
  return std::nullopt;
}

std::vector<std::string> split_list(std::string_view list, bool has_names) {
  std::vector<std::string> parts;
  if (list.empty()) return parts;
  while (true) {
    std::size_t end = std::min(list.find(','), list.size());
    std::string part(list.substr(0, end));
    const std::size_t equals = part.find('=');
    const bool is_named = has_names && !part.starts_with('"') && equals != std::string::npos;
    const std::size_t path = is_named ? equals + 1 : 0;
    if (path < part.size() && part[path] == '"') {
      if (const auto in_quotes = quoted(list.substr(path))) {
        part = part.substr(0, path) + in_quotes->first;
        end = path + in_quotes->second;
      }
    }
    parts.push_back(std::move(part));
    if (end == list.size()) return parts;
    list.remove_prefix(end + 1);
  }
}

}  // namespace

std::vector<std::string> split_paths(std::string_view list) { return split_list(list, true); }

std::vector<std::string> split_words(std::string_view list) { return split_list(list, false); }

}  // namespace micrec
