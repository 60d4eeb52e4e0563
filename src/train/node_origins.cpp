#include "train/node_origins.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "data/key_table.h"
#include "model/step/shard.h"

namespace micrec {

std::optional<NodeOrigins> origins_by_record(const DatasetFile& now,
                                             const std::string& fingerprint) {
  if (now.fingerprint() == fingerprint) return std::nullopt;  // nothing came with what was added
  const auto extended =
      std::ranges::find(now.origin().extends, fingerprint, &ExtendedDataset::fingerprint);
  if (extended == now.origin().extends.end()) return std::nullopt;
  NodeOrigins origins{NodeSpace(extended->users, extended->items), {}};
  const NodeSpace space = node_space(now);
  origins.node.assign(space.nodes(), -1);
  for (int d = 0; d < space.domains(); ++d) {
    std::iota(origins.node.begin() + value(space.user(d, 0)),
              origins.node.begin() + value(space.user(d, extended->users[d])),
              value(origins.then.user(d, 0)));
    std::iota(origins.node.begin() + value(space.item(d, 0)),
              origins.node.begin() + value(space.item(d, extended->items[d])),
              value(origins.then.item(d, 0)));
  }
  return origins;
}

NodeOrigins origins_by_keys(const DatasetFile& now, const DatasetFile& then) {
  const std::string names = join(now.domain_names(), ", ");
  const std::string names_then = join(then.domain_names(), ", ");
  if (names != names_then) {
    throw Error(Cause::data, now.path(), " has the domains ", names, ", and ", then.path(),
                ", on which the model was trained, has ", names_then,
                "; both need the same, in the same order");
  }
  NodeOrigins origins{node_space(then), {}};
  const NodeSpace space = node_space(now);
  origins.node.assign(space.nodes(), -1);
  const auto note = [&](Range nodes, Range nodes_then, const std::vector<std::string>& keys,
                        const std::vector<std::string>& keys_then) {
    const KeyTable table = number_keys(keys_then);
    for (std::size_t n = 0; n < keys.size(); ++n) {
      const std::int32_t number = table.find(keys[n]);
      if (number >= 0) {
        origins.node[nodes.begin + n] = static_cast<std::int32_t>(nodes_then.begin + number);
      }
    }
  };
  for (int d = 0; d < space.domains(); ++d) {
    note(space.users_of(d), origins.then.users_of(d), now.user_keys(d), then.user_keys(d));
    note(space.items_of(d), origins.then.items_of(d), now.item_keys(d), then.item_keys(d));
  }
  return origins;
}

std::vector<std::uint8_t> new_items(const NodeOrigins& origins, const NodeSpace& now) {
  std::vector<std::uint8_t> is_new(now.items());
  for (std::int64_t item = 0; item < now.items(); ++item) {
    is_new[item] = origins.is_new(now.users() + item) ? 1 : 0;
  }
  return is_new;
}

std::vector<std::int32_t> items_then(const NodeOrigins& origins, const NodeSpace& now,
                                     const std::vector<std::int32_t>& items) {
  std::vector<std::int32_t> then;
  for (const std::int32_t item : items) {
    if (origins.is_new(now.users() + item)) continue;
    then.push_back(origins.node[now.users() + item] -
                   static_cast<std::int32_t>(origins.then.users()));
  }
  return then;
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
