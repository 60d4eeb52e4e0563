#include "command_line/flags.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "command_line/command.h"
#include "command_line/manual.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

struct Tea {
  std::string dataset;
  int epochs = 100;
  double lr = 0.001;
  double rate = 0.5;
  bool resume = false;
  std::string model = "micrec";
  std::vector<std::int64_t> k = {10, 20, 50};
  std::vector<double> weights;
  std::uint64_t seed = 0;
  std::string kettle = "iron";
  std::string out;
};

Command brew_command(Tea& tea) {
  Command command;
  command.name = "brew";
  command.summary = "brews something to test with";
  command.usage = "micrec brew --out=FILE";
  command.example = "micrec brew --out=tea.h5";
  command.flags = {
      {"dataset", "Files", "FILE", "the leaves", tea.dataset},
      {"test_epochs", "Training", "epochs", "passes over the training interactions", tea.epochs,
       at_least(1)},
      {"test_lr", "Training", "", "how far a step goes", tea.lr, above(0)},
      {"test_rate", "Training", "", "share of edges that are dropped", tea.rate, between(0, 1)},
      {"test_resume", "Training", "", "go on from the newest checkpoint", tea.resume},
      {"test_model", "Model", "", "which model",
       one_of(tea.model,
              {{"mf", "mf"}, {"lightgcn", "lightgcn"}, {"inmo", "inmo"}, {"micrec", "micrec"}})},
      {"test_weights", "Model", "", "weights", tea.weights},
      {"k", "Results", "items", "sizes", tea.k, between(1, 10000)},
      {"kettle", "Running", "", "in what", tea.kettle,
       written_as("iron or clay",
                  [](const std::string& value) {
                    return value == "iron" || value == "clay" ? "" : "iron or clay";
                  })},
      {"seed", "Running", "", "seed of everything random", tea.seed, at_least(0)},
  };
  return command;
}

Command steep_command(Tea& tea) {
  Command command;
  command.name = "steep";
  command.flags = {{"out", "Files", "FILE", "a file", tea.out}};
  return command;
}

class Flags : public testing::Test {
 protected:
  /// The message of the usage error that these words give; fails where there is none.
  std::string refusal(const std::vector<std::string>& words, Cause cause = Cause::usage) {
    SCOPED_TRACE(testing::PrintToString(words));
    return refusal_of(cause, [&] { parse_flags(command, words, {command, other}); });
  }

  Tea tea;
  Command command = brew_command(tea);
  Command other = steep_command(tea);
  const TemporaryFolder folder;
};

TEST_F(Flags, TakesEveryWayOfWritingAValue) {
  parse_flags(command,
              {"--test_epochs=7", "--test_rate", "0.25", "-test_lr=1e-2", "--test-model=mf"});
  EXPECT_EQ(tea.epochs, 7);
  EXPECT_EQ(tea.rate, 0.25);
  EXPECT_EQ(tea.lr, 0.01);
  EXPECT_EQ(tea.model, "mf");
}

TEST_F(Flags, TurnsSwitchesOnAndOff) {
  parse_flags(command, {"--test_resume"});
  EXPECT_TRUE(tea.resume);
  parse_flags(command, {"--notest_resume"});
  EXPECT_FALSE(tea.resume);
  parse_flags(command, {"--test_resume=true"});
  EXPECT_TRUE(tea.resume);
  parse_flags(command, {"--no-test-resume"});
  EXPECT_FALSE(tea.resume);
  expect_has(refusal({"--notest_resume=yes"}), {"takes no value"});
  expect_has(refusal({"--test_resume=perhaps"}), {"expected true or false"});
}

TEST_F(Flags, ASwitchDoesNotSwallowTheNextWord) {
  command.max_arguments = 1;
  const Arguments arguments = parse_flags(command, {"--test_resume", "tea.h5"});
  EXPECT_EQ(arguments.plain, std::vector<std::string>{"tea.h5"});
}

