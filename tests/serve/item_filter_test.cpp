#include "serve/filter/item_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "serve/filter/filter_files.h"
#include "tests/support/expect_error.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using Items = std::vector<std::int32_t>;

constexpr std::int64_t kItems = 700;
constexpr std::int64_t kDim = 4;

/// Users and items of small whole numbers, so that many scores are equal; every third user has seen
/// some items.
struct Ranking {
  std::int64_t users;
  std::vector<float> user_rows, item_rows;
  NumberLists seen;
  std::vector<std::int32_t> row_of = std::vector<std::int32_t>(kItems);
  std::vector<std::uint8_t> group = std::vector<std::uint8_t>(kItems, 0);

  explicit Ranking(std::int64_t users) : users(users) {
    const Random random(3, Purpose::synthetic);
    for (std::int64_t n = 0; n < users * kDim; ++n) {
      user_rows.push_back(static_cast<float>(random.index(5, n)) - 2);
    }
    for (std::int64_t n = 0; n < kItems * kDim; ++n) {
      item_rows.push_back(static_cast<float>(random.index(5, n, 1)) - 2);
    }
    std::iota(row_of.begin(), row_of.end(), 0);
    for (std::int64_t u = 0; u < users; ++u) {
      Items items;
      for (std::int32_t i = 0; u % 3 == 0 && i < kItems; ++i) {
        if (random.index(4, u * kItems + i, 2) == 0) items.push_back(i);
      }
      seen.add(items);
    }
  }

  Candidates candidates() const { return {item_rows, kDim, 0, row_of, group, 1, {}}; }

  /// The list of a user, from all their scores and one pass down them.
  std::vector<ScoredItem> plain(std::int64_t user, std::int64_t k,
                                std::span<const std::uint8_t> may, std::int64_t most,
                                const Items& kind) const {
    std::vector<ScoredItem> all;
    const std::span<const std::int32_t> seen_of = seen.of(user);
    for (std::int32_t i = 0; i < kItems; ++i) {
      if (may[i] == 0 || std::ranges::binary_search(seen_of, i)) continue;
      float score = 0;
      for (std::int64_t c = 0; c < kDim; ++c) {
        score += user_rows[user * kDim + c] * item_rows[i * kDim + c];
      }
      all.push_back({i, score});
    }
    std::ranges::stable_sort(all, std::ranges::greater(), &ScoredItem::score);
    std::vector<ScoredItem> list;
    for (const ScoredItem& item : all) {
      const auto equal = std::ranges::count_if(list, [&](const ScoredItem& other) {
        return kind[item.item] >= 0 && kind[other.item] == kind[item.item];
      });
      if (equal < most && static_cast<std::int64_t>(list.size()) < k) list.push_back(item);
    }
    return list;
  }
};

