#include "serve/item_titles.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "serve/item_table.h"

namespace micrec {
namespace {

using Json = nlohmann::json;
using Titles = std::unordered_map<std::string, std::string>;

constexpr char kTitleName[] = "title";

/// The text of a member; empty where there is none.
std::string text_of(const Json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

Titles read_objects(LineReader lines) {
  Titles titles;
  std::string_view line;
  while (lines.next(&line)) {
    if (trim(line).empty()) continue;
    const Json object = Json::parse(line, /*callback=*/nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) throw lines.error("expected a JSON object with item_id and title");
    std::string item;
    for (const char* name : kItemNames) {
      if (item.empty()) item = text_of(object, name);
    }
    if (item.empty()) throw lines.error("no item_id (or parent_asin, asin) in the object");
    if (std::string title = text_of(object, kTitleName); !title.empty()) {
      titles[item] = std::move(title);
    }
  }
  return titles;
}

Titles read_table(LineReader lines) {
  ItemTable table(std::move(lines));
  Titles titles;
  if (table.is_empty()) return titles;
  const std::optional<std::size_t> title = table.find(kTitleName);
  if (!title) {
    throw table.error(
        text("the first line must name item_id and title, and names ", join(table.names(), ", ")));
  }
  while (table.next()) {
    if (const std::string_view field = table.field(*title); !field.empty()) {
      titles[std::string(table.key())] = field;
    }
  }
  return titles;
}

}  // namespace

Titles read_item_titles(const std::string& path) {
  LineReader lines(path);
  const std::string_view start = lines.start();
  const std::size_t first = start.find_first_not_of(" \t\r\n");
  const bool has_objects = first != std::string_view::npos && start[first] == '{';
  return has_objects ? read_objects(std::move(lines)) : read_table(std::move(lines));
}

std::map<std::string, std::string> files_by_domain(const std::string& flag,
                                                   const std::string& list) {
  std::map<std::string, std::string> files;
  for (const std::string& part : split_paths(list)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(Cause::usage, flag, "=", part, " does not say which domain it is of: write ",
                  flag, "=DOMAIN=FILE,...");
    }
    const std::string domain = part.substr(0, equals);
    if (!files.emplace(domain, part.substr(equals + 1)).second) {
      throw Error(Cause::usage, flag, " names two files for the domain ", domain);
    }
  }
  return files;
}

ItemTitles read_item_titles(const std::map<std::string, std::string>& files) {
  ItemTitles titles;
  for (const auto& [domain, path] : files) titles[domain] = read_item_titles(path);
  return titles;
}

}  // namespace micrec