TEST_F(Flags, TheLastOfARepeatedFlagHolds) {
  parse_flags(command, {"--test_epochs=1", "--test_epochs=2", "--test_resume", "--notest_resume"});
  EXPECT_EQ(tea.epochs, 2);
  EXPECT_FALSE(tea.resume);
}

TEST_F(Flags, RemembersWhatWasGiven) {
  const Arguments arguments = parse_flags(command, {"--test_epochs=100", "--notest_resume"});
  EXPECT_TRUE(arguments.is_given("test_epochs"));  // Even at its default.
  EXPECT_TRUE(arguments.is_given("test_resume"));
  EXPECT_FALSE(arguments.is_given("test_rate"));
}

TEST_F(Flags, AnUnknownFlagNamesTheNearest) {
  expect_has(refusal({"--test_epohcs=3"}), {"no flag --test_epohcs; did you mean --test_epochs?"});
  expect_has(refusal({"--zzzzzzzz"}), {"micrec brew --help"});
  expect_has(refusal({"--out=x"}), {"one of micrec steep"});
  refusal({"--helpfull"});  // gflags has it.
  refusal({"--run_dir=x"});
}

TEST_F(Flags, ABadValueSaysWhatWasExpectedAndGot) {
  expect_has(refusal({"--test_epochs=many"}),
             {"--test_epochs is 'many', expected a whole number (epochs, at least 1)"});
  expect_has(refusal({"--test_epochs=0"}), {"at least 1"});
  expect_has(refusal({"--test_epochs=-3"}), {"'-3'"});
  expect_has(refusal({"--test_epochs=1.5"}), {"whole number"});
  expect_has(refusal({"--test_epochs=99999999999"}), {"whole number"});
  expect_has(refusal({"--test_epochs="}), {"is ''"});
  expect_has(refusal({"--test_epochs"}), {"has no value"});
  expect_has(refusal({"--test_epochs", "--test_resume"}), {"has no value"});
  expect_has(refusal({"--test_rate=1.01"}), {"from 0 to 1"});
  expect_has(refusal({"--test_rate=nan"}), {"from 0 to 1"});
  expect_has(refusal({"--test_lr=inf"}), {"above 0"});
  expect_has(refusal({"--test_lr=0"}), {"above 0"});
  expect_has(refusal({"--test_model=lihgtgcn"}), {"did you mean lightgcn?"});
  expect_has(refusal({"--seed=-1"}), {"at least 0"});
  EXPECT_EQ(tea.epochs, 100) << "a refused value must not be set";
}

TEST_F(Flags, ChecksEachNumberOfAList) {
  parse_flags(command, {"--k=5,20"});
  EXPECT_EQ(tea.k, (std::vector<std::int64_t>{5, 20}));
  expect_has(refusal({"--k=5,0"}), {"whole numbers with commas between (items, from 1 to 10000)"});
  for (const char* bad : {"--k=", "--k=5,", "--k=,5", "--k=5;6", "--k=5,99999999999"})
    refusal({bad});
}

TEST_F(Flags, ACheckSaysWhatItExpected) {
  parse_flags(command, {"--kettle=clay"});
  EXPECT_EQ(tea.kettle, "clay");
  expect_has(refusal({"--kettle=tin"}), {"--kettle is 'tin', expected iron or clay"});
}

TEST_F(Flags, CountsPlainArguments) {
  expect_has(refusal({"tea.h5"}), {"unexpected argument 'tea.h5': micrec brew takes flags only"});
  command.min_arguments = 1;
  command.max_arguments = 2;
  command.arguments = "one or two files";
  expect_has(refusal({}), {"needs one or two files"});
  expect_has(refusal({"a", "b", "c"}),
             {"unexpected argument 'c': micrec brew takes one or two files"});
  const Arguments arguments = parse_flags(command, {"a", "--test_epochs=3", "--", "--b"});
  EXPECT_EQ(arguments.plain, (std::vector<std::string>{"a", "--b"}));
}

TEST_F(Flags, AsksForARequiredFlag) {
  command.flags.push_back({"out", "Files", "FILE", "the tea", tea.out, required()});
  expect_has(refusal({}), {"micrec brew needs --out=FILE: the tea"});
  expect_has(refusal({"--out="}), {"needs --out"});
  parse_flags(command, {"--out=tea"});
}

