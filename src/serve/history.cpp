#include "serve/history.h"

#include <algorithm>
#include <ostream>
#include <utility>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "data/time_unit.h"
#include "model/item_regression/recency.h"

namespace micrec {
namespace {

/// Shapes   user, item: (n) interactions; times: (n), or none; returns (users).
std::vector<MetItems> by_user(const std::vector<std::int32_t>& user,
                              const std::vector<std::int32_t>& item,
                              const std::vector<std::int64_t>& times, std::int64_t users) {
  std::vector<std::vector<std::int32_t>> items_of(users);
  std::vector<std::vector<std::int64_t>> times_of(users);
  for (std::size_t n = 0; n < user.size(); ++n) {
    items_of[user[n]].push_back(item[n]);
    if (!times.empty()) times_of[user[n]].push_back(times[n]);
  }
  std::vector<MetItems> met;
  for (std::int64_t u = 0; u < users; ++u) met.push_back(met_items(items_of[u], times_of[u]));
  return met;
}

}  // namespace

MetItems met_items(std::span<const std::int32_t> items, std::span<const std::int64_t> times) {
  std::vector<std::pair<std::int32_t, std::int64_t>> pairs;
  for (std::size_t n = 0; n < items.size(); ++n) {
    pairs.emplace_back(items[n], times.empty() ? 0 : times[n]);
  }
  std::ranges::sort(pairs);
  MetItems met;
  std::vector<std::int64_t> earliest;
  for (const auto& [item, time] : pairs) {
    if (!met.items.empty() && met.items.back() == item) continue;
    met.items.push_back(item);
    earliest.push_back(time);
  }
  if (!times.empty()) met.newer = count_newer(earliest);
  return met;
}

const MetItems* History::of(std::string_view key) const {
  const std::int32_t user = users.find(key);
  return user < 0 || met[user].items.empty() ? nullptr : &met[user];
}

std::map<int, std::string> parse_domain_files(const std::string& flag, const std::string& list,
                                              const std::string& domain,
                                              const DatasetFile& dataset) {
  std::map<int, std::string> files;
  for (const std::string& part : split_paths(list)) {
    const std::size_t equals = part.find('=');
    std::string name = domain;
    if (equals != std::string::npos) {
      name = part.substr(0, equals);
    } else if (name.empty() && dataset.domains().size() == 1) {
      name = dataset.domains().front().name;
    } else if (name.empty()) {
      throw Error(Cause::usage, flag, "=", part, " does not say which domain it is of: write ",
                  flag, "=", dataset.domains().front().name, "=", part, " or give --domain");
    }
    const int number = dataset.domain_number(name);
    if (!files.emplace(number, part.substr(equals == std::string::npos ? 0 : equals + 1)).second) {
      throw Error(Cause::usage, flag, " names two files for the domain ", name);
    }
  }
  return files;
}

History read_history(const std::string& path, const InteractionsOptions& reading, int domain,
                     const DatasetFile& dataset, const KeyTable& known_users, bool fades,
                     std::ostream& report) {
  const KeyTable items = number_keys(dataset.item_keys(domain));
  const std::string& name = dataset.domains()[domain].name;
  History history;
  std::vector<std::int32_t> user_of, item_of;  // of the interactions with known items
  std::vector<std::int64_t> times;             // (the same), or none
  TimeCensus census;
  std::int64_t read = 0;
  std::int64_t unknown = 0;
  std::string unknown_example;
  const InteractionsSummary summary =
      for_each_interaction(path, reading, [&](const Interaction& interaction) {
        ++read;
        const std::int32_t user = history.users.add(interaction.user);
        const std::int32_t item = items.find(interaction.item);
        if (interaction.timestamp) census.add(*interaction.timestamp, interaction.line);
        if (item >= 0) {
          user_of.push_back(user);
          item_of.push_back(item);
          if (interaction.timestamp) times.push_back(*interaction.timestamp);
        } else if (unknown++ == 0) {
          unknown_example = interaction.item;
        }
      });
  if (fades && !times.empty()) {
    census.settle(path);
    for (std::int64_t& time : times) time = census.in_seconds({time, 0}).whole;
  }
  history.met =
      by_user(user_of, item_of, fades ? times : std::vector<std::int64_t>(), history.users.size());
  report << path << ": " << with_commas(read) << " interactions of "
         << with_commas(history.users.size()) << " people in " << name << " ("
         << join(summary.in_words(), "; ") << ")\n";
  if (unknown == read) {
    throw Error(Cause::data, path, ": none of its items is an item of the domain ", name,
                " (it has '", unknown_example, "', the domain has '",
                items.size() > 0 ? items.key(0) : "",
                "'); check that user and item columns are not swapped, or name "
                "the domain by --history=DOMAIN=FILE");
  }
  if (fades && times.empty()) {
    report << "  it has no times: all of a person's items count the same in item regression\n";
  }
  if (unknown > 0) {
    report << "  " << with_commas(unknown) << " of them with items that " << name
           << " does not have, as '" << unknown_example << "': left out\n";
  }
  std::int64_t known = 0;
  for (std::int32_t u = 0; u < history.users.size(); ++u) {
    known += known_users.find(history.users.key(u)) >= 0;
  }
  if (known > 0) {
    report << "  " << with_commas(known)
           << " of the people have keys that the dataset knows; in this domain they "
              "are served from this file alone\n";
  }
  return history;
}

}  // namespace micrec
