#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/flagfile.h"
#include "train/run_settings.h"

namespace micrec {

struct Command;

/// Which values a flag takes. Help and error messages are made from the same data as the check.
struct Bound {
  std::optional<double> minimum;
  std::optional<double> maximum;
  bool above_minimum = false;  ///< the minimum itself is not allowed
  bool list = false;           ///< the value is numbers with commas between; the bound is for each
  bool required = false;       ///< must not be empty
  std::vector<std::string> choices;  ///< where not empty, the only values
  std::string grammar;               ///< how a value that `check` reads is written, for the help

  /// Where set: returns "" for a good value, else what was expected instead.
  std::function<std::string(const std::string& value)> check;
};

Bound at_least(double minimum);
Bound above(double minimum);
Bound between(double minimum, double maximum);  ///< both allowed
Bound one_of(std::vector<std::string> choices);
/// Numbers with commas between, each at least this; not empty.
Bound list_at_least(double minimum);
Bound required();
/// Without a check the command itself parses the value, with an exact message.
Bound written_as(std::string grammar,
                 std::function<std::string(const std::string&)> check = nullptr);

/// One flag of a command. The gflag itself (type, default, meaning) is defined where it is used;
/// flags of several commands are in common_flags.cpp.
struct FlagSpec {
  std::string name;   ///< of the gflag
  std::string group;  ///< heading in the help
  std::string unit;   ///< "epochs", "seconds", "a file"; empty where the meaning says it
  Bound bound = {};
  std::optional<std::string> default_value = {};  ///< where this command's differs from the gflag's
  std::string meaning = {};                       ///< likewise
  OnResume on_resume = OnResume::kept;            ///< of a flag of train
};

/// The flag as one that a resumed run may be given anew.
FlagSpec may_change(FlagSpec spec);
/// Likewise, where another value changes what the run computes from there on.
FlagSpec recorded(FlagSpec spec);

/// What there is to say about a flag, of the gflag where the spec says nothing of its own.
struct FlagDescription {
  bool is_switch = false;
  std::string default_value;
  std::string meaning;
  std::string details;  ///< unit and bound: "epochs; at least 0", "off by default"; or empty
};
FlagDescription describe(const FlagSpec& spec);

/// What a command line holds besides the values of the flags, which are in the gflags.
struct Arguments {
  std::vector<std::string> plain;
  std::set<std::string> given;  ///< flags that were named on the command line or in a --flagfile
  std::vector<std::string> flagfiles;  ///< that were read
  bool help = false;                   ///< --help was among them; nothing else was checked

  bool is_given(const std::string& flag) const { return given.count(flag) > 0; }
};

/// Sets the gflags of a command from the words after the command's name: --name=value, --name
/// value, --name and --noname for switches, --flagfile=FILE, -- before arguments that begin with a
/// dash. Of a flag that is repeated the last value holds. `all_commands` serves the hint where a
/// flag is another command's.
///
/// Errors   Error(usage): unknown flag (with the nearest), bad or missing value, value out of
///          bounds, too few or too many arguments. Error(io): a flagfile that cannot be read.
Arguments parse_flags(const Command& command, const std::vector<std::string>& words,
                      const std::vector<Command>& all_commands);
Arguments parse_flags(const Command& command, const std::vector<std::string>& words);

/// Sets one flag of the command, checked like on the command line. Errors: Error(usage).
void set_flag(const Command& command, const FlagSetting& setting);

/// Sets those of the settings whose flags were not given on the command line; how a resumed run
/// takes up its old configuration. Errors: as set_flag.
void set_flags_not_given(const Command& command, const std::vector<FlagSetting>& settings,
                         const Arguments& arguments);

/// The value of a flag now, as text. CHECK: the flag exists.
std::string flag_value(const std::string& name);

/// The numbers of a flag whose bound is list_at_least.
std::vector<int> integer_list(const std::string& name);

/// All flags of the command with their values now.
std::vector<RunSetting> settings_of(const Command& command);
/// The same as a flagfile that sets the same again.
std::string to_flagfile(const Command& command);

/// parse_flagfile() of a file. Errors: Error(io) where it cannot be read.
std::vector<FlagSetting> read_flagfile(const std::string& path);

/// The help of one command: usage, example and its flags in groups with default, unit and bound.
std::string help_of(const Command& command);

}  // namespace micrec
