#include "serve/filter/filter_rules.h"

#include <glog/logging.h>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {
namespace {

/// As "2:brand", from 1. `asked` begins the sentence.
AtMost parse_at_most(const std::string& value, const std::string& asked) {
  const std::size_t colon = value.find(':');
  const std::optional<std::int64_t> most = parse_integer(value.substr(0, colon));
  if (colon == std::string::npos || !most || *most < 1 || colon + 1 == value.size()) {
    throw Error(Cause::usage, asked,
                ": expected how many items of one value of a column a list may have, "
                "as 2:brand, got ",
                excerpt(value));
  }
  return {*most, value.substr(colon + 1)};
}

}  // namespace

FilterRules::FilterRules(const ItemRules& rules, const std::string& prefix)
    : prefix_(prefix), min_degree_(rules.min_degree) {
  if (!rules.where.empty()) where_.emplace(rules.where, prefix + "where");
  if (!rules.at_most.empty()) at_most_ = parse_at_most(rules.at_most, prefix + "at_most");
}

void FilterRules::apply(std::span<const std::int32_t> degree, const ItemAttributes* attributes,
                        ItemFilter& filter, const Say& say) const {
  const auto tell = [&](const char* rule) {
    if (say) say(prefix_ + rule);
  };
  if (min_degree_ > 0) {
    filter.keep_degree(degree, min_degree_);
    tell("min_degree");
  }
  if (!where_ && !at_most_) return;
  CHECK(attributes != nullptr);
  if (where_) {
    filter.keep_where(where_->evaluate(*attributes));
    tell("where");
  }
  if (at_most_) {
    filter.set_at_most(at_most_->most,
                       attributes->column(at_most_->column, prefix_ + "at_most").groups());
  }
}

}  // namespace micrec
