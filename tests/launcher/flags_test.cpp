#include "launcher/flags.h"

#include <gflags/gflags.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/command.h"
#include "launcher/common_flags.h"

DEFINE_int32(test_epochs, 100, "passes over the training interactions");
DEFINE_double(test_rate, 0.5, "share of edges that are dropped");
DEFINE_double(test_lr, 0.001, "how far a step goes");
DEFINE_bool(test_resume, false, "go on from the newest checkpoint");
DEFINE_string(test_model, "micrec", "which model");

namespace micrec {
namespace {

Command brew_command() {
  Command command;
  command.name = "brew";
  command.summary = "brews something to test with";
  command.usage = "micrec brew --out=FILE";
  command.example = "micrec brew --out=tea.h5";
  command.flags = {
      dataset_flag(),
      {"test_epochs", "Training", "epochs", at_least(1)},
      {"test_lr", "Training", "", above(0)},
      {"test_rate", "Training", "", between(0, 1)},
      {"test_resume", "Training", ""},
      {"test_model", "Model", "", one_of({"mf", "lightgcn", "inmo", "micrec"})},
      k_flag(),
      device_flag(),
      seed_flag(),
  };
  return command;
}

Command steep_command() {
  Command command;
  command.name = "steep";
  command.flags = {out_flag("a file", false)};
  return command;
}

class Flags : public testing::Test {
 protected:
  /// The message of the usage error that these words give; fails where there is none.
  std::string refusal(const std::vector<std::string>& words, Cause cause = Cause::usage) {
    try {
      parse_flags(command, words, {command, other});
    } catch (const Error& error) {
      EXPECT_EQ(error.cause(), cause) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "accepted " << testing::PrintToString(words);
    return "";
  }

  /// A file in this test's own folder.
  std::string write(const std::string& name, const std::string& contents) {
    std::filesystem::create_directories(folder);
    const std::string path = folder / name;
    std::ofstream(path) << contents;
    return path;
  }

  void TearDown() override { std::filesystem::remove_all(folder); }

  const gflags::FlagSaver flags_before;
  Command command = brew_command();
  Command other = steep_command();
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() /
      ("micrec_flags_" + std::to_string(getpid()) + "_" +
       testing::UnitTest::GetInstance()->current_test_info()->name());
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Flags, TakesEveryWayOfWritingAValue) {
  parse_flags(command,
              {"--test_epochs=7", "--test_rate", "0.25", "-test_lr=1e-2", "--test-model=mf"});
  EXPECT_EQ(FLAGS_test_epochs, 7);
  EXPECT_EQ(FLAGS_test_rate, 0.25);
  EXPECT_EQ(FLAGS_test_lr, 0.01);
  EXPECT_EQ(FLAGS_test_model, "mf");
}

TEST_F(Flags, TurnsSwitchesOnAndOff) {
  parse_flags(command, {"--test_resume"});
  EXPECT_TRUE(FLAGS_test_resume);
  parse_flags(command, {"--notest_resume"});
  EXPECT_FALSE(FLAGS_test_resume);
  parse_flags(command, {"--test_resume=true"});
  EXPECT_TRUE(FLAGS_test_resume);
  parse_flags(command, {"--no-test-resume"});
  EXPECT_FALSE(FLAGS_test_resume);
  EXPECT_HAS(refusal({"--notest_resume=yes"}), "takes no value");
  EXPECT_HAS(refusal({"--test_resume=perhaps"}), "expected true or false");
}

TEST_F(Flags, ASwitchDoesNotSwallowTheNextWord) {
  command.max_arguments = 1;
  const Arguments arguments = parse_flags(command, {"--test_resume", "tea.h5"});
  EXPECT_EQ(arguments.plain, std::vector<std::string>{"tea.h5"});
}

TEST_F(Flags, TheLastOfARepeatedFlagHolds) {
  parse_flags(command, {"--test_epochs=1", "--test_epochs=2", "--test_resume", "--notest_resume"});
  EXPECT_EQ(FLAGS_test_epochs, 2);
  EXPECT_FALSE(FLAGS_test_resume);
}

TEST_F(Flags, RemembersWhatWasGiven) {
  const Arguments arguments = parse_flags(command, {"--test_epochs=100", "--notest_resume"});
  EXPECT_TRUE(arguments.is_given("test_epochs"));  // Even at its default.
  EXPECT_TRUE(arguments.is_given("test_resume"));
  EXPECT_FALSE(arguments.is_given("test_rate"));
}

TEST_F(Flags, AnUnknownFlagNamesTheNearest) {
  EXPECT_HAS(refusal({"--test_epohcs=3"}), "no flag --test_epohcs; did you mean --test_epochs?");
  EXPECT_HAS(refusal({"--zzzzzzzz"}), "micrec brew --help");
  EXPECT_HAS(refusal({"--out=x"}), "one of micrec steep");
  // gflags has these and they are not this command's.
  refusal({"--helpfull"});
  refusal({"--run_dir=x"});
}

TEST_F(Flags, ABadValueSaysWhatWasExpectedAndGot) {
  EXPECT_HAS(refusal({"--test_epochs=many"}),
             "--test_epochs is 'many', expected a whole number (epochs, at least 1)");
  EXPECT_HAS(refusal({"--test_epochs=0"}), "at least 1");
  EXPECT_HAS(refusal({"--test_epochs=-3"}), "'-3'");
  EXPECT_HAS(refusal({"--test_epochs=1.5"}), "whole number");
  EXPECT_HAS(refusal({"--test_epochs=99999999999"}), "whole number");
  EXPECT_HAS(refusal({"--test_epochs="}), "is ''");
  EXPECT_HAS(refusal({"--test_epochs"}), "has no value");
  EXPECT_HAS(refusal({"--test_epochs", "--test_resume"}), "has no value");
  EXPECT_HAS(refusal({"--test_rate=1.01"}), "from 0 to 1");
  EXPECT_HAS(refusal({"--test_rate=nan"}), "from 0 to 1");
  EXPECT_HAS(refusal({"--test_lr=inf"}), "above 0");
  EXPECT_HAS(refusal({"--test_lr=0"}), "above 0");
  EXPECT_HAS(refusal({"--test_model=lihgtgcn"}), "did you mean lightgcn?");
  EXPECT_HAS(refusal({"--seed=-1"}), "at least 0");
  EXPECT_EQ(FLAGS_test_epochs, 100) << "a refused value must not be set";
}

TEST_F(Flags, ChecksEachNumberOfAList) {
  parse_flags(command, {"--k=5,20"});
  EXPECT_EQ(integer_list("k"), (std::vector<int>{5, 20}));
  EXPECT_HAS(refusal({"--k=5,0"}), "whole numbers with commas between (items, from 1 to 10000)");
  for (const char* bad : {"--k=", "--k=5,", "--k=,5", "--k=5;6", "--k=5,99999999999"})
    refusal({bad});
}

TEST_F(Flags, RefusesADeviceThatIsNotThereYet) {
  parse_flags(command, {"--device=cpu"});
  parse_flags(command, {"--device=cuda"});
  EXPECT_HAS(refusal({"--device=tpu"}), "expected auto, cpu or cuda");
}

TEST_F(Flags, CountsPlainArguments) {
  EXPECT_HAS(refusal({"tea.h5"}), "unexpected argument 'tea.h5': micrec brew takes flags only");
  command.min_arguments = 1;
  command.max_arguments = 2;
  command.arguments = "one or two files";
  EXPECT_HAS(refusal({}), "needs one or two files");
  EXPECT_HAS(refusal({"a", "b", "c"}),
             "unexpected argument 'c': micrec brew takes one or two files");
  const Arguments arguments = parse_flags(command, {"a", "--test_epochs=3", "--", "--b"});
  EXPECT_EQ(arguments.plain, (std::vector<std::string>{"a", "--b"}));
}

TEST_F(Flags, AsksForARequiredFlag) {
  command.flags.push_back(out_flag("the tea", true));
  EXPECT_HAS(refusal({}), "micrec brew needs --out=FILE: the tea");
  EXPECT_HAS(refusal({"--out="}), "needs --out");
  parse_flags(command, {"--out=tea"});
}

TEST_F(Flags, ACommandMayHaveItsOwnDefault) {
  command.flags = {single_k_flag(20)};
  parse_flags(command, {});
  EXPECT_EQ(integer_list("k"), std::vector<int>{20});
  EXPECT_HAS(refusal({"--k=10,20"}), "a whole number from 1");
  EXPECT_HAS(help_of(command), "--k=20");
}

TEST_F(Flags, ReadsAFlagfile) {
  const std::string path = write("a.txt", "# how we brew\n\n--test_epochs=9\r\n  --test_resume\n");
  const Arguments arguments = parse_flags(command, {"--test_rate=0", "--flagfile=" + path});
  EXPECT_EQ(FLAGS_test_epochs, 9);
  EXPECT_TRUE(FLAGS_test_resume);
  EXPECT_TRUE(arguments.is_given("test_epochs"));
  parse_flags(command, {"--flagfile", path, "--test_epochs=4"});
  EXPECT_EQ(FLAGS_test_epochs, 4) << "what comes later holds";
  parse_flags(command, {"--flagfile=" + write("b.txt", "--flagfile=" + path)});
  EXPECT_EQ(FLAGS_test_epochs, 9) << "a flagfile may name another";
}

TEST_F(Flags, ABadFlagfileIsNamedByItsLine) {
  EXPECT_HAS(refusal({"--flagfile=" + write("a.txt", "\n--test_epochs=0\n")}),
             "a.txt:2: --test_epochs");
  EXPECT_HAS(refusal({"--flagfile=" + write("b.txt", "--tset_rate=0\n")}),
             "b.txt:1: micrec brew has no");
  EXPECT_HAS(refusal({"--flagfile=" + write("c.txt", "epochs 3\n")}), "expected --name=value");
  EXPECT_HAS(refusal({"--flagfile=" + (folder / "none.txt").string()}, Cause::io), "cannot read");
  EXPECT_HAS(refusal({"--flagfile=" + folder.string()}, Cause::io), "cannot read");
  const std::string own = write("own.txt", "--flagfile=" + (folder / "own.txt").string() + "\n");
  EXPECT_HAS(refusal({"--flagfile=" + own}), "does one name itself?");
}

TEST_F(Flags, WritesAFlagfileThatSetsTheSameAgain) {
  parse_flags(command, {"--test_epochs=12", "--test_lr=0.025", "--test_resume", "--test_model=mf",
                        "--dataset=a b=c.h5"});
  const std::string written = to_flagfile(command);
  parse_flags(command, {"--test_epochs=1", "--test_lr=1", "--notest_resume", "--test_model=inmo",
                        "--dataset=other.h5"});
  ASSERT_NE(to_flagfile(command), written);
  parse_flags(command, {"--flagfile=" + write("config.txt", written)});
  EXPECT_EQ(to_flagfile(command), written);
  EXPECT_EQ(FLAGS_dataset, "a b=c.h5");
}

TEST_F(Flags, WritesNumbersShortAndExactly) {
  parse_flags(command, {"--test_lr=0.1", "--test_rate=0.30000000000000004"});
  EXPECT_EQ(flag_value("test_lr"), "0.1");
  EXPECT_EQ(flag_value("test_rate"), "0.30000000000000004");
  EXPECT_HAS(help_of(command), "--test_lr=0.001 ");
}

TEST_F(Flags, ARestoredConfigurationYieldsToTheCommandLine) {
  const Arguments arguments = parse_flags(command, {"--test_epochs=12"});
  set_flags_not_given(command, parse_flagfile("--test_epochs=3\n--test_rate=0.125\n", "checkpoint"),
                      arguments);
  EXPECT_EQ(FLAGS_test_epochs, 12);
  EXPECT_EQ(FLAGS_test_rate, 0.125);
  EXPECT_THROW(set_flags_not_given(command, parse_flagfile("--no_such=3", "checkpoint"), arguments),
               Error);
}

TEST_F(Flags, HelpShowsGroupsDefaultsUnitsAndBounds) {
  const std::string help = help_of(command);
  EXPECT_HAS(help, "\nTraining\n  --test_epochs=100");
  EXPECT_HAS(help, "passes over the training interactions [epochs; at least 1]");
  EXPECT_HAS(help, "[one of mf, lightgcn, inmo, micrec]");
  EXPECT_HAS(help, "--[no]test_resume");
  EXPECT_HAS(help, "[above 0]");
  EXPECT_EQ(help.find("run_dir"), std::string::npos) << "only this command's flags";
  for (std::size_t begin = 0, end; (end = help.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    EXPECT_LE(end - begin, 100U) << help.substr(begin, end - begin);
  }
}

TEST_F(Flags, HelpWinsOverEverythingElse) {
  EXPECT_TRUE(parse_flags(command, {"--nonsense", "--help"}).help);
  EXPECT_FALSE(parse_flags(command, {"--test_epochs=3"}).help);
}

TEST(Threads, AreAllCoresUnlessGiven) {
  const gflags::FlagSaver flags_before;
  FLAGS_threads = 0;
  EXPECT_GE(chosen_threads(), 1);
  FLAGS_threads = 3;
  EXPECT_EQ(chosen_threads(), 3);
}

}  // namespace
}  // namespace micrec
