#include "serve/filter/where_expression.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "serve/history.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using Bits = std::vector<std::uint8_t>;

/// What a line of the table says.
struct Item {
  std::optional<double> price;
  std::optional<std::string> brand;
};

class WhereExpressionTest : public testing::Test {
 protected:
  /// The items a, b, ... with these attributes.
  void make(const std::vector<Item>& items) {
    std::string table = "item_id,price,brand,list price,größe\n";
    std::vector<std::string> keys;
    for (std::size_t n = 0; n < items.size(); ++n) {
      keys.push_back(text("i", n));
      table += text(keys.back(), ",");
      if (items[n].price) table += text(*items[n].price);
      table += text(",", items[n].brand.value_or(""), ",", n, ",", n, "\n");
    }
    std::ostringstream report;
    attributes_ =
        ItemAttributes::read(folder_.write("items.csv", table), "food", number_keys(keys), report);
  }

  Bits of(const std::string& condition) const {
    return WhereExpression(condition, "--where").evaluate(*attributes_);
  }

  TemporaryFolder folder_;
  std::optional<ItemAttributes> attributes_;
};

TEST_F(WhereExpressionTest, ComparesNumbersAndTexts) {
  make({{5, "Acme"}, {20, "Zed"}, {30, std::nullopt}, {std::nullopt, "Acme"}});
  const std::pair<const char*, Bits> cases[] = {
      {"price < 20", {1, 0, 0, 0}},
      {"price <= 20", {1, 1, 0, 0}},
      {"price > 2e1", {0, 0, 1, 0}},
      {"price >= +20", {0, 1, 1, 0}},
      {"price = 5.0", {1, 0, 0, 0}},
      {"price != 5", {0, 1, 1, 0}},
      {"price > -.5", {1, 1, 1, 0}},
      {"brand = 'Acme'", {1, 0, 0, 1}},
      {"brand != \"Acme\"", {0, 1, 0, 0}},
      {"brand < 'B'", {1, 0, 0, 1}},
      {"price in (5, 30)", {1, 0, 1, 0}},
      {"price not in (5, 30)", {0, 1, 0, 0}},
      {"brand in ('Zed','nobody')", {0, 1, 0, 0}},
      {"brand is missing", {0, 0, 1, 0}},
      {"brand IS NOT MISSING", {1, 1, 0, 1}},
      {"[list price] > 1", {0, 0, 1, 1}},
      {"größe = 1", {0, 1, 0, 0}},
      {"not price < 20", {0, 1, 1, 1}},
      {"price < 10 or price > 25 and brand is missing", {1, 0, 1, 0}},
      {"(price < 10 or price > 25) and brand is missing", {0, 0, 1, 0}},
      {"not (price < 10 or brand is missing) AND brand = 'Zed'", {0, 1, 0, 0}},
      {"price < 20 and brand in (\"Acme\", \"b\")", {1, 0, 0, 0}},
  };
  for (const auto& [condition, expected] : cases) EXPECT_EQ(of(condition), expected) << condition;
}

TEST_F(WhereExpressionTest, AQuoteInATextIsWrittenTwice) {
  make({{1, "O'Neill"}, {2, "plain"}});
  EXPECT_EQ(of("brand = 'O''Neill'"), (Bits{1, 0}));
  EXPECT_EQ(of("brand = \"O'Neill\""), (Bits{1, 0}));
}

