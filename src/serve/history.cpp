#include "serve/history.h"

#include <algorithm>
#include <ostream>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"

namespace micrec {

const std::vector<std::int32_t>* History::of(std::string_view key) const {
  const std::int32_t user = users.find(key);
  return user < 0 || items[user].empty() ? nullptr : &items[user];
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
      throw Error(Cause::usage,
                  text(flag, "=", part, " does not say which domain it is of: write ", flag, "=",
                       dataset.domains().front().name, "=", part, " or give --domain"));
    }
    const int number = dataset.domain_number(name);
    if (!files.emplace(number, part.substr(equals == std::string::npos ? 0 : equals + 1)).second) {
      throw Error(Cause::usage, text(flag, " names two files for the domain ", name));
    }
  }
  return files;
}

History read_history(const std::string& path, const InteractionsOptions& reading, int domain,
                     const DatasetFile& dataset, const KeyTable& known_users,
                     std::ostream& report) {
  const KeyTable items = number_keys(dataset.item_keys(domain));
  const std::string& name = dataset.domains()[domain].name;
  History history;
  std::int64_t read = 0;
  std::int64_t unknown = 0;
  std::string unknown_example;
  const InteractionsSummary summary =
      for_each_interaction(path, reading, [&](const Interaction& interaction) {
        ++read;
        const std::int32_t user = history.users.add(interaction.user);
        if (user == static_cast<std::int32_t>(history.items.size())) history.items.emplace_back();
        const std::int32_t item = items.find(interaction.item);
        if (item >= 0) {
          history.items[user].push_back(item);
        } else if (unknown++ == 0) {
          unknown_example = interaction.item;
        }
      });
  for (std::vector<std::int32_t>& list : history.items) {
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  report << path << ": " << with_commas(read) << " interactions of "
         << with_commas(history.users.size()) << " people in " << name << " ("
         << join(summary.in_words(), "; ") << ")\n";
  if (unknown == read) {
    throw Error(Cause::data,
                text(path, ": none of its items is an item of the domain ", name, " (it has '",
                     unknown_example, "', the domain has '", items.size() > 0 ? items.key(0) : "",
                     "'); check that user and item columns are not swapped, or name "
                     "the domain by --history=DOMAIN=FILE"));
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
