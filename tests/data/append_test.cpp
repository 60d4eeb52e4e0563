#include "data/append.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "data/dataset_format.h"
#include "data/dataset_writer.h"
#include "data/feature_matching.h"
#include "data/key_table.h"
#include "io/hdf5.h"
#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"
#include "tests/support/feature_file.h"
#include "tests/support/hdf5_edit.h"

namespace micrec {
namespace {

constexpr std::int64_t kWidth = 3;

/// Every pair of a domain by its keys, with its split.
using Pairs = std::map<std::pair<std::string, std::string>, Split>;
Pairs pairs_of(const DatasetFile& dataset, int domain) {
  const std::vector<std::string> users = dataset.user_keys(domain);
  const std::vector<std::string> items = dataset.item_keys(domain);
  Pairs pairs;
  for (const Split split : dataset_format::kSplits) {
    const Interactions part = dataset.read(domain, split);
    for (std::size_t n = 0; n < part.user.size(); ++n) {
      EXPECT_TRUE(pairs.emplace(std::pair(users[part.user[n]], items[part.item[n]]), split).second);
    }
  }
  return pairs;
}

bool begins_with(const std::vector<std::string>& keys, const std::vector<std::string>& first) {
  return keys.size() >= first.size() && std::equal(first.begin(), first.end(), keys.begin());
}

class AppendTest : public testing::Test {
 protected:
  AppendTest() {
    PreparationOptions options;
    options.hold_out = parse_hold_out("users:0.1,items:0.1,cold_items:0.1");
    options.seed = 11;
    write_dataset(prepare_quietly(random_world(), options, telling_features), folder_ / "old.h5");
    reopen("old.h5");
  }

  void reopen(const std::string& name) {
    old_ = std::make_shared<const DatasetFile>(DatasetFile::open(folder_ / name));
  }

  /// Interactions of the next week: old and new users and items, some of them known already.
  static std::vector<RawDomain> next_week(std::uint64_t seed = 9, int users = 150, int items = 75) {
    std::vector<RawDomain> raw;
    raw.push_back(raw_domain("food", random_events("food", users, items, 400, seed)));
    return raw;
  }

  Additions additions(std::vector<RawDomain> raw, const std::vector<FeatureInput>& features = {},
                      FeaturesOf kind = FeaturesOf::met_items) {
    report_.str("");
    for (const RawDomain& domain : raw) refuse_foreign(*old_, domain, report_);
    return make_additions(*old_, std::move(raw), features, kind, SplitKind::ratio, report_);
  }

  DatasetFile appended(std::vector<RawDomain> raw, const std::string& rule = "ratio:8:1:1",
                       const std::vector<FeatureInput>& features = {}) {
    const std::string path = folder_ / "new.h5";
    write_dataset(append(old_, additions(std::move(raw), features),
                         {parse_split_rule(rule), "micrec prepare --append"}, report_),
                  path);
    DatasetFile file = DatasetFile::open(path);
    file.verify();
    return file;
  }

  std::string features_of(const std::vector<std::string>& keys, std::int64_t width = kWidth) {
    std::vector<float> values(keys.size() * width);
    for (std::size_t n = 0; n < values.size(); ++n) values[n] = 0.5F + static_cast<float>(n);
    write_feature_file(folder_ / "more.h5", keys, width, values.data());
    return folder_ / "more.h5";
  }

