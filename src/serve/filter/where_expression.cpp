#include "serve/filter/where_expression.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr int kDeepest = 100;

struct Token {
  enum class Kind { word, name, number, text, sign, end };  // name: in [ ], a column and no keyword
  Kind kind = Kind::end;
  std::size_t at = 0;
  std::string value;  // without quotes or brackets
  double number = 0;

  bool is(std::string_view word) const {
    return (kind == Kind::word && small_letters(value) == word) ||
           (kind == Kind::sign && value == word);
  }
};

/// Of a missing value none holds but the last.
enum class Test { equal, unequal, less, at_most, more, at_least, among, not_among, there, missing };

}  // namespace

struct WhereExpression::Node {
  enum class Kind { any, all, none, comparison };  // of the parts; none: not
  Kind kind = Kind::comparison;
  std::vector<Node> parts;
  // Of a comparison:
  std::string column;
  std::size_t at = 0;
  Test test = Test::equal;
  std::vector<Token> values;  // numbers and texts
};

/// "--where, column 9 of 'price < '". Columns are of characters, from 1.
std::string WhereExpression::place(std::size_t at) const {
  const auto characters =
      std::ranges::count_if(condition_.substr(0, at), [](char c) { return (c & 0xC0) != 0x80; });
  return text(asked_, ", column ", characters + 1, " of ", excerpt(condition_));
}

Error WhereExpression::error_at(std::size_t at, const std::string& what) const {
  return {Cause::usage, text(place(at), ": ", what)};
}

namespace {

using Node = WhereExpression::Node;
using Kind = Node::Kind;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
/// A letter, of any alphabet, or _.
bool begins_word(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80) != 0;
}

class Parser {
 public:
  Parser(const WhereExpression& whole, const std::string& condition)
      : whole_(whole), condition_(condition) {
    advance();
  }

  Node parse() {
    Node node = condition();
    if (token_.kind != Token::Kind::end) throw expected("'and', 'or' or its end");
    return node;
  }

 private:
  // --- Tokens ---

  void advance() {
    while (next_ < condition_.size() && is_blank(condition_[next_])) ++next_;
    token_ = {};
    token_.at = next_;
    if (next_ == condition_.size()) return;
    const char c = condition_[next_];
    if (c == '"' || c == '\'') {
      take_quoted(c, c, Token::Kind::text);
    } else if (c == '[') {
      take_quoted('[', ']', Token::Kind::name);
    } else if (begins_word(c)) {
      while (next_ < condition_.size() &&
             (begins_word(condition_[next_]) || is_digit(condition_[next_]))) {
        token_.value += condition_[next_++];
      }
      token_.kind = Token::Kind::word;
    } else if (is_digit(c) || c == '-' || c == '+' || c == '.') {
      take_number();
    } else {
      token_.kind = Token::Kind::sign;
      token_.value = c;
      ++next_;
      const bool may_be_two = c == '<' || c == '>' || c == '!';
      if (may_be_two && next_ < condition_.size() && condition_[next_] == '=') {
        token_.value += condition_[next_++];
      }
    }
  }

  /// What stands between two marks, of which the closing one is written twice to be part of it.
  void take_quoted(char open, char close, Token::Kind kind) {
    token_.kind = kind;
    ++next_;
    while (true) {
      const std::size_t end = condition_.find(close, next_);
      if (end == std::string::npos) {
        throw whole_.error_at(token_.at, text("this ", open, " has no closing ", close));
      }
      token_.value += condition_.substr(next_, end - next_);
      next_ = end + 1;
      if (next_ == condition_.size() || condition_[next_] != close) return;
      token_.value += close;
      ++next_;
    }
  }

  void take_number() {
    const auto is_part = [&](std::size_t n) {
      const char c = condition_[n];
      const bool after_exponent =
          n > token_.at && (condition_[n - 1] == 'e' || condition_[n - 1] == 'E');
      return is_digit(c) || begins_word(c) || c == '.' ||
             ((c == '-' || c == '+') && (n == token_.at || after_exponent));
    };
    while (next_ < condition_.size() && is_part(next_)) token_.value += condition_[next_++];
    const std::string_view digits =
        std::string_view(token_.value).substr(token_.value.front() == '+' ? 1 : 0);
    const std::optional<double> number = parse_real(digits);
    if (!number)
      throw whole_.error_at(token_.at, text("expected a number, got ", excerpt(token_.value)));
    token_.kind = Token::Kind::number;
    token_.number = *number;
  }

  Error expected(const std::string& what) const {
    return whole_.error_at(token_.at,
                           text("expected ", what, ", got ",
                                token_.kind == Token::Kind::end
                                    ? "its end"
                                    : excerpt(condition_.substr(token_.at, next_ - token_.at))));
  }

  bool take(std::string_view word) {
    if (!token_.is(word)) return false;
    advance();
    return true;
  }

  void require(std::string_view word) {
    if (!take(word)) throw expected(text("'", word, "'"));
  }

  // --- The grammar ---

  Node condition() {
    return joined("or", Kind::any, [this] { return all(); });
  }
  Node all() {
    return joined("and", Kind::all, [this] { return negation(); });
  }

  Node joined(std::string_view word, Kind kind, const std::function<Node()>& part) {
    Node first = part();
    if (!token_.is(word)) return first;
    Node node;
    node.kind = kind;
    node.parts.push_back(std::move(first));
    while (take(word)) node.parts.push_back(part());
    return node;
  }

