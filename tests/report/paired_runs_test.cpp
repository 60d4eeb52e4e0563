#include "report/paired_runs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "report/html_page.h"
#include "tests/report/folder_of_run.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// What micrec compare writes of two runs, in one domain, the slices being all and one degree.
std::string comparison(const std::string& domain = "food") {
  const auto figures = [](const std::string& difference, const std::string& low,
                          const std::string& high) {
    return R"({"users":460,"metrics":{"recall@20":[],"ndcg@20":[{"value":0.05,"interval":[0.04,0.06]},{"value":0.0625,)"
           R"("interval":[0.05,0.07],"difference":)" +
           difference + R"(,"difference_interval":[)" + low + "," + high +
           R"(],"differs":true,"better":0.25,"worse":0.125,"equal":0.625}]}})";
  };
  return R"({"runs":[{"name":"runs/mf"},{"name":"runs/fk/"}],"metrics":["ndcg@20"],"domains":{")" +
         domain + R"(":{"slices":{"all":)" + figures("0.0125", "0.0061", "0.0189") +
         R"(,"items_degree_1_3":)" + figures("-0.0031", "-0.0072", "0.0011") + "}}}}";
}

TEST(PairedRuns, ReadsWhatCompareWrites) {
  const std::vector<PairedRun> runs = read_comparison(comparison(), "comparison.json");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].first, "runs/mf");
  EXPECT_EQ(runs[0].name, "runs/fk/");
  ASSERT_EQ(runs[0].domains.size(), 1u);
  ASSERT_EQ(runs[0].domains[0].slices.size(), 2u);
  const PairedSlice& all = runs[0].domains[0].slices[0];
  EXPECT_EQ(all.name, "all");
  EXPECT_EQ(all.users, 460);
  EXPECT_EQ(all.first, 0.05);
  EXPECT_EQ(all.value, 0.0625);
  EXPECT_EQ(all.difference, 0.0125);
  EXPECT_EQ(all.low, 0.0061);
  EXPECT_EQ(all.high, 0.0189);
  EXPECT_EQ(all.better, 0.25);
  EXPECT_EQ(all.worse, 0.125);
}

TEST(PairedRuns, RefusesWhatIsSomethingElse) {
  for (
      const char* other :
      {"", "{", "[]", R"({"runs":[{"name":"a"},{"name":"b"}]})", R"({"runs":[{},{}]})",
       R"({"runs":[{"name":"a"},{"name":"b"}],"domains":{"food":{"slices":{"all":{"users":1,"metrics":{"ndcg@10":[]}}}}}})"}) {
    expect_error(Cause::data, {"comparison.json is not what micrec compare --json=FILE"},
                 [&] { read_comparison(other, "comparison.json"); });
  }
}

TEST(PairedRuns, AreShownWithTheirIntervals) {
  const FolderOfRun run({R"({"kind":"step","step":1,"loss":0.5})"});
  const std::string page =
      report_page({run.read()}, {.paired = read_comparison(comparison(), "comparison.json")});
  EXPECT_THAT(page, HasSubstr("<h2 id=\"paired\">"));
  EXPECT_THAT(page, HasSubstr("<h3>runs/fk/ against runs/mf</h3>"));
  EXPECT_THAT(page, HasSubstr("<title>runs/fk/: 0.0125</title>"));
  EXPECT_THAT(page, HasSubstr("<title>runs/fk/: -0.0031</title>"));
  EXPECT_THAT(page, HasSubstr("<path class=\"interval\""));
  EXPECT_THAT(page,
              HasSubstr("<td>+0.0125</td><td>+0.0061 to +0.0189</td><td>25.0%</td><td>12.5%</td>"));
  EXPECT_THAT(page, HasSubstr("<td>-0.0031 (none)</td><td>-0.0072 to +0.0011</td>"));
  EXPECT_THAT(report_page({run.read()}, {}), Not(HasSubstr("id=\"paired\"")));
}

TEST(PairedRuns, AreNoMarkup) {
  const FolderOfRun run({});
  const std::string page =
      report_page({run.read()}, {.paired = read_comparison(comparison("<script>"), "x.json")});
  EXPECT_THAT(page, Not(HasSubstr("<script")));
}

}  // namespace
}  // namespace micrec
