#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "serve/filter/item_attributes.h"
#include "serve/filter/item_filter.h"
#include "serve/filter/where_expression.h"

namespace micrec {

/// How many items of one value of a column a list may have.
struct AtMost {
  std::int64_t most = 0;
  std::string column;
};

/// Conditions on the items of lists as a user writes them, by flags or in a request.
struct ItemRules {
  std::string where = {};    // see WhereExpression; empty: none
  std::string at_most = {};  // N:COLUMN; empty: any number
  std::int64_t min_degree = 0;

  bool is_empty() const { return where.empty() && at_most.empty() && min_degree <= 0; }
  bool operator==(const ItemRules&) const = default;
  bool asks_attributes() const { return !where.empty() || !at_most.empty(); }
};

/// The same, understood: of any domain.
class FilterRules {
 public:
  /// `prefix` begins the names of the rules in sentences: "--" of flags.
  ///
  /// Errors   those of WhereExpression; Error(Cause::usage) where at_most is not as
  ///          "2:brand".
  FilterRules(const ItemRules& rules, const std::string& prefix);

  /// What is said of each rule after it was applied: its name.
  using Say = std::function<void(const std::string& rule)>;

  /// Takes from a filter what the rules do not let through.
  ///
  /// Shapes   degree: (items) training interactions; attributes: of the domain, where they are
  ///          asked about.
  /// Errors   those of WhereExpression::evaluate() and ItemAttributes::column().
  void apply(std::span<const std::int32_t> degree, const ItemAttributes* attributes,
             ItemFilter& filter, const Say& say = nullptr) const;

  /// The name of the first rule that asks about attributes.
  std::string asking() const { return prefix_ + (where_ ? "where" : "at_most"); }

 private:
  std::string prefix_;
  std::int64_t min_degree_;
  std::optional<WhereExpression> where_;
  std::optional<AtMost> at_most_;
};

}  // namespace micrec