TEST_F(Flags, ReadsAFlagfile) {
  const std::string path =
      folder.write("a.txt", "# how we brew\n\n--test_epochs=9\r\n  --test_resume\n");
  const Arguments arguments = parse_flags(command, {"--test_rate=0", "--flagfile=" + path});
  EXPECT_EQ(tea.epochs, 9);
  EXPECT_TRUE(tea.resume);
  EXPECT_TRUE(arguments.is_given("test_epochs"));
  parse_flags(command, {"--flagfile", path, "--test_epochs=4"});
  EXPECT_EQ(tea.epochs, 4) << "what comes later holds";
  parse_flags(command, {"--flagfile=" + folder.write("b.txt", "--flagfile=" + path)});
  EXPECT_EQ(tea.epochs, 9) << "a flagfile may name another";
}

TEST_F(Flags, ABadFlagfileIsNamedByItsLine) {
  expect_has(refusal({"--flagfile=" + folder.write("a.txt", "\n--test_epochs=0\n")}),
             {"a.txt:2: --test_epochs"});
  expect_has(refusal({"--flagfile=" + folder.write("b.txt", "--tset_rate=0\n")}),
             {"b.txt:1: micrec brew has no"});
  expect_has(refusal({"--flagfile=" + folder.write("c.txt", "epochs 3\n")}),
             {"expected --name=value"});
  expect_has(refusal({"--flagfile=" + (folder / "none.txt")}, Cause::io), {"cannot read"});
  expect_has(refusal({"--flagfile=" + folder.path()}, Cause::io), {"cannot read"});
  const std::string own = folder.write("own.txt", "--flagfile=" + (folder / "own.txt") + "\n");
  expect_has(refusal({"--flagfile=" + own}), {"does one name itself?"});
}

TEST_F(Flags, WritesAFlagfileThatSetsTheSameAgain) {
  parse_flags(command, {"--test_epochs=12", "--test_lr=0.025", "--test_resume", "--test_model=mf",
                        "--dataset=a b=c.h5"});
  const std::string written = to_flagfile(command);
  parse_flags(command, {"--test_epochs=1", "--test_lr=1", "--notest_resume", "--test_model=inmo",
                        "--dataset=other.h5"});
  ASSERT_NE(to_flagfile(command), written);
  parse_flags(command, {"--flagfile=" + folder.write("config.txt", written)});
  EXPECT_EQ(to_flagfile(command), written);
  EXPECT_EQ(tea.dataset, "a b=c.h5");
}

TEST_F(Flags, WritesNumbersShortAndExactly) {
  parse_flags(command, {"--test_lr=0.1", "--test_rate=0.30000000000000004"});
  EXPECT_EQ(find_flag(command, "test_lr")->value.text(), "0.1");
  EXPECT_EQ(find_flag(command, "test_rate")->value.text(), "0.30000000000000004");
  expect_has(help_of(command), {"--test_lr=0.001 "});
}

TEST_F(Flags, ARestoredConfigurationYieldsToTheCommandLine) {
  const Arguments arguments = parse_flags(command, {"--test_epochs=12"});
  set_flags_not_given(command, parse_flagfile("--test_epochs=3\n--test_rate=0.125\n", "checkpoint"),
                      arguments);
  EXPECT_EQ(tea.epochs, 12);
  EXPECT_EQ(tea.rate, 0.125);
  EXPECT_THROW(set_flags_not_given(command, parse_flagfile("--no_such=3", "checkpoint"), arguments),
               Error);
}

