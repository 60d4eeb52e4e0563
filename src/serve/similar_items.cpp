#include "serve/similar_items.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <ostream>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/description.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/tables/csv.h"
#include "io/tables/line_reader.h"

namespace micrec {
namespace {

/// What stands in a list or a file of items, blanks around it left out.
std::vector<std::string> parts_of(const std::string& list) {
  if (files_of_items(list).empty()) return split(list, ',');
  std::vector<std::string> parts;
  LineReader lines(list);
  std::string_view line;
  while (lines.next(&line)) {
    if (const std::string_view part = trim(line); !part.empty()) parts.emplace_back(part);
  }
  return parts;
}

/// The domain of a part and its key.
std::pair<int, std::string> domain_and_key(const std::string& part, const DatasetFile& dataset) {
  const std::vector<DomainInfo>& domains = dataset.domains();
  const std::size_t colon = part.find(':');
  const auto named = std::ranges::find(domains, part.substr(0, colon), &DomainInfo::name);
  if (colon != std::string::npos && named != domains.end()) {
    return {static_cast<int>(named - domains.begin()), part.substr(colon + 1)};
  }
  if (domains.size() == 1) return {0, part};
  const std::vector<std::string> names = dataset.domain_names();
  throw Error(Cause::usage, "--items: expected DOMAIN:KEY, as in ", names.front(), ":",
              dataset.item_keys(0).empty() ? "KEY" : dataset.item_keys(0).front(), ", got ",
              excerpt(part), "; the domains are ", listed(names),
              ", and there is no file of that name");
}

}  // namespace

std::vector<std::string> files_of_items(const std::string& list) {
  std::error_code ignored;  // of a list that no name could be as long as
  if (!std::filesystem::exists(list, ignored)) return {};
  return {list};
}

const char* name_of(Likeness likeness) {
  constexpr const char* kNames[] = {"cosine", "met_it", "none"};
  return kNames[static_cast<int>(likeness)];
}

SimilarItems similar_items(const Recommender& recommender, const Person& items, int domain,
                           std::int64_t k, const ItemFilter* filter) {
  SimilarItems similar;
  if (recommender.config().kind == ModelKind::popularity) return similar;
  if (const MetItems* const own = items.history(domain)) {
    if (auto by_cosine = recommender.similar(domain, own->items, k, filter)) {
      similar.likeness = Likeness::cosine;
      similar.items = *std::move(by_cosine);
      return similar;
    }
  }
  recommender.recommend(domain, {&items, 1}, {.k = k, .filter = filter},
                        [&](const Recommendation& list) {
                          if (list.basis == Basis::popular) return;
                          similar.likeness = Likeness::met_it;
                          for (const ScoredItem& item : list.items) {
                            if (item.score > 0) similar.items.push_back(item);
                          }
                        });
  return similar;
}

std::vector<DomainItem> read_items(const std::string& list, const DatasetFile& dataset,
                                   std::ostream& report) {
  std::map<int, KeyTable> keys;  // of the domains that are named
  std::vector<DomainItem> items;
  std::vector<std::string> unknown;
  const std::vector<std::string> parts = parts_of(list);
  for (const std::string& part : parts) {
    const auto [domain, key] = domain_and_key(part, dataset);
    const auto [of_domain, is_first] = keys.try_emplace(domain);
    if (is_first) of_domain->second = number_keys(dataset.item_keys(domain));
    const std::int32_t item = of_domain->second.find(key);
    if (item >= 0) {
      items.push_back({domain, item});
    } else {
      unknown.push_back(part);
    }
  }
  if (items.empty()) {
    throw Error(Cause::data,
                parts.empty()
                    ? text("--items names no item; give DOMAIN:KEY,... or a file with one a line")
                    : text("--items: none of the ", with_commas(std::ssize(parts)),
                           " is an item of the data set (the first is ", excerpt(parts.front()),
                           ")", parts.size() == 1 ? ", and there is no file of that name" : ""));
  }
  if (!unknown.empty()) {
    report << with_commas(std::ssize(unknown)) << " of the " << with_commas(std::ssize(parts))
           << " in --items are no items of the data set, as " << excerpt(unknown.front())
           << ": left out\n";
  }
  return items;
}

void write_similar(const Recommender& recommender, const std::vector<DomainItem>& items, int domain,
                   std::int64_t k, const ItemFilter* filter, std::ostream& csv,
                   std::ostream& report) {
  const std::vector<DomainInfo>& domains = recommender.dataset().domains();
  std::vector<std::vector<std::string>> keys;  // [domain]
  for (int d = 0; d < static_cast<int>(domains.size()); ++d) {
    keys.push_back(recommender.dataset().item_keys(d));
  }
  std::map<std::string, std::int64_t> made;  // by the name of the likeness
  for (const DomainItem& item : items) {
    const MetItems history = {{item.item}, {}};
    Person person;
    person.histories.assign(domains.size(), nullptr);
    person.histories[item.domain] = &history;
    const SimilarItems similar = similar_items(recommender, person, domain, k, filter);
    const char* const basis = name_of(similar.likeness);
    ++made[basis];
    const std::string like =
        csv_field(text(domains[item.domain].name, ":", keys[item.domain][item.item]));
    for (std::size_t rank = 0; rank < similar.items.size(); ++rank) {
      const ScoredItem& of = similar.items[rank];
      csv << like << ',' << domains[domain].name << ',' << rank + 1 << ','
          << csv_field(keys[domain][of.item]) << ',' << decimal("%.6g", of.score) << ',' << basis
          << '\n';
    }
  }
  report << domains[domain].name << ": items like " << with_commas(std::ssize(items));
  for (const auto& [basis, count] : made) report << ", " << with_commas(count) << " by " << basis;
  if (made.contains(name_of(Likeness::none))) report << ", as " << kUnrelated;
  report << "\n";
}

}  // namespace micrec
