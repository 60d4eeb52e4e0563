#include "partition/node_space.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace micrec {

NodeSpace::NodeSpace(const std::vector<std::int64_t>& users_per_domain,
                     const std::vector<std::int64_t>& items_per_domain) {
  CHECK_EQ(users_per_domain.size(), items_per_domain.size());
  CHECK(!users_per_domain.empty()) << "a node space has at least one domain";
  user_begin_.push_back(0);
  for (const std::int64_t users : users_per_domain) {
    CHECK_GE(users, 0);
    user_begin_.push_back(user_begin_.back() + users);
  }
  item_begin_.push_back(user_begin_.back());
  for (const std::int64_t items : items_per_domain) {
    CHECK_GE(items, 0);
    item_begin_.push_back(item_begin_.back() + items);
  }
  constexpr std::int64_t kMostNodes = std::numeric_limits<std::int32_t>::max();
  if (nodes() > kMostNodes) {
    throw Error(Cause::data, "the dataset has ", with_commas(nodes()),
                " users and items over all domains, and the graph numbers at most ",
                with_commas(kMostNodes), "; prepare it with a higher --core or with fewer domains");
  }
}

int NodeSpace::domain_of(GlobalNode node) const {
  CHECK_GE(value(node), 0);
  CHECK_LT(value(node), nodes());
  const std::vector<std::int64_t>& begin = is_user(node) ? user_begin_ : item_begin_;
  // The last domain that begins at or before the node: domains without nodes are skipped.
  const auto after = std::upper_bound(begin.begin(), begin.end(), std::int64_t{value(node)});
  return static_cast<int>(after - begin.begin()) - 1;
}

std::int64_t NodeSpace::number_in_domain(GlobalNode node) const {
  const int domain = domain_of(node);
  return value(node) - (is_user(node) ? user_begin_[domain] : item_begin_[domain]);
}

}  // namespace micrec
