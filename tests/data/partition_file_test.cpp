#include "data/partition_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/dataset_writer.h"
#include "data/preparation.h"
#include "data/training_graph.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

// Two domains; ann and "bob, the 2nd" shop in both.
class PartitionFile : public ::testing::Test {
 protected:
  PartitionFile() {
    std::vector<RawDomain> domains(2);
    domains[0].name = "food";
    domains[1].name = "kitchen";
    const auto add = [](RawDomain& domain, const std::string& user, const std::string& item) {
      domain.user.push_back(domain.users.add(user));
      domain.item.push_back(domain.items.add(item));
    };
    for (const char* item : {"tea", "rice", "salt"}) add(domains[0], "ann", item);
    for (const char* item : {"tea", "salt"}) add(domains[0], "bob, the 2nd", item);
    add(domains[0], "cid", "rice");
    for (const char* item : {"pan", "pot"}) add(domains[1], "ann", item);
    add(domains[1], "bob, the 2nd", "pot");
    PreparationOptions options;
    options.split = parse_split_rule("ratio:1:0:0");
    std::ostringstream report;
    write_dataset(prepare(
                      std::move(domains), options,
                      [](const PreparedDomain&) { return std::vector<FeatureTable>(); }, report),
                  path("data.h5"));
    dataset_ = std::make_unique<DatasetFile>(DatasetFile::open(path("data.h5")));
    std::vector<std::int64_t> users, items;
    for (const DomainInfo& domain : dataset_->domains()) {
      users.push_back(domain.users);
      items.push_back(domain.items);
    }
    space_ = std::make_unique<NodeSpace>(users, items);
    people_.count = dataset_->people();
    for (const int domain : {0, 1}) {
      for (const std::int32_t person : dataset_->person_of_user(domain)) {
        people_.person.push_back(person);
      }
    }
  }

  std::string path(const std::string& name) const { return folder_.path() + "/" + name; }

  // Lines of a good file for two parts.
  static std::vector<std::string> good() {
    return {"domain,kind,key,part", "food,user,ann,1",    "food,user,\"bob, the 2nd\",0",
            "food,user,cid,1",      "food,item,rice,1",   "food,item,salt,0",
            "food,item,tea,0",      "kitchen,user,ann,1", "kitchen,user,\"bob, the 2nd\",0",
            "kitchen,item,pan,1",   "kitchen,item,pot,0"};
  }

  Ownership read(const std::vector<std::string>& lines, int parts = 2) {
    std::string contents;
    for (const std::string& line : lines) contents += line + "\n";
    folder_.write("parts.csv", contents);
    return read_partition_file(path("parts.csv"), *dataset_, *space_, people_, parts);
  }

  void expect_refused(const std::vector<std::string>& lines, const std::vector<std::string>& said,
                      int parts = 2) {
    std::vector<std::string> all = {path("parts.csv")};
    all.insert(all.end(), said.begin(), said.end());
    expect_error(Cause::data, all, [&] { read(lines, parts); });
  }

  // good() with one line replaced, or dropped where `line` is empty.
  static std::vector<std::string> with(std::size_t number, const std::string& line) {
    std::vector<std::string> lines = good();
    if (line.empty()) {
      lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(number));
    } else {
      lines[number] = line;
    }
    return lines;
  }

  TemporaryFolder folder_;
  std::unique_ptr<DatasetFile> dataset_;
  std::unique_ptr<NodeSpace> space_;
  People people_;
};

TEST_F(PartitionFile, SaysWhoOwnsWhat) {
  const Ownership ownership = read(good());
  EXPECT_EQ(ownership.ranks, 2);
  std::map<std::string, std::int32_t> parts;
  for (const int domain : {0, 1}) {
    const std::vector<std::string> users = dataset_->user_keys(domain);
    const std::vector<std::string> items = dataset_->item_keys(domain);
    for (std::size_t n = 0; n < users.size(); ++n) {
      parts[users[n]] = ownership.owner[value(space_->user(domain, static_cast<int>(n)))];
    }
    for (std::size_t n = 0; n < items.size(); ++n) {
      parts[items[n]] = ownership.owner[value(space_->item(domain, static_cast<int>(n)))];
    }
  }
  const std::map<std::string, std::int32_t> expected = {
      {"ann", 1},  {"bob, the 2nd", 0}, {"cid", 1}, {"rice", 1},
      {"salt", 0}, {"tea", 0},          {"pan", 1}, {"pot", 0}};
  EXPECT_EQ(parts, expected);
}

