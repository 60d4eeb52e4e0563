#include "launcher/commands.h"

#include <gflags/gflags.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/error.h"

namespace micrec {
namespace {

TEST(Commands, HaveAHelpThatSaysWhatTheyDoAndHow) {
  for (const Command& command : all_commands()) {
    SCOPED_TRACE(command.name);
    const gflags::FlagSaver flags_before;
    EXPECT_FALSE(command.summary.empty());
    EXPECT_NE(command.summary.back(), '.');
    EXPECT_NE(command.usage.find("micrec " + command.name), std::string::npos) << command.usage;
    EXPECT_NE(command.example.find("micrec " + command.name), std::string::npos) << command.example;
    EXPECT_LE(command.min_arguments, command.max_arguments);
    EXPECT_EQ(command.max_arguments > 0, !command.arguments.empty());
    EXPECT_TRUE(command.run);
    const std::string help = help_of(command);  // CHECKs that each flag is defined.
    for (const FlagSpec& spec : command.flags) {
      EXPECT_NE(help.find(spec.name), std::string::npos);
    }
  }
}

TEST(Commands, ListEachFlagOnceAndItsGroupTogether) {
  for (const Command& command : all_commands()) {
    SCOPED_TRACE(command.name);
    std::set<std::string> names;
    for (const FlagSpec& spec : command.flags) {
      EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
      EXPECT_FALSE(spec.group.empty()) << spec.name;
    }
  }
}

TEST(Commands, HaveDefaultsWithinTheirOwnBounds) {
  for (const Command& command : all_commands()) {
    for (const FlagSpec& spec : command.flags) {
      SCOPED_TRACE(command.name + " --" + spec.name);
      const gflags::FlagSaver flags_before;
      if (spec.bound.required) continue;
      gflags::CommandLineFlagInfo info;
      ASSERT_TRUE(gflags::GetCommandLineFlagInfo(spec.name.c_str(), &info));
      const std::string value = spec.default_value.value_or(info.default_value);
      EXPECT_NO_THROW(set_flag(command, {spec.name, value, ""})) << value;
    }
  }
}

TEST(Commands, TakeTheFlagfileOfTheirOwnDefaults) {
  for (Command command : all_commands()) {
    SCOPED_TRACE(command.name);
    const gflags::FlagSaver flags_before;
    for (FlagSpec& spec : command.flags) spec.bound.required = false;
    command.min_arguments = 0;
    parse_flags(command, {});
    const std::string written = to_flagfile(command);
    set_flags_not_given(command, parse_flagfile(written, "config.txt"), {});
    EXPECT_EQ(to_flagfile(command), written);
  }
}

}  // namespace
}  // namespace micrec
