#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "serve/filter/item_attributes.h"

namespace micrec {

/// A condition on the attributes of items, as in `price < 20 and brand in ("a", "b")`:
///
///   condition  = all { "or" all }
///   all        = negation { "and" negation }
///   negation   = "not" negation | "(" condition ")" | comparison
///   comparison = column ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
///              | column [ "not" ] "in" "(" value { "," value } ")"
///              | column "is" [ "not" ] "missing"
///   column     = letters, digits and _, not beginning with a digit; or any name between [ and ]
///   value      = a number, or a text in "double" or 'single' quotes, a quote in it written twice
///
/// Words are in small or capital letters. Numbers are compared with columns of numbers and texts
/// with columns of texts, byte by byte, so that dates as 2024-01-31 are in order. No comparison
/// holds for a missing value, `!=` and `not in` neither; where `not` stands before it, it does.
class WhereExpression {
 public:
  /// Errors   Error(Cause::usage): names the column, from 1, what was expected there and what it
  ///          got; also where more than 100 parentheses or negations are in each other. `asked`
  ///          begins the sentence: "--where".
  WhereExpression(const std::string& condition, const std::string& asked);

  /// For which items it holds. Shapes   returns (items), 1 or 0.
  ///
  /// Errors   Error(Cause::usage), of the same form: no such column, a number compared with texts
  ///          or a text with numbers.
  /// Cost     a pass over the items a comparison; values are compared once each.
  std::vector<std::uint8_t> evaluate(const ItemAttributes& attributes) const;

  struct Node;
  /// Of something at a byte of the condition.
  Error error_at(std::size_t at, const std::string& what) const;

 private:
  std::string place(std::size_t at) const;
  std::vector<std::uint8_t> holds_for(const Node& node, const ItemAttributes& attributes) const;
  std::vector<std::uint8_t> compared(const Node& node, const ItemAttributes& attributes) const;

  std::string condition_;
  std::string asked_;
  std::shared_ptr<const Node> root_;
};

}  // namespace micrec
