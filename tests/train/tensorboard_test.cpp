#include "train/log/tensorboard.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/command.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
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
  const TemporaryFolder run_dir;
  TensorBoardLog log(run_dir.path(), 20);
  for (const std::int64_t step : std::vector<std::int64_t>{30, 40, 5'000'000'000}) {
    const auto x = static_cast<double>(step);
    log.scalars(step, {{"loss/total", 1 / x}, {"validation/ndcg@20", -x}});
  }
  log.scalars(5'000'000'001, {{std::string(300, 'x'), 0.5}});
  run_python("train/read_events.py", {log.path()});  // while the log is open: nothing is held back
}

TEST(TensorBoardLog, NamesAFileThatCannotBeWritten) {
  expect_error(Cause::io, {"/nowhere/at/all/events.out.tfevents."},
               [] { TensorBoardLog("/nowhere/at/all", 0); });
}

}  // namespace
}  // namespace micrec
