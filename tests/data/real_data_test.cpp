#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "data/dataset_writer.h"
#include "data/domain_files.h"
#include "tests/data/worlds.h"

namespace micrec {
namespace {

/// Development data beside the checkout; absent elsewhere, as its licences forbid to pass it on.
std::string real_data(const std::string& file) {
  return (std::filesystem::path(MICREC_SOURCE_DIR) / "../shared/data" / file).string();
}

TEST(RealData, FoodAndKitchenHaveTheirKnownCounts) {
  const std::string food = real_data("food_kitchen/food.interactions.csv.gz");
  const std::string kitchen = real_data("food_kitchen/kitchen.interactions.csv.gz");
  if (!std::filesystem::exists(food)) GTEST_SKIP() << food << " is not here";
  std::ostringstream report;
  std::vector<RawDomain> raw;
  raw.push_back(read_domain({"food", {food}, false}, {}, report));
  raw.push_back(read_domain({"kitchen", {kitchen}, false}, {}, report));
  const PreparedDataset dataset = prepare_quietly(std::move(raw));
  EXPECT_EQ(dataset.people(), 7144);
  EXPECT_EQ(dataset.domains[0].users(), 7144);
  EXPECT_EQ(dataset.domains[0].items(), 11837);
  EXPECT_EQ(dataset.domains[0].interactions(), 83663);
  EXPECT_EQ(dataset.domains[1].items(), 16258);
  EXPECT_EQ(dataset.domains[1].interactions(), 89885);
}

TEST(RealData, GowallaKeepsItsPublishedSplit) {
  const std::string train = real_data("gowalla/train.txt.gz");
  const std::string test = real_data("gowalla/test.txt.gz");
  if (!std::filesystem::exists(train)) GTEST_SKIP() << train << " is not here";
  std::ostringstream report;
  std::vector<RawDomain> raw;
  raw.push_back(read_domain({"gowalla", {train, test}, true}, {}, report));
  PreparationOptions options;
  options.split = parse_split_rule("files");
  const PreparedDataset dataset = prepare_quietly(std::move(raw), options);
  const PreparedDomain& domain = dataset.domains[0];
  EXPECT_EQ(domain.users(), 29858);
  EXPECT_EQ(domain.items(), 40981);
  EXPECT_EQ(domain.interactions(Split::train), 810128);
  EXPECT_EQ(domain.interactions(Split::test), 217242);
  // Keys that are numbers keep their value as their number here, as no number is left out.
  EXPECT_EQ(domain.user_keys[29857], "29857");
  EXPECT_EQ(domain.item_keys[40980], "40980");
}

}  // namespace
}  // namespace micrec
