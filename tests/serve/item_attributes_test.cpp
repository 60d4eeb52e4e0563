#include "serve/filter/item_attributes.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "serve/history.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using Numbers = std::vector<std::int32_t>;

class ItemAttributesTest : public testing::Test {
 protected:
  ItemAttributes read(const std::string& contents, const std::string& name = "items.csv") {
    report_.str("");
    return ItemAttributes::read(folder_.write(name, contents), "food", items_, report_);
  }

  /// The values of a column as they stand in the file, "-" where there is none.
  static std::vector<std::string> values(const ItemAttributes::Column& column) {
    std::vector<std::string> values;
    for (const std::int32_t value : column.of_item) {
      values.emplace_back(value < 0 ? "-" : column.values.key(value));
    }
    return values;
  }

  TemporaryFolder folder_;
  KeyTable items_ = number_keys({"a", "b", "c", "d"});
  std::ostringstream report_;
};

TEST_F(ItemAttributesTest, HasTheColumnsByItemWhateverSeparatesThem) {
  for (const char* separator : {",", "\t", ";", "|"}) {
    const std::string s = separator;
    const ItemAttributes attributes =
        read("price" + s + "item_id" + s + "brand\n1.50" + s + "c" + s + "Acme & Co\n" + s + " a " +
             s + " Zed \n2" + s + "b" + s + "\n");
    ASSERT_EQ(attributes.columns().size(), 2U) << s;
    const ItemAttributes::Column& price = attributes.column("price", "");
    EXPECT_TRUE(price.has_numbers);
    EXPECT_EQ(values(price), (std::vector<std::string>{"-", "2", "1.50", "-"}));
    const ItemAttributes::Column& brand = attributes.column("brand", "");
    EXPECT_FALSE(brand.has_numbers);
    EXPECT_EQ(values(brand), (std::vector<std::string>{"Zed", "-", "Acme & Co", "-"}));
  }
  const ItemAttributes quoted = read("\"item_id\",\"name\"\nb,\"one, two\"\n");
  EXPECT_EQ(values(quoted.column("name", "")),
            (std::vector<std::string>{"-", "one, two", "-", "-"}));
}

TEST_F(ItemAttributesTest, AColumnHasNumbersWhereEveryValueIsOne) {
  const ItemAttributes attributes =
      read("item_id,all,some,endless,none\na,1,1,1,\nb,-2.5e1,x,inf,\nc,,3,2,\n");
  EXPECT_TRUE(attributes.column("all", "").has_numbers);
  EXPECT_FALSE(attributes.column("some", "").has_numbers);
  EXPECT_EQ(attributes.column("some", "").a_text(), "x");
  EXPECT_FALSE(attributes.column("endless", "").has_numbers);
  EXPECT_EQ(values(attributes.column("none", "")), std::vector<std::string>(4, "-"));
}

TEST_F(ItemAttributesTest, GroupsEqualValues) {
  const ItemAttributes attributes = read("item_id,n,t\na,1,1 \nb,1.0,x\nc,2,1\nd,,\n");
  EXPECT_EQ(attributes.column("n", "").groups(), (Numbers{0, 0, 1, -1}));
  const ItemAttributes texts = read("item_id,t\na,1 \nb,x\nc,1\n");
  EXPECT_EQ(texts.column("t", "").groups(), (Numbers{0, 1, 0, -1}));
}

TEST_F(ItemAttributesTest, SaysWhatWasReadAndLeftOut) {
  read("item_id,,price,brand\na,x,1,Acme\nb,y,2,\nnobody,z,3,Zed\n");
  expect_has(report_.str(),
             {"items.csv: attributes of 2 of the 4 items of food: price (2 numbers, of "
              "2 items), brand (1 texts, of 1 items)",
              "  1 lines of items that food does not have, as 'nobody'"});
}

TEST_F(ItemAttributesTest, RefusesWithFileAndLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "is empty; expected a table"},
      {"id,price\na,1\n",
       "items.csv:1: expected a header line with a column item_id, got id, price"},
      {"item_id,x,x\na,1,2\n", "items.csv:1: two columns are called 'x'"},
      {"item_id,x\na,1\nb\n", "items.csv:3: expected 2 fields as in the header, got 1"},
      {"item_id,x\na,1\n ,2\n", "items.csv:3: item_id is empty"},
      {"item_id,x\na,1\nb,1\na,2\n", "items.csv:4: the item 'a' has a line already, line 2"},
      {"item_id,x\nq,1\n",
       "none of its 1 items is an item of the domain food (it has 'q', the "
       "domain has 'a')"},
      {"item_id,x\n", "none of its 0 items is an item of the domain food; check"},
  };
  for (const auto& [contents, sentence] : cases) {
    expect_error(Cause::data, {sentence}, [&, contents = contents] { read(contents); });
  }
}

TEST_F(ItemAttributesTest, NamesTheColumnsWhereOneIsUnknown) {
  const ItemAttributes attributes = read("item_id,price,brand\na,1,x\n");
  const std::pair<const char*, const char*> cases[] = {
      {"pricee", "--at_most: "},
      {"pricee", "has no column 'pricee'; did you mean price?"},
      {"colour", "has no column 'colour'; it has price, brand"}};
  for (const auto& [name, sentence] : cases) {
    expect_error(Cause::usage, {sentence},
                 [&, name = name] { attributes.column(name, "--at_most"); });
  }
}

}  // namespace
}  // namespace micrec
