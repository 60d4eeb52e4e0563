#include "run/run_report.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

Error refusal_of(const std::string& run_dir) {
  try {
    read_run(run_dir);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "it was read";
  return {Cause::usage, ""};
}

TEST(RunReport, RefusesAFolderThatIsNotThereAndOneWithoutARun) {
  const TemporaryFolder folder;
  EXPECT_EQ(refusal_of(folder / "none").cause(), Cause::io);
  std::filesystem::create_directories(folder / "empty");
  const Error error = refusal_of(folder / "empty");
  EXPECT_EQ(error.cause(), Cause::data);
  EXPECT_NE(std::string(error.what()).find("no metrics.jsonl and no config.txt"), std::string::npos)
      << error.what();
}

TEST(RunReport, ReadsARunThatHasOnlyItsSettingsYet) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "run");
  std::ofstream(folder / "run/config.txt") << "--dim=8\n";
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
  std::ofstream(folder / "run/config.txt") << "--dim=8\n";
  { const ReportAtEnd report(folder / "run", {{"dim", "8", OnResume::kept, "32"}}); }
  EXPECT_TRUE(std::filesystem::exists(report_file_of(folder / "run")));
  EXPECT_NO_THROW({ const ReportAtEnd report(folder / "not_there", {}); });
}

}  // namespace
}  // namespace micrec