TEST_F(Flags, TellsWhatARunKeepsAndWasGivenOtherwise) {
  for (Flag& flag : command.flags) {
    if (flag.name == "test_epochs") flag.on_resume = OnResume::may_change;
  }
  const Arguments arguments = parse_flags(command, {"--test_lr=0.5", "--test_epochs=3"});
  const std::vector<FlagSetting> saved = {{"test_lr", "0.25", "config.txt:1"},
                                          {"test_epochs", "7", "config.txt:2"},
                                          {"unknown", "1", "config.txt:3"}};
  EXPECT_EQ(differences_from(command, saved, arguments),
            std::vector<std::string>{"--test_lr=0.5 (the run has 0.25)"});
  const Arguments same = parse_flags(command, {"--test_lr=2.5e-1"});
  EXPECT_TRUE(differences_from(command, saved, same).empty()) << "another way to write it";
}

TEST_F(Flags, ACommandIsFoundByItsNameAndTheNearestIsNamed) {
  const std::vector<Command> commands = {command, other};
  EXPECT_EQ(&command_named(commands, "steep"), &commands[1]);
  expect_error(Cause::usage, {"did you mean micrec steep?"},
               [&] { command_named(commands, "step"); });
}

TEST_F(Flags, NumbersForEachDomainOrAuto) {
  std::vector<double> cross;
  std::vector<double> lambda;
  command.flags = {{"cross", "", "", "c", cross, auto_or_numbers(/*above_zero=*/false)},
                   {"lambda", "", "", "l", lambda, auto_or_numbers(/*above_zero=*/true)}};
  parse_flags(command, {"--cross=0,1e6", "--lambda=3,7.5"});
  EXPECT_EQ(cross, (std::vector<double>{0, 1e6}));
  EXPECT_EQ(lambda, (std::vector<double>{3, 7.5}));
  parse_flags(command, {"--cross=auto"});
  EXPECT_TRUE(cross.empty());
  expect_has(refusal({"--lambda=0"}), {"numbers above 0 and at most 1e+06"});
  expect_has(refusal({"--cross=1,nan"}), {"auto, or numbers from 0 to"});
}

TEST_F(Flags, ANumberThatMayBeMissingIsFinite) {
  std::optional<double> least;
  command.flags = {{"least", "", "", "l", least, written_as("a number")}};
  parse_flags(command, {"--least=-1.5"});
  EXPECT_EQ(least, -1.5);
  for (const char* bad : {"nan", "inf", "-inf", "1e999", "x"}) {
    expect_has(refusal({std::string("--least=") + bad}), {"a number"});
  }
  parse_flags(command, {"--least="});
  EXPECT_EQ(least, std::nullopt);
}

TEST_F(Flags, ANumberMayBeLeftToTheProgram) {
  std::int64_t cups = 8;
  double heat = 0;
  command.flags = {
      {"cups", "", "", "c", positive_or_auto(cups), written_as("auto, or a whole number from 1")},
      {"heat", "", "", "h", positive_or_auto(heat), written_as("auto, or a number above 0")}};
  const auto written = [&] { return find_flag(command, "cups")->value.text(); };
  EXPECT_EQ(written(), "8");
  parse_flags(command, {"--cups=auto"});
  EXPECT_EQ(cups, 0);
  EXPECT_EQ(written(), "auto");
  parse_flags(command, {"--cups=12"});
  EXPECT_EQ(cups, 12);
  EXPECT_EQ(written(), "12");
  for (const char* bad : {"0", "-1", "1.5", "Auto", "12,13"}) {
    expect_has(refusal({std::string("--cups=") + bad}), {"auto, or a whole number from 1"});
  }
  EXPECT_EQ(find_flag(command, "heat")->value.text(), "auto");
  parse_flags(command, {"--heat=0.5"});
  EXPECT_EQ(heat, 0.5);
  EXPECT_EQ(find_flag(command, "heat")->value.text(), "0.5");
  for (const char* bad : {"0", "-1", "nan", "inf", "1e999", "Auto", "", "0.5,0.6"}) {
    expect_has(refusal({std::string("--heat=") + bad}), {"auto, or a number above 0"});
  }
}

