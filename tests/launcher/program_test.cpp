#include "launcher/program.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "tests/launcher/run_here.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

std::vector<Command> pour_with(std::function<int(const Arguments&, int cups)> work) {
  const auto cups = std::make_shared<int>(2);
  Command command;
  command.name = "pour";
  command.summary = "fills cups";
  command.usage = "micrec pour";
  command.example = "micrec pour --test_cups=3";
  command.flags = {{"test_cups", "Cups", "cups", "cups to fill", *cups, at_least(1)}};
  command.run = [cups, work](const Arguments& arguments) { return work(arguments, *cups); };
  return {command};
}

TEST(Program, ListsItsCommandsOnStdout) {
  const auto commands = pour_with([](const Arguments&, int) { return 0; });
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"help"}, {"--help"}, {"-h"}}) {
    const Spoken outcome = run_here(words, commands);
    EXPECT_EQ(outcome.code, 0);
    expect_has(outcome.out, {"pour  fills cups"});
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Program, TellsOfFlagsWithoutEffectBeforeACommandRuns) {
  bool tells = false;
  const auto commands = [&] {
    auto made = pour_with([](const Arguments&, int) { return 0; });
    made[0].flags[0].idle = [] { return std::string("without a pot"); };
    made[0].tells_idle_flags = tells;
    return made;
  };
  EXPECT_EQ(run_here({"pour", "--test_cups=3"}, commands()).err,
            "--test_cups has no effect without a pot\n");
  EXPECT_EQ(run_here({"pour"}, commands()).err, "");
  tells = true;
  EXPECT_EQ(run_here({"pour", "--test_cups=3"}, commands()).err, "");
}

TEST(Program, ShowsTheHelpOfACommandBothWays) {
  const auto commands =
      pour_with([](const Arguments&, int) -> int { throw std::logic_error("ran"); });
  const Spoken one = run_here({"help", "pour"}, commands);
  const Spoken other = run_here({"pour", "--help"}, commands);
  EXPECT_EQ(one.code, 0);
  EXPECT_EQ(other.code, 0);
  EXPECT_EQ(one.out, other.out);
  expect_has(one.out, {"--test_cups=2"});
}

TEST(Program, TellsItsVersionAndWhatItWasBuiltWith) {
  const Spoken outcome = run_here({"--version"}, {});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out.find("micrec "), 0U);
  for (const char* part : {"compiler", "LibTorch", "MPI", "HDF5", "CUDA", "instruction set"}) {
    const std::size_t at = outcome.out.find(text("\n  ", part, " "));
    ASSERT_NE(at, std::string::npos) << part;
    const std::size_t value = outcome.out.find_first_not_of(' ', at + 3 + std::strlen(part));
    EXPECT_NE(outcome.out[value], '\n') << part << " without a value";
  }
}

TEST(Program, AnUnknownCommandNamesTheNearest) {
  const auto commands = pour_with([](const Arguments&, int) { return 0; });
  const Spoken outcome = run_here({"puor"}, commands);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "micrec: there is no command 'puor'; did you mean micrec pour?\n");
  EXPECT_EQ(run_here({"help", "puor"}, commands).code, 2);
  EXPECT_EQ(run_here({"--test_cups=3"}, commands).code, 2);
}

TEST(Program, DoesNotRunACommandWithBadFlags) {
  const auto commands =
      pour_with([](const Arguments&, int) -> int { throw std::logic_error("ran"); });
  const Spoken outcome = run_here({"pour", "--test_cups=0"}, commands);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, "");
  expect_has(outcome.err, {"at least 1"});
}

TEST(Program, AnErrorsCauseIsTheExitCode) {
  for (const Cause cause :
       {Cause::usage, Cause::data, Cause::io, Cause::cluster, Cause::checkpoint, Cause::diverged}) {
    const Spoken outcome = run_here({"pour"}, pour_with([&](const Arguments&, int) -> int {
                                      throw Error(cause, "the pot is empty");
                                    }));
    EXPECT_EQ(outcome.code, static_cast<int>(cause));
    EXPECT_EQ(outcome.err, "micrec pour: the pot is empty\n");
  }
  EXPECT_EQ(run_here({"pour"}, pour_with([](const Arguments&, int) { return kExitStopped; })).code,
            75);
}

TEST(Program, ReportsWhatNobodyExpected) {
  const Spoken outcome = run_here(
      {"pour"}, pour_with([](const Arguments&, int) -> int { throw std::runtime_error("odd"); }));
  EXPECT_EQ(outcome.code, 1);
  expect_has(outcome.err, {"unexpected error: odd"});
  expect_has(
      run_here({"pour"}, pour_with([](const Arguments&, int) -> int { throw std::bad_alloc(); }))
          .err,
      {"out of memory"});
}

TEST(Program, BeginsEachTimeWithTheDefaults) {
  int seen = 0;
  const auto commands = pour_with([&](const Arguments&, int cups) {
    seen = cups;
    return 0;
  });
  EXPECT_EQ(run_here({"pour", "--test_cups=5"}, commands).code, 0);
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(run_here({"pour"}, commands).code, 0);
  EXPECT_EQ(seen, 2);
}

}  // namespace
}  // namespace micrec