  TemporaryFolder folder_;
  std::shared_ptr<const DatasetFile> old_;
  std::ostringstream report_;
};

TEST_F(AppendTest, KeepsEveryNumberSplitAndFlagOfTheOldFile) {
  const DatasetFile extended = appended(next_week());
  ASSERT_EQ(extended.domains().size(), 2U);
  for (int d = 0; d < 2; ++d) {
    EXPECT_TRUE(begins_with(extended.user_keys(d), old_->user_keys(d)));
    EXPECT_TRUE(begins_with(extended.item_keys(d), old_->item_keys(d)));
    const Pairs now = pairs_of(extended, d);
    for (const auto& [pair, split] : pairs_of(*old_, d)) EXPECT_EQ(now.at(pair), split);
    const auto same_flags = [](std::vector<std::uint8_t> now, std::vector<std::uint8_t> then) {
      then.resize(now.size(), 0);
      EXPECT_EQ(now, then);
    };
    same_flags(extended.new_users(d), old_->new_users(d));
    same_flags(extended.new_items(d), old_->new_items(d));
    same_flags(extended.cold_items(d), old_->cold_items(d));
    const std::vector<std::int32_t> people = extended.person_of_user(d);
    const std::vector<std::int32_t> before = old_->person_of_user(d);
    EXPECT_TRUE(std::equal(before.begin(), before.end(), people.begin()));
    const std::vector<std::string> keys = extended.user_keys(d);
    const std::vector<std::string> person_keys = extended.person_keys();
    for (std::size_t user = 0; user < keys.size(); ++user) {
      EXPECT_EQ(person_keys[people[user]], keys[user]);
    }
  }
  EXPECT_TRUE(begins_with(extended.person_keys(), old_->person_keys()));
  EXPECT_EQ(extended.origin().hold_out, old_->origin().hold_out);
  EXPECT_EQ(extended.origin().seed, old_->origin().seed);
  EXPECT_EQ(extended.domains()[1].users, old_->domains()[1].users) << "nothing came to tools";
}

TEST_F(AppendTest, NumbersWhatIsNewInTheOrderOfItsKeys) {
  const DatasetFile extended = appended(next_week());
  std::set<std::string> came;
  std::set<std::pair<std::string, std::string>> pairs;
  const std::vector<RawDomain> raw = next_week();
  for (std::size_t n = 0; n < raw[0].user.size(); ++n) {
    came.emplace(raw[0].users.key(raw[0].user[n]));
    pairs.emplace(raw[0].users.key(raw[0].user[n]), raw[0].items.key(raw[0].item[n]));
  }
  const std::vector<std::string> keys = extended.user_keys(0);
  const auto first_new = keys.begin() + old_->domains()[0].users;
  EXPECT_GT(keys.end() - first_new, 10);
  EXPECT_TRUE(std::is_sorted(first_new, keys.end(), key_less));
  for (auto key = first_new; key != keys.end(); ++key) EXPECT_EQ(came.count(*key), 1U);
  const Pairs now = pairs_of(extended, 0);
  const std::size_t known_before = pairs_of(*old_, 0).size();
  for (const auto& pair : pairs) EXPECT_EQ(now.count(pair), 1U);
  EXPECT_LT(now.size(), known_before + pairs.size()) << "some were there already";
  expect_has(report_.str(), {"are in " + old_->path() + " already"});
}

TEST_F(AppendTest, FillsUpWhatTheRuleLacksOfAllThatAUserHas) {
  const DatasetFile extended = appended(next_week());
  const SplitRule rule = parse_split_rule("ratio:8:1:1");
  const Pairs before = pairs_of(*old_, 0);
  const std::vector<std::string> items = extended.item_keys(0);
  std::set<std::string> cold;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (extended.cold_items(0)[i] != 0) cold.insert(items[i]);
  }
  std::map<std::string, std::map<Split, int>> counts, had;
  for (const auto& [pair, split] : pairs_of(extended, 0)) {
    if (cold.count(pair.second) > 0) continue;
    ++counts[pair.first][split];
    if (before.count(pair) > 0) ++had[pair.first][split];
  }
  int moved = 0;
  for (auto& [user, of] : counts) {
    const int all = of[Split::train] + of[Split::valid] + of[Split::test] + of[Split::later];
    const SplitCounts wanted = split_counts(rule, all);
    EXPECT_GE(of[Split::test], had[user][Split::test]);
    if (of[Split::test] > had[user][Split::test]) {
      ++moved;
      EXPECT_LE(of[Split::test], wanted.test + 1) << user;  // cold items count among all
    }
  }
  EXPECT_GT(moved, 10);
}

TEST_F(AppendTest, TrainsOnAllThatCameWhereThatIsTheRule) {
  const DatasetFile extended = appended(next_week(), "ratio:1:0:0");
  for (const Split split : {Split::valid, Split::test}) {
    const std::int64_t before = old_->domains()[0].interactions[static_cast<int>(split)];
    std::int64_t of_cold = 0;
    const std::vector<std::uint8_t> cold = extended.cold_items(0);
    for (const std::int32_t item : extended.read(0, split).item) of_cold += cold[item];
    for (const std::int32_t item : old_->read(0, split).item) of_cold -= cold[item];
    EXPECT_EQ(extended.domains()[0].interactions[static_cast<int>(split)], before + of_cold);
  }
  EXPECT_EQ(extended.origin().split_rule, "ratio:1:0:0");
  EXPECT_GT(extended.domains()[0].interactions[0], old_->domains()[0].interactions[0]);
}

TEST_F(AppendTest, LetsHeldOutUsersAndItemsStayUnknownToTraining) {
  const DatasetFile extended = appended(next_week());
  const std::vector<std::uint8_t> new_users = extended.new_users(0);
  const std::vector<std::uint8_t> new_items = extended.new_items(0);
  const std::vector<std::uint8_t> cold = extended.cold_items(0);
  const Interactions train = extended.read(0, Split::train);
  for (std::size_t n = 0; n < train.user.size(); ++n) {
    EXPECT_EQ(new_users[train.user[n]] + new_items[train.item[n]] + cold[train.item[n]], 0);
  }
  EXPECT_GT(extended.domains()[0].interactions[3], old_->domains()[0].interactions[3]);
}

TEST_F(AppendTest, SaysWhatItExtendsAlsoOverSeveralSteps) {
  const DatasetFile first = appended(next_week());
  ASSERT_EQ(first.origin().extends.size(), 1U);
  const ExtendedDataset& one = first.origin().extends[0];
  EXPECT_EQ(one.fingerprint, old_->fingerprint());
  EXPECT_EQ(one.users, (std::vector{old_->domains()[0].users, old_->domains()[1].users}));
  EXPECT_EQ(one.items, (std::vector{old_->domains()[0].items, old_->domains()[1].items}));
  EXPECT_EQ(one.people, old_->people());
  std::filesystem::rename(folder_ / "new.h5", folder_ / "first.h5");
  reopen("first.h5");
  const DatasetFile second = appended(next_week(10, 170, 90));
  ASSERT_EQ(second.origin().extends.size(), 2U);
  EXPECT_EQ(second.origin().extends[0], one);
  EXPECT_EQ(second.origin().extends[1].fingerprint, first.fingerprint());
  EXPECT_TRUE(begins_with(second.item_keys(0), first.item_keys(0)));
}

TEST_F(AppendTest, ExtendsFilesOfOlderVersions) {
  for (const std::string version : {"1", "2"}) {
    std::filesystem::copy(
        MICREC_SOURCE_DIR "/tests/golden/dataset-version-" + version + "/dataset.h5",
        folder_ / version);
    reopen(version);
    const DatasetFile extended = appended(next_week());
    extended.verify();
    EXPECT_EQ(extended.origin().extends.back().fingerprint, old_->fingerprint());
    EXPECT_EQ(Hdf5File::open(extended.path()).integer_attribute("/", "format_version"), 3);
  }
}

TEST_F(AppendTest, RefusesARecordOfMoreThanThereIs) {
  appended(next_week());
  const std::int64_t many = 1'000'000;
  Hdf5Edit(folder_ / "new.h5").write_rows("/extends/people", Range{0, 1}, &many);
  expect_error(Cause::data, {"/extends, row 0", "more users, items or people"},
               [&] { DatasetFile::open(folder_ / "new.h5"); });
}

TEST_F(AppendTest, AddsFeaturesOfItemsThatLackThem) {
  const Additions probe = additions(next_week());
  const std::vector<std::string> old_items = old_->item_keys(0);
  const std::string fresh = probe.domains[0].item_keys.at(1);
  // The first item lacks the modality, the second has it.
  const std::string path = features_of({fresh, old_items[0], old_items[1], "stranger"});
  const DatasetFile extended = appended(next_week(), "ratio:8:1:1", {{"text", "food", path}});
  const std::vector<std::string> items = extended.item_keys(0);
  const std::vector<std::uint8_t> present = extended.features_present(0, "text");
  std::vector<float> rows(items.size() * kWidth);
  extended.read_features(0, "text", 0, extended.domains()[0].items, rows.data());
  std::vector<float> before(old_items.size() * kWidth);
  old_->read_features(0, "text", 0, old_->domains()[0].items, before.data());
  for (std::size_t item = 0; item < items.size(); ++item) {
    const float first = rows[item * kWidth];
    if (items[item] == fresh) {
      EXPECT_EQ(first, 0.5F);
      EXPECT_EQ(present[item], 1);
    } else if (item == 0) {
      EXPECT_EQ(first, 3.5F);
      EXPECT_EQ(present[item], 1);
    } else if (item < old_items.size()) {
      EXPECT_EQ(first, before[item * kWidth]);
    } else {
      EXPECT_EQ(present[item], 0);
    }
  }
  expect_has(report_.str(), {"1 have it already", "1 of its keys are not items"});
}

TEST_F(AppendTest, RefusesWhatDoesNotFit) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("books", {{"p2", "a"}}));
  expect_error(Cause::usage, {"no domain 'books'", "food, tools"}, [&] { additions(raw); });
  raw.clear();
  raw.push_back(raw_domain("food", {}));
  expect_error(Cause::data, {"food", "no interactions"}, [&] { additions(raw); });
  raw.clear();
  raw.push_back(raw_domain("food", {{"food-1", "p2"}, {"food-2", "p4"}}));
  expect_error(Cause::data, {"swapped", "--columns=USER,ITEM"}, [&] { additions(raw); });
  raw.clear();
  raw.push_back(raw_domain("food", {{"p2", "food-999"}}, /*with_timestamps=*/false));
  expect_error(Cause::data, {"have none", "--columns=USER,ITEM,TIME"}, [&] { appended(raw); });
  const std::string wide = features_of({"food-1"}, 5);
  expect_error(Cause::data, {"5 columns", "has 3"}, [&] {
    additions(next_week(), {{"text", "food", wide}});
  });
  const std::string strange = features_of({"stranger"});
  expect_error(Cause::data, {"None of the 1 keys", "'stranger'"}, [&] {
    additions(next_week(), {{"text", "food", strange}});
  });
}

