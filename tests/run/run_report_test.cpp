#include "run/run_report.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

TEST(RunReport, RefusesAFolderThatIsNotThereAndOneWithoutARun) {
  const TemporaryFolder folder;
  expect_error(Cause::io, {}, [&] { read_run(folder / "none"); });
  std::filesystem::create_directories(folder / "empty");
  expect_error(Cause::data, {"no metrics.jsonl and no config.txt"},
               [&] { read_run(folder / "empty"); });
}

TEST(RunReport, ReadsARunThatHasOnlyItsSettingsYet) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "run");
  folder.write("run/config.txt", "--dim=8\n");
  EXPECT_NO_THROW(read_run(folder / "run"));
}

TEST(RunReport, HoldsSettingsAgainstWhatTheyAreWhereNotGiven) {
  const auto defaults =
      defaults_of({{"dim", "64", OnResume::kept, "32"}, {"seed", "1", OnResume::may_change, "0"}});
  EXPECT_EQ(defaults, (std::map<std::string, std::string>{{"dim", "32"}, {"seed", "0"}}));
}

/// The page is written however the run ends; that it cannot be is no failure of the run.
TEST(RunReport, IsWrittenWhenTheRunGoesAndNeverEndsIt) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "run");
  folder.write("run/config.txt", "--dim=8\n");
  { const ReportAtEnd report(folder / "run", {{"dim", "8", OnResume::kept, "32"}}); }
  EXPECT_TRUE(std::filesystem::exists(report_file_of(folder / "run")));
  EXPECT_NO_THROW({ const ReportAtEnd report(folder / "not_there", {}); });
}

}  // namespace
}  // namespace micrec
