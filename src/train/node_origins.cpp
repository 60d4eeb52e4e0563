#include "train/node_origins.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/key_table.h"
#include "model/shard.h"

namespace micrec {
namespace {

/// For each of the keys its number among those of then, or -1.
std::vector<std::int32_t> numbers_then(const std::vector<std::string>& now,
                                       const std::vector<std::string>& then) {
  const KeyTable table = number_keys(then);
  std::vector<std::int32_t> numbers;
  for (const std::string& key : now) numbers.push_back(table.find(key));
  return numbers;
}

}  // namespace

std::optional<NodeOrigins> origins_by_record(const DatasetFile& now,
                                             const std::string& fingerprint) {
  const auto extended =
      std::ranges::find(now.extends(), fingerprint, &ExtendedDataset::fingerprint);
  if (extended == now.extends().end()) return std::nullopt;
  NodeOrigins origins{NodeSpace(extended->users, extended->items), {}};
  const NodeSpace space = node_space(now);
  origins.node.assign(space.nodes(), -1);
  for (int d = 0; d < space.domains(); ++d) {
    for (std::int64_t user = 0; user < extended->users[d]; ++user) {
      origins.node[value(space.user(d, user))] = value(origins.then.user(d, user));
    }
    for (std::int64_t item = 0; item < extended->items[d]; ++item) {
      origins.node[value(space.item(d, item))] = value(origins.then.item(d, item));
    }
  }
  return origins;
}

NodeOrigins origins_by_keys(const DatasetFile& now, const DatasetFile& then) {
  const auto names_of = [](const DatasetFile& dataset) {
    std::vector<std::string> names;
    for (const DomainInfo& domain : dataset.domains()) names.push_back(domain.name);
    return join(names, ", ");
  };
  if (names_of(now) != names_of(then)) {
    throw Error(Cause::data, text(now.path(), " has the domains ", names_of(now), ", and ",
                                  then.path(), ", on which the model was trained, has ",
                                  names_of(then), "; both need the same, in the same order"));
  }
  NodeOrigins origins{node_space(then), {}};
  const NodeSpace space = node_space(now);
  origins.node.assign(space.nodes(), -1);
  for (int d = 0; d < space.domains(); ++d) {
    const std::vector<std::int32_t> users = numbers_then(now.user_keys(d), then.user_keys(d));
    for (std::size_t user = 0; user < users.size(); ++user) {
      if (users[user] < 0) continue;
      origins.node[value(space.user(d, static_cast<std::int64_t>(user)))] =
          value(origins.then.user(d, users[user]));
    }
    const std::vector<std::int32_t> items = numbers_then(now.item_keys(d), then.item_keys(d));
    for (std::size_t item = 0; item < items.size(); ++item) {
      if (items[item] < 0) continue;
      origins.node[value(space.item(d, static_cast<std::int64_t>(item)))] =
          value(origins.then.item(d, items[item]));
    }
  }
  return origins;
}

std::vector<std::int32_t> items_now(const NodeOrigins& origins, const NodeSpace& now) {
  std::vector<std::int32_t> items(origins.then.items(), -1);
  for (std::int64_t node = now.users(); node < now.nodes(); ++node) {
    if (origins.is_new(node)) continue;
    items[origins.node[node] - origins.then.users()] =
        static_cast<std::int32_t>(node - now.users());
  }
  return items;
}

}  // namespace micrec
