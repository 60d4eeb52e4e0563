// Files as their publishers made them. They may not be redistributed, so they are not in the
// repository; where they are absent these tests are skipped.
#include <unordered_set>

#include "base/text.h"
#include "io/tables/interactions_reader.h"
#include "tests/io/files.h"

namespace micrec {
namespace {

struct RealFile {
  const char* path;
  const char* format;
  std::int64_t users;
  std::int64_t items;
  std::int64_t interactions;
  bool has_timestamps;
};

// Without this GoogleTest prints the bytes.
void PrintTo(const RealFile& file, std::ostream* out) { *out << file.path; }

class RealData : public testing::TestWithParam<RealFile> {};

TEST_P(RealData, HasThePublishedCounts) {
  const std::filesystem::path path =
      std::filesystem::path(MICREC_SOURCE_DIR) / "../shared/data" / GetParam().path;
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << path.lexically_normal() << " is not on this machine";
  std::unordered_set<std::string> users;
  std::unordered_set<std::string> items;
  std::int64_t timed = 0;
  const InteractionsSummary summary =
      for_each_interaction(path.string(), {}, [&](const Interaction& one) {
        users.emplace(one.user);
        items.emplace(one.item);
        timed += one.timestamp.has_value() ? 1 : 0;
      });
  std::printf("%s: %s; %s users, %s items, %s interactions\n", GetParam().path,
              summary.format.c_str(), with_commas(static_cast<std::int64_t>(users.size())).c_str(),
              with_commas(static_cast<std::int64_t>(items.size())).c_str(),
              with_commas(summary.interactions).c_str());
  EXPECT_EQ(summary.format, GetParam().format);
  EXPECT_EQ(static_cast<std::int64_t>(users.size()), GetParam().users);
  EXPECT_EQ(static_cast<std::int64_t>(items.size()), GetParam().items);
  EXPECT_EQ(summary.interactions, GetParam().interactions);
  EXPECT_EQ(summary.has_timestamps, GetParam().has_timestamps);
  EXPECT_EQ(timed, GetParam().has_timestamps ? summary.interactions : 0);
}

constexpr const char* kCsv = "CSV with header";
constexpr const char* kAmazon = "Amazon reviews of 2014 or 2018 (JSON lines)";
constexpr const char* kLines = "LightGCN's lines 'user item item ...'";
INSTANTIATE_TEST_SUITE_P(
    Files, RealData,
    testing::Values(
        RealFile{"food_kitchen/food.interactions.csv.gz", kCsv, 7144, 11837, 83663, true},
        RealFile{"food_kitchen/kitchen.interactions.csv.gz", kCsv, 7144, 16258, 89885, true},
        RealFile{"beauty_toys/beauty.interactions.csv.gz", kCsv, 22363, 12101, 198502, true},
        RealFile{"beauty_toys/toys.interactions.csv.gz", kCsv, 19412, 11924, 167597, true},
        RealFile{"amazon_raw/All_Beauty_5.json.gz", kAmazon, 991, 85, 5269, true},
        RealFile{"amazon_raw/AMAZON_FASHION_5.jsonl.gz", kAmazon, 406, 31, 3176, true},
        RealFile{"gowalla/train.txt.gz", kLines, 29858, 40981, 810128, false},
        RealFile{"gowalla/test.txt.gz", kLines, 29858, 38546, 217242, false}),
    [](const auto& info) {
      std::string name = std::filesystem::path(info.param.path).filename().string();
      for (char& letter : name)
        letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
      return name;
    });

}  // namespace
}  // namespace micrec
