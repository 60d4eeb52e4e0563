#include "serve/filter/filter_files.h"

#include <algorithm>
#include <ostream>
#include <string_view>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/tables/line_reader.h"
#include "serve/filter/item_attributes.h"
#include "serve/history.h"

namespace micrec {
namespace {

/// The items of a domain whose keys a file names, one a line, rising and without repeats. Empty
/// lines are skipped; spaces and tabs around a key are no part of it.
std::vector<std::int32_t> read_item_keys(const std::string& path, const std::string& domain,
                                         const KeyTable& items, std::ostream& report) {
  LineReader lines(path);
  std::vector<std::int32_t> known;
  std::int64_t read = 0;
  std::int64_t unknown = 0;
  std::string unknown_example;
  std::string_view line;
  while (lines.next(&line)) {
    const std::string_view key = trim(line);
    if (key.empty()) continue;
    ++read;
    const std::int32_t item = items.find(key);
    if (item >= 0) {
      known.push_back(item);
    } else if (unknown++ == 0) {
      unknown_example = printable(key);
    }
  }
  if (read == 0) {
    throw Error(Cause::data, path, " is empty; expected the key of an item a line");
  }
  if (unknown == read) {
    throw Error(Cause::data, path, ": none of its ", with_commas(read),
                " lines is an item of the domain ", domain, " (it has '", unknown_example,
                "', the domain has '", items.key(0),
                "'); expected a key a line; name the domain by DOMAIN=FILE");
  }
  std::ranges::sort(known);
  known.erase(std::unique(known.begin(), known.end()), known.end());
  report << path << ": " << with_commas(static_cast<std::int64_t>(known.size())) << " items of "
         << domain << "\n";
  if (unknown > 0) {
    report << "  " << with_commas(unknown) << " lines are no items of " << domain << ", as '"
           << unknown_example << "': left out\n";
  }
  return known;
}

}  // namespace

FilterFiles::FilterFiles(const FilterOptions& options, const std::string& domain,
                         const DatasetFile& dataset)
    : options_(options),
      rules_(options.rules, "--"),
      dataset_(dataset),
      only_(parse_domain_files("--only_items", options.only_items, domain, dataset)),
      excluded_(parse_domain_files("--exclude_items", options.exclude_items, domain, dataset)),
      attributes_(parse_domain_files("--attributes", options.attributes, domain, dataset)) {
  if (!attributes_.empty() && !options.rules.asks_attributes()) {
    throw Error(Cause::usage,
                "--attributes is given and nothing asks about them; give --where, as in "
                "--where='price < 20', or --at_most, as in --at_most=2:brand");
  }
}

std::vector<std::string> FilterFiles::paths() const {
  std::vector<std::string> paths;
  for (const Files* files : {&only_, &excluded_, &attributes_}) {
    for (const auto& [domain, path] : *files) paths.push_back(path);
  }
  return paths;
}

std::optional<ItemFilter> FilterFiles::read(int domain, std::span<const std::int32_t> degree,
                                            std::ostream& report) const {
  const std::string& name = dataset_.domains()[domain].name;
  const auto only = only_.find(domain);
  const auto excluded = excluded_.find(domain);
  if (only == only_.end() && excluded == excluded_.end() && options_.rules.is_empty()) {
    return std::nullopt;
  }
  const KeyTable items = number_keys(dataset_.item_keys(domain));
  ItemFilter filter(items.size());
  std::vector<std::string> steps;  // how many items each left
  const auto say = [&](const std::string& flag) {
    steps.push_back(text(flag, " leaves ", with_commas(filter.count())));
  };
  if (only != only_.end()) {
    filter.keep_only(read_item_keys(only->second, name, items, report));
    say("--only_items");
  }
  if (excluded != excluded_.end()) {
    filter.leave_out(read_item_keys(excluded->second, name, items, report));
    say("--exclude_items");
  }
  std::optional<ItemAttributes> attributes;
  if (options_.rules.asks_attributes()) {
    const auto path = attributes_.find(domain);
    if (path == attributes_.end()) {
      throw Error(Cause::usage, rules_.asking(), " asks about items of ", name,
                  ", which have no attributes; give --attributes=", name,
                  "=items.csv, or list another domain alone by --domain");
    }
    attributes = ItemAttributes::read(path->second, name, items, report);
  }
  rules_.apply(degree, attributes ? &*attributes : nullptr, filter, say);
  if (!steps.empty()) {
    report << name << ": of " << with_commas(items.size()) << " items " << join(steps, ", ")
           << "\n";
  }
  if (filter.count() == 0) report << "  nothing of " << name << " is left to list\n";
  return filter;
}

}  // namespace micrec