  Node negation() {
    const bool is_not = token_.is("not");
    if (!is_not && !token_.is("(")) return comparison();
    if (++depth_ > kDeepest) {
      throw whole_.error_at(
          token_.at, text("more than ", kDeepest, " parentheses or negations in each other"));
    }
    advance();
    Node node;
    if (is_not) {
      node.kind = Kind::none;
      node.parts.push_back(negation());
    } else {
      node = condition();
      require(")");
    }
    --depth_;
    return node;
  }

  Node comparison() {
    const auto is_keyword = [&] {
      return std::ranges::any_of(kWords, [&](std::string_view word) { return token_.is(word); });
    };
    const bool is_column =
        token_.kind == Token::Kind::name || (token_.kind == Token::Kind::word && !is_keyword());
    if (!is_column) throw expected("the name of a column, 'not' or '('");
    Node node;
    node.column = token_.value;
    node.at = token_.at;
    advance();
    if (take("is")) {
      node.test = take("not") ? Test::there : Test::missing;
      require("missing");
      return node;
    }
    const bool is_not = take("not");
    if (is_not && !token_.is("in")) throw expected("'in'");
    if (take("in")) {
      node.test = is_not ? Test::not_among : Test::among;
      require("(");
      do {
        node.values.push_back(value());
      } while (take(","));
      if (!take(")")) throw expected("',' or ')'");
      return node;
    }
    constexpr std::string_view kSigns[] = {"=", "!=", "<", "<=", ">", ">="};
    for (int test = 0; test < 6; ++test) {
      if (!take(kSigns[test])) continue;
      node.test = static_cast<Test>(test);
      node.values.push_back(value());
      return node;
    }
    throw expected("=, !=, <, <=, >, >=, 'in', 'not in' or 'is'");
  }

  /// A value that a column is compared with.
  Token value() {
    if (token_.kind != Token::Kind::number && token_.kind != Token::Kind::text) {
      throw expected("a number or a text in quotes");
    }
    Token value = std::move(token_);
    advance();
    return value;
  }

  static constexpr std::string_view kWords[] = {"and", "or", "not", "in", "is", "missing"};

  const WhereExpression& whole_;
  const std::string& condition_;
  std::size_t next_ = 0;  // behind the token
  Token token_;
  int depth_ = 0;
};

template <typename T>
bool holds(Test test, const T& value, const std::vector<T>& among) {
  const T& other = among.front();
  switch (test) {
    case Test::equal:
      return value == other;
    case Test::unequal:
      return value != other;
    case Test::less:
      return value < other;
    case Test::at_most:
      return value <= other;
    case Test::more:
      return value > other;
    case Test::at_least:
      return value >= other;
    default:
      return (std::ranges::find(among, value) != among.end()) == (test == Test::among);
  }
}

}  // namespace

WhereExpression::WhereExpression(const std::string& condition, const std::string& asked)
    : condition_(condition),
      asked_(asked),
      root_(std::make_shared<const Node>(Parser(*this, condition_).parse())) {}

std::vector<std::uint8_t> WhereExpression::evaluate(const ItemAttributes& attributes) const {
  return holds_for(*root_, attributes);
}

std::vector<std::uint8_t> WhereExpression::holds_for(const Node& node,
                                                     const ItemAttributes& attributes) const {
  if (node.kind == Kind::comparison) return compared(node, attributes);
  std::vector<std::uint8_t> result = holds_for(node.parts.front(), attributes);
  if (node.kind == Kind::none) {
    for (std::uint8_t& item : result) item ^= 1;
  }
  for (std::size_t p = 1; p < node.parts.size(); ++p) {
    const std::vector<std::uint8_t> part = holds_for(node.parts[p], attributes);
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = node.kind == Kind::any ? result[i] | part[i] : result[i] & part[i];
    }
  }
  return result;
}

std::vector<std::uint8_t> WhereExpression::compared(const Node& node,
                                                    const ItemAttributes& attributes) const {
  const ItemAttributes::Column& column = attributes.column(node.column, place(node.at));
  const auto count = static_cast<std::int32_t>(column.values.size());
  std::vector<std::uint8_t> of_value(count, node.test == Test::there ? 1 : 0);
  std::vector<double> numbers;
  std::vector<std::string_view> texts;
  for (const Token& value : node.values) {
    const bool is_number = value.kind == Token::Kind::number;
    if (count > 0 && is_number != column.has_numbers) {
      throw error_at(
          value.at,
          text(is_number ? "expected a text in quotes" : "expected a number", ", as the column ",
               printable(column.name), " of ", attributes.path(),
               is_number ? text(" has texts (", excerpt(column.a_text()), "), got a number")
                         : " has numbers, got a text"));
    }
    numbers.push_back(value.number);
    texts.push_back(value.value);
  }
  for (std::int32_t v = 0; v < count && !node.values.empty(); ++v) {
    of_value[v] = column.has_numbers ? holds(node.test, column.number[v], numbers)
                                     : holds(node.test, column.values.key(v), texts);
  }
  std::vector<std::uint8_t> result;
  result.reserve(column.of_item.size());
  for (const std::int32_t value : column.of_item) {
    result.push_back(value < 0 ? static_cast<std::uint8_t>(node.test == Test::missing)
                               : of_value[value]);
  }
  return result;
}

}  // namespace micrec
