#include "launcher/commands.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cluster/cores.h"
#include "command_line/manual.h"
#include "launcher/common_flags.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

TEST(Commands, HaveAHelpThatSaysWhatTheyDoAndHow) {
  for (const Command& command : all_commands()) {
    SCOPED_TRACE(command.name);
    EXPECT_FALSE(command.summary.empty());
    EXPECT_NE(command.summary.back(), '.');
    expect_has(command.usage, {"micrec " + command.name});
    expect_has(command.example, {"micrec " + command.name});
    EXPECT_LE(command.min_arguments, command.max_arguments);
    EXPECT_EQ(command.max_arguments > 0, !command.arguments.empty());
    EXPECT_TRUE(command.run);
    const std::string help = help_of(command);
    for (const Flag& flag : command.flags) expect_has(help, {flag.name});
  }
}

TEST(Commands, ListEachFlagOnceAndItsGroupTogether) {
  for (const Command& command : all_commands()) {
    SCOPED_TRACE(command.name);
    std::set<std::string> names;
    for (const Flag& flag : command.flags) {
      EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
      EXPECT_FALSE(flag.group.empty()) << flag.name;
      EXPECT_FALSE(flag.meaning.empty()) << flag.name;
    }
  }
}

TEST(Commands, HaveDefaultsWithinTheirOwnBounds) {
  for (const Command& command : all_commands()) {
    for (const Flag& flag : command.flags) {
      SCOPED_TRACE(command.name + " --" + flag.name);
      if (flag.bound.required) continue;
      const std::string value = flag.value.default_text();
      EXPECT_NO_THROW(set_flag(command, {flag.name, value, ""})) << value;
    }
  }
}

TEST(Commands, TakeTheFlagfileOfTheirOwnDefaults) {
  for (Command command : all_commands()) {
    SCOPED_TRACE(command.name);
    for (Flag& flag : command.flags) flag.bound.required = false;
    command.min_arguments = 0;
    parse_flags(command, {});
    const std::string written = to_flagfile(command);
    set_flags_not_given(command, parse_flagfile(written, "config.txt"), {});
    EXPECT_EQ(to_flagfile(command), written);
  }
}

TEST(Commands, RefuseADeviceThatThereIsNotAndALongList) {
  JobOptions job = job_of("brew");
  std::int64_t k = 20;
  Command command;
  command.name = "brew";
  command.flags = {device_flag(job), single_k_flag(k)};
  parse_flags(command, {"--device=cuda", "--k=7"});
  EXPECT_EQ(job.device, "cuda");
  EXPECT_EQ(k, 7);
  const auto refuse = [&](const char* word, const char* expected) {
    expect_error(Cause::usage, {expected}, [&] { parse_flags(command, {word}); });
  };
  refuse("--device=tpu", "expected auto, cpu or cuda");
  for (const char* word : {"--k=10,20", "--k=0", "--k=10001"}) {
    refuse(word, "a whole number (items, from 1 to 10000)");
  }
}

std::vector<std::string> idle_of(const Command& command, const std::vector<std::string>& words) {
  return idle_flags(command, parse_flags(command, words));
}

TEST(Commands, TellWhichFlagsHaveNoEffect) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(idle_of(recommend_command(), {"--run_dir=r", "--separator=;"}),
            Lines{"--separator has no effect with neither --observed nor --history"});
  EXPECT_EQ(idle_of(recommend_command(), {"--run_dir=r", "--separator=;", "--history=a.csv"}),
            Lines{});
  EXPECT_EQ(idle_of(evaluate_command(), {"--run_dir=r", "--quotes=none"}),
            Lines{"--quotes has no effect without --observed"});
  EXPECT_EQ(
      idle_of(export_command(), {"--run_dir=r", "--out=o", "--observed=a=b", "--quotes=none"}),
      Lines{});
  EXPECT_EQ(idle_of(synth_command(), {"--out=o", "--domains=1", "--overlap=0.4"}),
            Lines{"--overlap has no effect with --domains=1"});
  EXPECT_EQ(idle_of(synth_command(), {"--out=o", "--modalities=", "--missing=0.5"}),
            Lines{"--missing has no effect with --modalities="});
  EXPECT_EQ(idle_of(synth_command(), {"--out=o", "--overlap=0.4", "--missing=0.5"}), Lines{});
  const std::vector<std::string> of_connections = {
      "--run_dir=r", "--host=::1",      "--port=9",        "--token_file=t", "--rate=2",
      "--timeout=2", "--connections=2", "--max_body=2000", "--max_k=9",      "--titles=a=t.csv"};
  EXPECT_EQ(idle_of(serve_command(), of_connections), Lines{});
  Lines told;
  for (const char* flag :
       {"host", "port", "token_file", "rate", "timeout", "connections", "max_body"}) {
    told.push_back(text("--", flag, " has no effect with --stdin"));
  }
  std::vector<std::string> of_lines = of_connections;
  of_lines.emplace_back("--stdin");
  EXPECT_EQ(idle_of(serve_command(), of_lines), told);
}

TEST(Threads, AreAllCoresUnlessGiven) {
  EXPECT_GE(chosen_threads(0), 1);
  EXPECT_EQ(chosen_threads(3), 3);
}

}  // namespace
}  // namespace micrec