TEST_F(AppendTest, RefusesPositionsBesideDates) {
  const auto of_scale = [](TimeScale scale, std::int64_t time) {
    std::vector<RawDomain> raw;
    raw.push_back(raw_domain("food", {{"p2", "food-1", time}, {"p4", "food-new", time}}));
    raw[0].time_scale = scale;
    return raw;
  };
  constexpr std::int64_t kDate = 1'700'000'000;
  additions(of_scale(TimeScale::order, 3));
  expect_error(Cause::data, {"food are positions in " + old_->path(), "dates in what came"},
               [&] { additions(of_scale(TimeScale::dates, kDate)); });
  write_dataset(prepare_quietly(of_scale(TimeScale::dates, kDate)), folder_ / "dates.h5");
  reopen("dates.h5");
  additions(of_scale(TimeScale::dates, kDate + 1));
  expect_error(Cause::data, {"food are dates in " + old_->path(), "in Unix seconds"},
               [&] { additions(of_scale(TimeScale::order, 3)); });
}

TEST_F(AppendTest, SaysWhereNothingIsKnown) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("food", {{"x", "y"}}));
  additions(raw);
  expect_has(report_.str(), {"are these keys of the same kind?"});
}

// What came, beside the file and not in it.

TEST_F(AppendTest, IsTheSameInMemoryWithAllThatCameHeldOut) {
  const std::string path = features_of({"food-new-1", "food-new-2"});
  const DatasetFile extended =
      DatasetFile::with(DatasetFile::open(folder_ / "old.h5"),
                        additions(next_week(), {{"text", "food", path}}, FeaturesOf::new_items));
  const DatasetFile on_disk = appended(next_week());
  EXPECT_NE(extended.fingerprint(), old_->fingerprint());
  EXPECT_TRUE(extended.has_hold_outs());
  EXPECT_EQ(extended.origin().extends.back().fingerprint, old_->fingerprint());
  EXPECT_EQ(extended.user_keys(0), on_disk.user_keys(0));
  EXPECT_EQ(extended.person_of_user(0), on_disk.person_of_user(0));
  EXPECT_EQ(extended.domains()[0].items, on_disk.domains()[0].items + 2);
  for (const Split split : {Split::train, Split::valid, Split::test}) {
    EXPECT_EQ(extended.read(0, split).item, old_->read(0, split).item);
  }
  const Pairs pairs = pairs_of(extended, 0);
  EXPECT_EQ(pairs.size(), pairs_of(on_disk, 0).size());
  for (const auto& [pair, split] : pairs_of(*old_, 0)) EXPECT_EQ(pairs.at(pair), split);

  const std::vector<std::string> items = extended.item_keys(0);
  const std::vector<std::uint8_t> cold = extended.cold_items(0);
  const std::vector<std::uint8_t> fresh = extended.new_items(0);
  const std::vector<std::uint8_t> old_cold = old_->cold_items(0);
  std::set<std::int32_t> met;
  for (const std::int32_t item : extended.read(0, Split::later).item) met.insert(item);
  for (std::size_t item = 0; item < items.size(); ++item) {
    const bool is_met = met.count(static_cast<std::int32_t>(item)) > 0;
    EXPECT_EQ(cold[item] + fresh[item] <= 1, true);
    if (item < old_cold.size() && old_cold[item] == 0) continue;
    EXPECT_EQ(cold[item], is_met ? 0 : 1) << items[item];
  }
  const std::vector<std::uint8_t> present = extended.features_present(0, "text");
  const auto first = std::ranges::find(items, "food-new-1") - items.begin();
  EXPECT_EQ(present[first], 1);
  std::vector<float> row(2 * kWidth);
  extended.read_features(0, "text", first - 1, first + 1, row.data());
  EXPECT_EQ(row[kWidth], 0.5F);
  EXPECT_EQ(extended.domains()[0].modalities[0].present,
            std::count(present.begin(), present.end(), 1));
}

