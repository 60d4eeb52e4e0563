#include "serve/item_titles.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "io/csv.h"

namespace micrec {
namespace {

using Json = nlohmann::json;
using Titles = std::unordered_map<std::string, std::string>;

constexpr const char* kItemNames[] = {"item_id", "parent_asin", "asin"};
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
  const std::string_view start = lines.start();
  const std::string_view header = start.substr(0, start.find_first_of("\r\n"));
  const char separator = header.find('\t') != std::string_view::npos ? '\t' : ',';
  CsvReader table(std::move(lines), csv_format(separator));
  if (!table.next()) return {};
  const std::vector<std::string> names(table.fields().begin(), table.fields().end());
  const auto title = std::ranges::find(names, kTitleName) - names.begin();
  std::size_t item = names.size();
  for (const char* name : kItemNames) {
    if (item == names.size()) item = std::ranges::find(names, name) - names.begin();
  }
  const auto columns = static_cast<std::ptrdiff_t>(names.size());
  if (title == columns || item == names.size()) {
    throw table.error(
        text("the first line must name item_id and title, and names ", join(names, ", ")));
  }
  Titles titles;
  while (table.next()) {
    const std::vector<std::string_view>& fields = table.fields();
    if (fields.size() != names.size()) {
      throw table.error(text("expected ", names.size(), " fields, got ", fields.size()));
    }
    if (!fields[title].empty()) titles[std::string(fields[item])] = fields[title];
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

std::map<std::string, std::string> parse_title_files(const std::string& list) {
  std::map<std::string, std::string> files;
  for (const std::string& part : split_paths(list)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(Cause::usage, text("--titles=", part,
                                     " does not say which domain it is of: write "
                                     "--titles=DOMAIN=FILE,..."));
    }
    const std::string domain = part.substr(0, equals);
    if (!files.emplace(domain, part.substr(equals + 1)).second) {
      throw Error(Cause::usage, text("--titles names two files for the domain ", domain));
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