TEST_F(WhereExpressionTest, RefusesWithTheColumnAndWhatItExpected) {
  make({{5, "Acme"}});
  const std::pair<std::string, const char*> cases[] = {
      {"", "--where, column 1 of '': expected the name of a column, 'not' or '(', got its end"},
      {"price",
       "column 6 of 'price': expected =, !=, <, <=, >, >=, 'in', 'not in' or 'is', got its "
       "end"},
      {"price < ", "column 9 of 'price < ': expected a number or a text in quotes, got its end"},
      {"price < and",
       "column 9 of 'price < and': expected a number or a text in quotes, got 'and'"},
      {"price == 3", "column 8 of 'price == 3': expected a number or a text in quotes, got '='"},
      {"price < 3 brand", "column 11 of 'price < 3 brand': expected 'and', 'or' or its end"},
      {"(price < 3", "column 11 of '(price < 3': expected ')', got its end"},
      {"price in 3", "expected '(', got '3'"},
      {"price in (3 4)", "column 13 of 'price in (3 4)': expected ',' or ')', got '4'"},
      {"price in ()", "column 11 of 'price in ()': expected a number or a text in quotes"},
      {"price not < 3", "column 11 of 'price not < 3': expected 'in', got '<'"},
      {"price is 3", "expected 'missing', got '3'"},
      {"and = 3", "column 1 of 'and = 3': expected the name of a column"},
      {"brand = 'Acme", "column 9 of 'brand = 'Acme': this ' has no closing '"},
      {"[brand = 3", "column 1 of '[brand = 3': this [ has no closing ]"},
      {"price < 3x", "column 9 of 'price < 3x': expected a number, got '3x'"},
      {"price < --3", "column 9 of 'price < --3': expected a number, got '-'"},
      {"größe < 1 & price < 2",
       "column 11 of 'größe < 1 & price < 2': expected 'and', 'or' or its "
       "end, got '&'"},
      {"colour = 3", "--where, column 1 of 'colour = 3': "},
      {"price < 3 or colour = 3", "column 14 of 'price < 3 or colour = 3': "},
      {"brand < 3", "column 9 of 'brand < 3': expected a text in quotes, as the column brand of "},
      {"price in (1, 'x')", "column 14 of 'price in (1, 'x')': expected a number, as the column "},
      {std::string(101, '(') + "price < 3" + std::string(101, ')'),
       "more than 100 parentheses or negations in each other"},
  };
  for (const auto& [condition, sentence] : cases) {
    expect_error(Cause::usage, {sentence}, [&, condition = condition] { of(condition); });
  }
  EXPECT_EQ(of(std::string(100, '(') + "price < 3" + std::string(100, ')')), Bits{0});
  std::string many = "price < 3";
  for (int n = 0; n < 20'000; ++n) many += " or price < 3";
  EXPECT_EQ(of(many), Bits{0}) << "a long row of parts is not deep";
}

/// A condition and what it says, made at the same time.
struct Drawn {
  std::string condition;
  std::function<bool(const Item&)> holds;
};

class Drawing {
 public:
  explicit Drawing(std::uint32_t seed) : random_(seed) {}

  std::size_t below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
  }

  Item item() {
    Item item;
    if (below(4) > 0) item.price = static_cast<double>(below(6));
    if (below(4) > 0) item.brand = std::string(1, static_cast<char>('p' + below(5)));
    return item;
  }

  Drawn comparison() {
    const bool numbers = below(2) == 0;
    const auto number = static_cast<double>(below(6));
    const std::string word(1, static_cast<char>('p' + below(5)));
    const std::string column = numbers ? "price" : "brand";
    const std::string value = numbers ? text(number) : "'" + word + "'";
    const auto with = [=](auto test) {
      return [=](const Item& item) {
        if (numbers) return item.price && test(*item.price, number);
        return item.brand && test(*item.brand, word);
      };
    };
    switch (below(8)) {
      case 0:
        return {column + " = " + value, with(std::equal_to<>())};
      case 1:
        return {column + " != " + value, with(std::not_equal_to<>())};
      case 2:
        return {column + "<" + value, with(std::less<>())};
      case 3:
        return {column + "<=" + value, with(std::less_equal<>())};
      case 4:
        return {column + ">" + value, with(std::greater<>())};
      case 5:
        return {column + " >= " + value, with(std::greater_equal<>())};
      case 6:
        return {column + " not in (" + value + ")", with(std::not_equal_to<>())};
      default:
        return {column + " is missing", [=](const Item& item) {
                  return numbers ? !item.price.has_value() : !item.brand.has_value();
                }};
    }
  }

  Drawn condition(int depth) {
    const std::size_t kind = depth == 0 ? 0 : below(4);
    if (kind == 0) return comparison();
    const Drawn a = condition(depth - 1);
    if (kind == 1) {
      return {"not (" + a.condition + ")", [=](const Item& item) { return !a.holds(item); }};
    }
    const Drawn b = condition(depth - 1);
    if (kind == 2) {
      return {"(" + a.condition + ") and (" + b.condition + ")",
              [=](const Item& item) { return a.holds(item) && b.holds(item); }};
    }
    return {"(" + a.condition + ") or (" + b.condition + ")",
            [=](const Item& item) { return a.holds(item) || b.holds(item); }};
  }

 private:
  std::mt19937 random_;
};

TEST_F(WhereExpressionTest, HoldsForTheItemsThatPlainCodeFinds) {
  Drawing drawing(7);
  std::vector<Item> items;
  for (int n = 0; n < 60; ++n) items.push_back(drawing.item());
  items[0].brand = "q";  // both columns have values of their kind
  items[0].price = 1;
  make(items);
  int mixed = 0;
  for (int n = 0; n < 500; ++n) {
    const Drawn drawn = drawing.condition(4);
    Bits expected;
    for (const Item& item : items) expected.push_back(drawn.holds(item) ? 1 : 0);
    EXPECT_EQ(of(drawn.condition), expected) << drawn.condition;
    mixed += expected != Bits(items.size(), 0) && expected != Bits(items.size(), 1) ? 1 : 0;
  }
  EXPECT_GT(mixed, 200);
}

// Whatever is put in: an answer or a sentence.
TEST_F(WhereExpressionTest, AnyWordsAreAConditionOrRefused) {
  make({{5, "Acme"}, {20, "Zed"}});
  const std::string words[] = {"price < 3",
                               "brand = 'Acme'",
                               "price in (3, 4)",
                               "and",
                               "or",
                               "not",
                               "(",
                               ")",
                               "brand",
                               "is missing",
                               "in",
                               "<",
                               "3",
                               "'a'",
                               ",",
                               "[x]",
                               "\"",
                               "-",
                               "é"};
  Drawing drawing(11);
  int refused = 0;
  for (int n = 0; n < 5'000; ++n) {
    std::string condition;
    for (std::size_t w = drawing.below(8); w > 0; --w) {
      condition += words[drawing.below(std::size(words))] + (drawing.below(4) > 0 ? " " : "");
    }
    try {
      EXPECT_EQ(of(condition).size(), 2U);
    } catch (const Error& error) {
      ++refused;
      EXPECT_TRUE(std::string(error.what()).starts_with("--where, column ")) << error.what();
    }
  }
  EXPECT_GT(refused, 1'000);
  EXPECT_LT(refused, 5'000);
}

}  // namespace
}  // namespace micrec