TEST_F(AppendTest, RefusesNewItemsWhoseKeysNoInteractionCouldHave) {
  for (const char* key : {" food-new", "food\xFF"}) {
    expect_error(Cause::data, {"more.h5: the key", "of an item"}, [&] {
      additions({}, {{"text", "food", features_of({key})}}, FeaturesOf::new_items);
    });
  }
}

TEST_F(AppendTest, RefusesNewItemsWithRowsFarLongerThanAnyThatWas) {
  double longest = 0;
  for (int d = 0; d < 2; ++d) {
    const std::int64_t items = old_->domains()[d].items;
    std::vector<float> rows(items * kWidth);
    if (old_->domains()[d].modalities.empty()) continue;
    old_->read_features(d, "text", 0, items, rows.data());
    for (std::int64_t item = 0; item < items; ++item) {
      double square = 0;
      for (std::int64_t c = 0; c < kWidth; ++c) {
        square += std::pow(static_cast<double>(rows[item * kWidth + c]), 2);
      }
      longest = std::max(longest, std::sqrt(square));
    }
  }
  EXPECT_DOUBLE_EQ(longest_row(*old_, "text"), longest);
  EXPECT_EQ(longest_row(*old_, "image"), 0);
  const auto take = [&](double times) {
    std::vector<float> values(2 * kWidth, 0.0F);
    values.back() = static_cast<float>(times * longest);
    const std::string path = folder_ / "more.h5";
    write_feature_file(path, {"food-a", "food-b"}, kWidth, values.data());
    additions({}, {{"text", "food", path}}, FeaturesOf::new_items);
  };
  take(9.9);
  for (const double times : {10.1, 1e30}) {
    expect_error(Cause::data, {"more.h5: the item 'food-b' has a row of length", "of text"},
                 [&] { take(times); });
  }
}

TEST_F(AppendTest, RefusesFeaturesOfKnownItemsWhereNewOnesAreGiven) {
  const std::string known = old_->item_keys(0)[3];
  const std::string path = features_of({"food-new-1", known});
  expect_error(Cause::data, {"'" + known + "' is an item of the domain food already"}, [&] {
    additions({}, {{"text", "food", path}}, FeaturesOf::new_items);
  });
  expect_error(Cause::usage, {"no modality 'image'"}, [&] {
    additions({}, {{"image", "food", path}}, FeaturesOf::new_items);
  });
}

}  // namespace
}  // namespace micrec
