#include "train/log/tensorboard.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "train/log/crc32c.h"

namespace micrec {
namespace {

// Check values of the Castagnoli polynomial: the catalogue's and those of RFC 3720, B.4.
static_assert(crc32c("123456789") == 0xe3069283U);
static_assert(crc32c("") == 0);

TEST(Crc32c, GivesThePublishedValues) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
}

TEST(TensorBoardLog, IsReadByPython) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python beside torch";
  std::string pattern = (std::filesystem::temp_directory_path() / "micrec-XXXXXX").string();
  const std::string run_dir = mkdtemp(pattern.data());
  TensorBoardLog log(run_dir, 20);
  for (const std::int64_t step : std::vector<std::int64_t>{30, 40, 5'000'000'000}) {
    const auto x = static_cast<double>(step);
    log.scalars(step, {{"loss/total", 1 / x}, {"validation/ndcg@20", -x}});
  }
  log.scalars(5'000'000'001, {{std::string(300, 'x'), 0.5}});
  const std::string command = std::string("\"") + MICREC_PYTHON + "\" \"" + MICREC_SOURCE_DIR +
                              "/tests/train/read_events.py\" \"" + log.path() + "\"";
  EXPECT_EQ(std::system(command.c_str()), 0)
      << command;  // while the log is open: nothing is held back
  std::filesystem::remove_all(run_dir);
}

TEST(TensorBoardLog, NamesAFileThatCannotBeWritten) {
  try {
    TensorBoardLog("/nowhere/at/all", 0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.cause(), Cause::io);
    EXPECT_NE(std::string(error.what()).find("/nowhere/at/all/events.out.tfevents."),
              std::string::npos);
  }
}

}  // namespace
}  // namespace micrec
