#include "serve/history.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using Items = std::vector<std::int32_t>;

class HistoryTest : public testing::Test {
 protected:
  History read(const std::string& lines, int domain = 0, bool fades = false,
               const std::string& header = "user_id,item_id") {
    const std::string path = folder_.write("new.csv", header + "\n" + lines);
    report_.str("");
    return read_history(path, {}, domain, dataset_, number_keys(dataset_.user_keys(domain)), fades,
                        report_);
  }

  TemporaryFolder folder_;
  DatasetFile dataset_ = write_small_world({}, folder_ / "world.h5");
  std::ostringstream report_;
};

TEST_F(HistoryTest, HasTheItemsOfEachPersonRisingAndOnce) {
  const std::vector<std::string> items = dataset_.item_keys(0);
  const History history = read("ann," + items[7] + "\nbob," + items[3] + "\nann," + items[2] +
                               "\nann," + items[7] + "\ncarl,unheard of\n");
  ASSERT_NE(history.of("ann"), nullptr);
  EXPECT_EQ(history.of("ann")->items, (Items{2, 7}));
  ASSERT_NE(history.of("bob"), nullptr);
  EXPECT_EQ(history.of("bob")->items, (Items{3}));
  EXPECT_EQ(history.of("carl"), nullptr) << "none of carl's items is known";
  EXPECT_EQ(history.of("dora"), nullptr);
  EXPECT_EQ(history.users.size(), 3);
}

TEST_F(HistoryTest, KnowsHowManyAreNewerWhereTheFileHasTimes) {
  const std::vector<std::string> items = dataset_.item_keys(0);
  const std::string lines = "ann," + items[7] + ",1400000000000\nann," + items[2] +
                            ",1400000000900\nann,unheard of,1500000000000\nann," + items[3] +
                            ",1300000000000\nbob," + items[3] + ",1200000000000\n";
  const std::string header = "user_id,item_id,timestamp";
  const History history = read(lines, 0, /*fades=*/true, header);
  EXPECT_EQ(history.of("ann")->items, (Items{2, 3, 7}));
  EXPECT_EQ(history.of("ann")->newer, (Items{0, 2, 0})) << "within a second they are the same";
  EXPECT_EQ(history.of("bob")->newer, (Items{0}));
  EXPECT_EQ(report_.str().find("no times"), std::string::npos) << report_.str();
  EXPECT_TRUE(read(lines, 0, /*fades=*/false, header).of("ann")->newer.empty());

  const History without = read("ann," + items[7] + "\nann," + items[2] + "\n", 0, /*fades=*/true);
  EXPECT_TRUE(without.of("ann")->newer.empty());
  expect_has(report_.str(), {"  it has no times: all of a person's items count the same"});
}

TEST_F(HistoryTest, SaysWhatWasReadAndLeftOut) {
  const std::string item = dataset_.item_keys(0)[4];
  const std::string known = dataset_.user_keys(0)[5];
  read("ann," + item + "\nann,unheard of\nbob,never heard\n" + known + "," + item + "\n");
  const std::string report = report_.str();
  expect_has(report, {"new.csv: 4 interactions of 3 people in domain0 (",
                      "  2 of them with items that domain0 does not have, as 'unheard of'",
                      "  1 of the people have keys that the dataset knows"});
  read("ann," + item + "\n");
  EXPECT_EQ(report_.str().find("does not have"), std::string::npos) << report_.str();
  EXPECT_EQ(report_.str().find("keys that the dataset knows"), std::string::npos);
}

TEST_F(HistoryTest, RefusesAFileWithoutAnyItemOfTheDomain) {
  const std::string of_other_domain = dataset_.item_keys(1)[4];
  expect_error(Cause::data,
               {"new.csv: none of its items is an item of the domain domain0",
                "(it has '" + of_other_domain + "', the domain has '" + dataset_.item_keys(0)[0]},
               [&] { read("ann," + of_other_domain + "\n"); });
}

TEST_F(HistoryTest, AFileIsOfTheDomainThatItsNameOrTheOptionSays) {
  using Files = std::map<int, std::string>;
  EXPECT_EQ(parse_domain_files("--history", "", "", dataset_), Files{});
  EXPECT_EQ(parse_domain_files("--history", "domain1=a.csv,domain0=b.csv", "", dataset_),
            (Files{{0, "b.csv"}, {1, "a.csv"}}));
  EXPECT_EQ(parse_domain_files("--history", "a.csv", "domain1", dataset_), (Files{{1, "a.csv"}}));
  EXPECT_EQ(parse_domain_files("--history", "domain0=\"a,b.csv\"", "domain1", dataset_),
            (Files{{0, "a,b.csv"}}));
  const DatasetFile one = write_small_world({.domains = 1}, folder_ / "one.h5");
  EXPECT_EQ(parse_domain_files("--history", "a.csv", "", one), (Files{{0, "a.csv"}}));
}

TEST_F(HistoryTest, RefusesFilesOfAnUnclearDomain) {
  expect_error(Cause::usage,
               {"--history=a.csv does not say which domain it is of",
                "--history=domain0=a.csv or give --domain"},
               [&] { parse_domain_files("--history", "a.csv", "", dataset_); });
  expect_error(Cause::usage, {"domain7", "domain0"},
               [&] { parse_domain_files("--history", "domain7=a.csv", "", dataset_); });
  expect_error(Cause::usage, {"two files for the domain domain1"}, [&] {
    parse_domain_files("--history", "domain1=a.csv,b.csv", "domain1", dataset_);
  });
}

}  // namespace
}  // namespace micrec
