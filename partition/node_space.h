#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace micrec {

/// The one numbering of all nodes: users of domain 0, users of domain 1, ..., items of domain 0,
/// items of domain 1, ...
class NodeSpace {
 public:
  NodeSpace(const std::vector<std::int64_t>& users_per_domain,
            const std::vector<std::int64_t>& items_per_domain);

  int domains() const { return static_cast<int>(user_begin_.size()) - 1; }
  /// All nodes, and all users (who come first).
  std::int64_t nodes() const { return item_begin_.back(); }
  std::int64_t users() const { return user_begin_.back(); }
  std::int64_t items() const { return nodes() - users(); }

  Range users_of(int domain) const { return {user_begin_[domain], user_begin_[domain + 1]}; }
  Range items_of(int domain) const { return {item_begin_[domain], item_begin_[domain + 1]}; }
  /// The items of a domain as numbers among those of all domains.
  Range item_numbers(int domain) const {
    return {item_begin_[domain] - users(), item_begin_[domain + 1] - users()};
  }

  GlobalNode user(int domain, std::int64_t number) const {
    return GlobalNode(static_cast<std::int32_t>(user_begin_[domain] + number));
  }
  GlobalNode item(int domain, std::int64_t number) const {
    return GlobalNode(static_cast<std::int32_t>(item_begin_[domain] + number));
  }

  bool is_user(GlobalNode node) const { return value(node) < users(); }
  int domain_of(GlobalNode node) const;
  /// Number of a node among the users (or items) of its domain.
  std::int64_t number_in_domain(GlobalNode node) const;

 private:
  std::vector<std::int64_t> user_begin_;  // (domains + 1)
  std::vector<std::int64_t> item_begin_;  // (domains + 1)
};

}  // namespace micrec