TEST(ItemFilter, EveryRuleTakesItemsAway) {
  ItemFilter filter(6);
  EXPECT_EQ(filter.count(), 6);
  const auto allowed = [&] {
    return std::vector<std::uint8_t>(filter.allowed().begin(), filter.allowed().end());
  };
  filter.leave_out(Items{2, 2});
  EXPECT_EQ(allowed(), (std::vector<std::uint8_t>{1, 1, 0, 1, 1, 1}));
  filter.keep_only(Items{5, 0, 2, 3, 4});
  EXPECT_EQ(allowed(), (std::vector<std::uint8_t>{1, 0, 0, 1, 1, 1}));
  filter.keep_degree(Items{3, 3, 3, 2, 4, 3}, 3);
  EXPECT_EQ(allowed(), (std::vector<std::uint8_t>{1, 0, 0, 0, 1, 1}));
  filter.keep_where(std::vector<std::uint8_t>{0, 1, 1, 1, 1, 1});
  EXPECT_EQ(allowed(), (std::vector<std::uint8_t>{0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(filter.count(), 2);
}

TEST(ItemFilter, AListIsWhatOnePassDownTheWholeRankingTakes) {
  const Ranking ranking(50);
  const Random random(5, Purpose::synthetic);
  for (const int kinds : {1, 3, 40}) {
    for (const std::int64_t most : {1, 2, 7}) {
      ItemFilter filter(kItems);
      Items kind;
      Items out;
      for (std::int32_t i = 0; i < kItems; ++i) {
        // The items of one kind are the first of many rankings.
        const std::int32_t of_sum =
            ranking.item_rows[i * kDim] > 0 ? 0 : static_cast<std::int32_t>(random.index(kinds, i));
        kind.push_back(random.index(20, i, 1) == 0 ? -1 : of_sum);
        if (random.index(3, i, 2) == 0) out.push_back(i);
      }
      filter.leave_out(out);
      filter.set_at_most(most, kind);
      for (const std::int64_t k : {1, 10, 60}) {
        const ComputeThreads threads(2);
        const auto lists =
            filtered_top_k(ranking.candidates(), {ranking.user_rows}, ranking.seen, {}, k, &filter);
        ASSERT_EQ(static_cast<std::int64_t>(lists.size()), ranking.users);
        for (std::int64_t u = 0; u < ranking.users; ++u) {
          const std::vector<ScoredItem> expected =
              ranking.plain(u, k, filter.allowed(), most, kind);
          ASSERT_EQ(lists[u].size(), expected.size()) << kinds << " " << most << " " << k;
          for (std::size_t n = 0; n < expected.size(); ++n) {
            ASSERT_EQ(lists[u][n].item, expected[n].item);
            ASSERT_EQ(lists[u][n].score, expected[n].score);
          }
        }
      }
    }
  }
}

TEST(ItemFilter, WithoutOneAllItemsAreRanked) {
  const Ranking ranking(20);
  const auto all =
      filtered_top_k(ranking.candidates(), {ranking.user_rows}, ranking.seen, {}, 9, nullptr);
  const std::vector<std::uint8_t> may(kItems, 1);
  for (std::int64_t u = 0; u < ranking.users; ++u) {
    const std::vector<ScoredItem> expected = ranking.plain(u, 9, may, 1, Items(kItems, -1));
    for (std::size_t n = 0; n < 9; ++n) EXPECT_EQ(all[u][n].item, expected[n].item);
  }
}

TEST(ItemFilter, LeavesNothingWhereNothingIsAllowed) {
  const Ranking ranking(4);
  ItemFilter filter(kItems);
  filter.keep_only({});
  filter.set_at_most(1, Items(kItems, 0));
  for (const auto& list :
       filtered_top_k(ranking.candidates(), {ranking.user_rows}, ranking.seen, {}, 5, &filter)) {
    EXPECT_TRUE(list.empty());
  }
}

class FilterFilesTest : public testing::Test {
 protected:
  std::optional<ItemFilter> read(const FilterOptions& options, int domain = 0,
                                 const std::string& named = "domain0") {
    report_.str("");
    const Items degree(dataset_.domains()[domain].items, 4);
    return FilterFiles(options, named, dataset_).read(domain, degree, report_);
  }

  TemporaryFolder folder_;
  DatasetFile dataset_ = write_small_world({}, folder_ / "world.h5");
  std::vector<std::string> keys_ = dataset_.item_keys(0);
  std::ostringstream report_;
};

TEST_F(FilterFilesTest, ReadsKeysAndAttributesAndSaysWhatIsLeft) {
  const std::string only = folder_.write(
      "only.txt", keys_[3] + "\n\n  " + keys_[1] + "\t\n" + keys_[3] + "\nunheard of\n" + keys_[7]);
  const std::string out = folder_.write("out.txt", keys_[1] + "\n");
  const std::string table =
      folder_.write("items.csv", "item_id,price,brand\n" + keys_[3] + ",5,Acme\n" + keys_[7] +
                                     ",50,Acme\n" + keys_[9] + ",1,Zed\n");
  const std::optional<ItemFilter> filter = read({.only_items = only,
                                                 .exclude_items = "domain0=" + out,
                                                 .attributes = table,
                                                 .rules = {"price < 20", "2:brand", 4}});
  ASSERT_TRUE(filter);
  EXPECT_TRUE(filter->has_groups());
  EXPECT_EQ(filter->count(), 1);
  EXPECT_EQ(filter->allowed()[3], 1);
  expect_has(report_.str(),
             {"only.txt: 3 items of domain0\n  1 lines are no items of domain0, as 'unheard of'",
              "out.txt: 1 items of domain0",
              "domain0: of 20 items --only_items leaves 3, --exclude_items leaves 2, "
              "--min_degree leaves 2, --where leaves 1\n"});
  EXPECT_EQ(read({.rules = {.min_degree = 5}})->count(), 0);
  expect_has(report_.str(), {"nothing of domain0 is left to list"});
}

TEST_F(FilterFilesTest, ThereIsNoneWhereNothingIsAsked) {
  EXPECT_TRUE(FilterOptions().rules.is_empty());
  EXPECT_FALSE(read({}));
  const std::string out = folder_.write("out.txt", keys_[1] + "\n");
  EXPECT_FALSE(read({.exclude_items = out}, 1)) << "the file is of domain0";
  EXPECT_EQ(FilterFiles({.exclude_items = out}, "domain0", dataset_).paths(),
            std::vector<std::string>{out});
}

TEST_F(FilterFilesTest, RefusesWhatItCannotServe) {
  const std::string foreign = folder_.write("foreign.txt", "nobody\nnothing\n");
  const std::string nothing = folder_.write("nothing.txt", "\n \n");
  const std::string table = folder_.write("items.csv", "item_id,price\n" + keys_[3] + ",5\n");
  const std::tuple<Cause, FilterOptions, const char*> cases[] = {
      {Cause::data,
       {.only_items = foreign},
       "none of its 2 lines is an item of the domain domain0"},
      {Cause::data,
       {.exclude_items = nothing},
       "nothing.txt is empty; expected the key of an item"},
      {Cause::usage, {.rules = {.at_most = "brand"}}, "--at_most: expected how many items"},
      {Cause::usage, {.rules = {.at_most = "0:brand"}}, "as 2:brand, got '0:brand'"},
      {Cause::usage, {.rules = {.at_most = "2:"}}, "as 2:brand, got '2:'"},
      {Cause::usage, {.attributes = table}, "--attributes is given and nothing asks about them"},
      {Cause::usage,
       {.rules = {.where = "price < 3"}},
       "--where asks about items of domain0, which have no "
       "attributes; give --attributes=domain0=items.csv"},
      {Cause::usage, {.attributes = table, .rules = {.at_most = "2:brand"}}, "--at_most: "},
      {Cause::usage,
       {.attributes = table, .rules = {.where = "price <"}},
       "--where, column 8 of 'price <'"},
      {Cause::usage, {.only_items = "a,domain0=b"}, "--only_items names two files for the domain"},
      {Cause::io, {.only_items = folder_ / "missing.txt"}, "missing.txt"},
  };
  for (const auto& [cause, options, sentence] : cases) {
    expect_error(cause, {sentence}, [&, options = options] { read(options); });
  }
}

}  // namespace
}  // namespace micrec