TEST_F(Flags, HelpShowsGroupsDefaultsUnitsAndBounds) {
  const std::string help = help_of(command);
  expect_has(help, {"\nTraining\n  --test_epochs=100"});
  expect_has(help, {"passes over the training interactions [epochs; at least 1]"});
  expect_has(help, {"[one of mf, lightgcn, inmo, micrec]"});
  expect_has(help, {"--[no]test_resume"});
  expect_has(help, {"[above 0]"});
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

TEST_F(Flags, BeginAtWhatTheFieldsHeldWhenTheTableWasMade) {
  tea.epochs = 3;
  parse_flags(command, {});
  EXPECT_EQ(tea.epochs, 100);
  tea.epochs = 3;
  parse_flags(brew_command(tea), {});
  EXPECT_EQ(tea.epochs, 3) << "the options' own initialiser is the default";
  Tea other_tea;
  const Command other_command = brew_command(other_tea);
  parse_flags(other_command, {"--test_epochs=9"});
  EXPECT_EQ(tea.epochs, 3) << "each command has its own options";
}

TEST_F(Flags, AListIsToldAsItWasWritten) {
  parse_flags(command, {"--test_weights=3.0,7", "--k=020,5"});
  EXPECT_EQ(tea.weights, (std::vector<double>{3, 7}));
  EXPECT_EQ(tea.k, (std::vector<std::int64_t>{20, 5}));
  expect_has(to_flagfile(command), {"--test_weights=3.0,7\n"});
  expect_has(to_flagfile(command), {"--k=020,5\n"});
  parse_flags(command, {"--test_weights=auto"});
  EXPECT_TRUE(tea.weights.empty());
  expect_has(to_flagfile(command), {"--test_weights=auto\n"});
  expect_has(refusal({"--test_weights=3,x"}), {"expected a text"});
}

TEST_F(Flags, ThoseThatHaveNoEffectAreToldWhereTheyWereGiven) {
  const auto why = [&] { return std::string(tea.model == "mf" ? "with --test_model=mf" : ""); };
  const auto own = [&] { return std::string(tea.rate == 0 ? "with --test_rate=0" : ""); };
  const std::vector<Flag> nested = idle_where(own, {*find_flag(command, "test_lr")});
  command.flags = idle_where(why, {*find_flag(command, "test_epochs"), nested.front()});
  for (const char* name : {"test_model", "test_rate"}) {
    command.flags.push_back(*find_flag(brew_command(tea), name));
  }
  const auto told = [&](const std::vector<std::string>& words) {
    return idle_flags(command, parse_flags(command, words));
  };
  using Lines = std::vector<std::string>;
  EXPECT_EQ(told({"--test_epochs=3", "--test_lr=1"}), Lines());
  EXPECT_EQ(told({"--test_model=mf", "--test_epochs=100"}), Lines()) << "at its default";
  EXPECT_EQ(told({"--test_model=mf", "--test_lr=1", "--test_rate=0"}),
            Lines{"--test_lr has no effect with --test_model=mf"});
  EXPECT_EQ(told({"--test_lr=1", "--test_rate=0"}),
            Lines{"--test_lr has no effect with --test_rate=0"});
}

TEST_F(Flags, AWordWithCommasGoesInQuotes) {
  std::vector<std::string> people;
  command.flags = {{"people", "", "keys", "p", people}};
  parse_flags(command, {R"(--people=ann,"b, c",d "e)"});
  EXPECT_EQ(people, (std::vector<std::string>{"ann", "b, c", "d \"e"}));
  parse_flags(command, {R"(--people=size="5",k="a,b")"});
  EXPECT_EQ(people, (std::vector<std::string>{R"(size="5")", R"(k="a)", R"(b")"}));
  parse_flags(command, {"--people="});
  EXPECT_EQ(people, std::vector<std::string>());
}

TEST_F(Flags, ASwitchTakesTheWordsOfGflags) {
  for (const char* on : {"true", "t", "1", "yes", "Y"}) {
    parse_flags(command, {text("--test_resume=", on)});
    EXPECT_TRUE(tea.resume) << on;
  }
  parse_flags(command, {"--test_resume=no"});
  EXPECT_FALSE(tea.resume);
  expect_has(to_flagfile(command), {"--test_resume=false\n"});
}

}  // namespace
}  // namespace micrec