TEST_F(PartitionFile, TakesLinesAndColumnsInAnyOrder) {
  const Ownership expected = read(good());
  std::vector<std::string> lines;
  for (const std::string& line : good()) {
    const std::size_t last = line.rfind(',');
    lines.push_back(line.substr(last + 1) + "," + line.substr(0, last));
  }
  std::shuffle(lines.begin() + 1, lines.end(), std::mt19937(3));
  EXPECT_EQ(read(lines).owner, expected.owner);
}

TEST_F(PartitionFile, ReadsWhatItWrites) {
  const Ownership ownership = read(good());
  write_partition_file(path("again.csv"), *dataset_, *space_, ownership);
  EXPECT_EQ(read_partition_file(path("again.csv"), *dataset_, *space_, people_, 2).owner,
            ownership.owner);
  EXPECT_EQ(count_parts(path("again.csv")), 2);
}

TEST_F(PartitionFile, RefusesEachFaultByItsPlace) {
  expect_refused({}, {"the file is empty"});
  expect_refused(with(0, "domain,key,part"), {"parts.csv:1:", "expected the header"});
  expect_refused(with(3, "food,user,cid"), {"parts.csv:4:", "expected 4 fields", "got 3"});
  expect_refused(with(3, "toys,user,cid,1"), {"parts.csv:4:", "no domain 'toys'", "food, kitchen"});
  expect_refused(with(3, "food,person,cid,1"), {"parts.csv:4:", "user or item", "'person'"});
  expect_refused(with(3, "food,user,dan,1"), {"parts.csv:4:", "no user with the key 'dan'"});
  expect_refused(with(3, "food,user,rice,1"), {"parts.csv:4:", "no user with the key 'rice'"});
  expect_refused(with(3, "food,user,cid,2"), {"parts.csv:4:", "from 0 to 1", "'2'"});
  expect_refused(with(3, "food,user,cid,-1"), {"parts.csv:4:", "from 0 to 1", "'-1'"});
  expect_refused(with(3, "food,user,cid,one"), {"parts.csv:4:", "'one'"});
  expect_refused(with(3, "food,user,ann,1"), {"parts.csv:4:", "'ann'", "a second time"});
}

TEST_F(PartitionFile, RefusesWhatIsMissingAndWhatIsApart) {
  expect_refused(with(3, ""),
                 {"nothing of 1 of 10 users and items", "the user 'cid' of domain food"});
  expect_refused(with(7, "kitchen,user,ann,0"),
                 {"one person into two parts", "'ann' of domain food into 1",
                  "'ann' of domain kitchen into 0"});
}

TEST_F(PartitionFile, RefusesFewerPartsThanTheRunHas) {
  expect_refused(good(), {"has 2 parts", "the run has 3 row parts", "start 2 ranks"}, 3);
}

TEST_F(PartitionFile, AMissingFileIsAnErrorOfTheFileSystem) {
  expect_error(Cause::io, {},
               [&] { read_partition_file(path("none.csv"), *dataset_, *space_, people_, 2); });
}

TEST_F(PartitionFile, TheTrainingGraphHasEachInteractionBothWays) {
  const Adjacency graph = read_training_graph(*dataset_, *space_);
  EXPECT_EQ(graph.nodes(), 10);
  EXPECT_EQ(graph.nonzeros(), 2 * 9);
  for (std::int64_t node = 0; node < graph.nodes(); ++node) {
    std::int32_t before = -1;
    for (const std::int32_t other : graph.of(node)) {
      EXPECT_LT(std::exchange(before, other), other);
      EXPECT_TRUE(std::ranges::binary_search(graph.of(other), static_cast<std::int32_t>(node)));
    }
  }
}

}  // namespace
}  // namespace micrec
