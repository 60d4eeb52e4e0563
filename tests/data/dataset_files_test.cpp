#include "data/dataset_files.h"

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "data/dataset_writer.h"
#include "tests/data/worlds.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

/// Every one of `users` people with every one of `items` things.
std::string table_of(int users, int items) {
  std::string table = "user_id,item_id\n";
  for (int user = 0; user < users; ++user) {
    for (int item = 0; item < items; ++item) {
      table += "u" + std::to_string(user) + ",i" + std::to_string(item) + "\n";
    }
  }
  return table;
}

TEST(DatasetFiles, AreAllThatIsRead) {
  DatasetFiles files;
  files.domains = parse_domains({"food=train.csv,test.csv", "books=b1.csv,b2.csv"}, true);
  files.features = parse_feature_inputs("text:food=food.h5", {"food", "books"});
  EXPECT_EQ(
      files_to_read(files, "old.h5"),
      (std::vector<std::string>{"old.h5", "train.csv", "test.csv", "b1.csv", "b2.csv", "food.h5"}));
  EXPECT_EQ(files_to_read(DatasetFiles{}, ""), std::vector<std::string>{});
}

TEST(DatasetFiles, MakeADatasetAndAreAddedToOne) {
  const TemporaryFolder folder;
  PreparationOptions options;
  options.split = parse_split_rule("ratio:8:1:1");
  options.provenance = "of a test";
  DatasetFiles files;
  files.domains = parse_domains({"food=" + folder.write("food.csv", table_of(6, 10))}, false);
  std::ostringstream report;
  const PreparedDataset made = prepare_files(files, options, nullptr, report);
  ASSERT_EQ(made.domains.size(), 1U);
  EXPECT_EQ(made.domains[0].users(), 6);
  EXPECT_EQ(made.domains[0].items(), 10);
  EXPECT_EQ(made.provenance, "of a test");
  EXPECT_TRUE(made.extends.empty());
  write_dataset(made, folder / "food.h5");

  files.domains = parse_domains({"food=" + folder.write("more.csv", table_of(8, 11))}, false);
  const auto old = std::make_shared<const DatasetFile>(DatasetFile::open(folder / "food.h5"));
  const PreparedDataset more = prepare_files(files, options, old, report);
  EXPECT_EQ(more.domains[0].users(), 8);
  EXPECT_EQ(more.domains[0].items(), 11);
  ASSERT_EQ(more.extends.size(), 1U);
  EXPECT_EQ(more.extends[0].fingerprint, old->fingerprint());
}

}  // namespace
}  // namespace micrec
