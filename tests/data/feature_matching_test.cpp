#include "data/feature_matching.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <sstream>

#include "data/dataset_writer.h"
#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"
#include "tests/support/feature_file.h"

namespace micrec {
namespace {

const std::vector<std::string> kDomains = {"food", "tools"};

TEST(FeatureInputs, AreRead) {
  const auto inputs = parse_feature_inputs("text:food=a.h5,image:tools=dir/b:c=d.npy", kDomains);
  ASSERT_EQ(inputs.size(), 2U);
  EXPECT_EQ(inputs[0].modality, "text");
  EXPECT_EQ(inputs[0].domain, "food");
  EXPECT_EQ(inputs[0].path, "a.h5");
  EXPECT_EQ(inputs[1].path, "dir/b:c=d.npy");
  EXPECT_TRUE(parse_feature_inputs("", kDomains).empty());
}

TEST(FeatureInputs, RefuseWhatTheyCannotRead) {
  for (const char* wrong : {"a.h5", "text=a.h5", "text:food", "text:food=", ":food=a.h5",
                            "te/xt:food=a.h5", "text:food=a.h5,text:food=b.h5"}) {
    expect_error(Cause::usage, {"--features"}, [&] { parse_feature_inputs(wrong, kDomains); });
  }
  expect_error(Cause::usage, {"'foot'", "food, tools", "did you mean food"},
               [] { parse_feature_inputs("text:foot=a.h5", kDomains); });
}

class FeatureMatching : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::ostringstream report_;
  PreparedDataset dataset_ = prepare_quietly(random_world());

  /// A file with these keys; row r holds (r, r + 0.5).
  std::string write(const std::vector<std::string>& keys) {
    std::vector<float> values;
    for (std::size_t row = 0; row < keys.size(); ++row) {
      values.push_back(static_cast<float>(row));
      values.push_back(static_cast<float>(row) + 0.5F);
    }
    const std::string path = folder_ / "features.h5";
    write_feature_file(path, keys, 2, values.data());
    return path;
  }
  std::vector<FeatureTable> match(const std::string& path) {
    return features_from_files({{"text", "food", path}}, report_)(dataset_.domains[0]);
  }
};

TEST_F(FeatureMatching, FindsRowsByKeyInAnyOrder) {
  const std::vector<std::string>& items = dataset_.domains[0].item_keys;
  for (int order = 0; order < 3; ++order) {
    std::vector<std::string> keys = {"unknown-1"};
    for (std::size_t item = 0; item < items.size(); item += 2) keys.push_back(items[item]);
    keys.push_back("unknown-2");
    if (order == 1) std::reverse(keys.begin(), keys.end());
    if (order == 2) {
      const Permutation permutation(keys.size(), 5, Purpose::synthetic);
      std::vector<std::string> shuffled;
      for (std::size_t k = 0; k < keys.size(); ++k) shuffled.push_back(keys[permutation.at(k)]);
      keys = shuffled;
    }
    const auto tables = match(write(keys));
    ASSERT_EQ(tables.size(), 1U);
    const FeatureTable& table = tables[0];
    EXPECT_EQ(table.width, 2);
    for (const std::int64_t block : {1, 5, 1000}) {
      for (std::int64_t begin = 0; begin < std::ssize(items); begin += block) {
        const std::int64_t end = std::min<std::int64_t>(std::ssize(items), begin + block);
        std::vector<float> values(2 * (end - begin), -1);
        table.read(begin, end, values.data());
        for (std::int64_t item = begin; item < end; ++item) {
          const auto row = std::find(keys.begin(), keys.end(), items[item]) - keys.begin();
          const bool there = row < std::ssize(keys);
          EXPECT_EQ(table.present[item], there ? 1 : 0);
          EXPECT_EQ(values[2 * (item - begin)], there ? static_cast<float>(row) : 0);
          EXPECT_EQ(values[2 * (item - begin) + 1], there ? static_cast<float>(row) + 0.5F : 0);
        }
      }
    }
  }
  expect_has(report_.str(), {"2 of its keys are not items"});
}

TEST_F(FeatureMatching, ReadsRowsThatStandFarApart) {
  const std::vector<std::string>& items = dataset_.domains[0].item_keys;
  std::vector<std::string> keys;
  for (std::size_t item = 0; item < items.size(); ++item) {
    for (std::size_t filler = 0; filler < item; ++filler)
      keys.push_back(text("x", item, "-", filler));
    keys.push_back(items[item]);
  }
  const auto tables = match(write(keys));
  std::vector<float> values(2 * items.size());
  tables[0].read(0, std::ssize(items), values.data());
  float row = 0;
  for (std::size_t item = 0; item < items.size(); ++item) {
    row += static_cast<float>(item);
    EXPECT_EQ(values[2 * item], row++);
  }
}

TEST_F(FeatureMatching, LeavesOtherDomainsAlone) {
  const std::string path = write({dataset_.domains[0].item_keys[0]});
  const FeatureReader source = features_from_files({{"text", "food", path}}, report_);
  EXPECT_TRUE(source(dataset_.domains[1]).empty());
}

TEST_F(FeatureMatching, RefusesAFileOfNoKnownItem) {
  const std::string path = write({"tools-1", "tools-2"});
  expect_error(Cause::data, {"None of the 2 keys", "food", "'tools-1'", "'food-0'"},
               [&] { match(path); });
}

TEST_F(FeatureMatching, RefusesAFileWithoutRows) {
  const std::string path = write({});
  expect_error(Cause::data, {path, "has no rows"}, [&] { match(path); });
}

TEST_F(FeatureMatching, SaysWhenTheFileHasTheUsersInstead) {
  const std::string path = write(dataset_.domains[0].user_keys);
  expect_error(Cause::data, {"probably swapped", "--columns"}, [&] { match(path); });
}

TEST_F(FeatureMatching, WarnsWhereAllRowsAreAlike) {
  const std::vector<std::string> keys = {"food-1", "food-2", "stranger"};
  match(write(keys));
  EXPECT_EQ(report_.str().find("warning"), std::string::npos) << report_.str();
  for (const float value : {0.0F, 0.5F}) {
    std::vector<float> values(6, value);
    values[5] = 2;  // of no item
    write_feature_file(folder_ / "same.h5", keys, 2, values.data());
    match(folder_ / "same.h5");
    expect_has(report_.str(), {text("same.h5: all rows of text are ",
                                    value == 0 ? "zeros" : "equal", ", which tells no item")});
  }
}

TEST_F(FeatureMatching, RefusesNumbersThatAreNotFiniteAndLeavesNoFile) {
  const std::vector<std::string>& items = dataset_.domains[0].item_keys;
  std::vector<float> values(2 * items.size(), 1);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  const std::string path = folder_ / "nan.h5";
  write_feature_file(path, items, 2, values.data());
  expect_error(Cause::data, {"nan.h5", items[3]}, [&] {
    const FeatureReader features = features_from_files({{"text", "food", path}}, report_);
    write_dataset(prepare_quietly(random_world(), {}, features), folder_ / "out.h5");
  });
  EXPECT_EQ(folder_.files(), 1U);
}

}  // namespace
}  // namespace micrec
