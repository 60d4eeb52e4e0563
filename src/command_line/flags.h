#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/flagfile.h"
#include "base/run_setting.h"
#include "command_line/flag_value.h"

namespace micrec {

struct Command;

/// Which values a flag takes besides those of its field's type. Help and error messages are made
/// from the same data as the check.
struct Bound {
  std::optional<double> minimum = {};  ///< of a list: of each number
  std::optional<double> maximum = {};
  bool above_minimum = false;  ///< the minimum itself is not allowed
  bool required = false;       ///< must not be empty
  std::string grammar = {};    ///< how a value that `check` reads is written, for the help

  /// Where set: returns "" for a good value, else what was expected instead.
  std::function<std::string(const std::string& value)> check = {};
};

Bound at_least(double minimum);
Bound above(double minimum);
Bound between(double minimum, double maximum);      ///< both allowed
Bound above_up_to(double minimum, double maximum);  ///< the maximum alone allowed
Bound required();
/// Without a check the command itself parses the value, with an exact message.
Bound written_as(std::string grammar,
                 std::function<std::string(const std::string&)> check = nullptr);

/// "auto", or numbers from 0 with commas between, for all domains or one each; at most a million,
/// beyond which a float32 has nothing left of what they are added to.
Bound auto_or_numbers(bool above_zero);

/// One flag of a command: a row of its table. All that is known of a flag is here; the default is
/// what the field holds when the table is made.
struct Flag {
  std::string name;
  std::string group;    ///< heading in the help
  std::string unit;     ///< "epochs", "seconds", "FILE"; empty where the meaning says it
  std::string meaning;  ///< a phrase without a full stop
  FlagValue value;      ///< the field that it sets
  Bound bound = {};
  OnResume on_resume = OnResume::kept;  ///< of a flag of train
  /// "with --model=mf": why it has no effect as the other flags are set; "" where it has. Not set:
  /// it always has.
  std::function<std::string()> idle = {};

  bool is_switch() const { return value.kind() == FlagValue::Kind::on_off; }
};

/// The flag as one that a resumed run may be given anew.
Flag may_change(Flag flag);
/// Likewise, where another value changes what the run computes from there on.
Flag recorded(Flag flag);

/// The flags as ones that have no effect where `why` says so, whatever they say themselves.
std::vector<Flag> idle_where(const std::function<std::string()>& why, std::vector<Flag> flags);

/// The second list behind the first.
std::vector<Flag> operator+(std::vector<Flag> flags, const std::vector<Flag>& more);

/// What a flag's brackets in the help say: "epochs; at least 0", "off by default"; or "".
std::string details_of(const Flag& flag);

/// What a command line holds besides the values of the flags, which are in their fields.
struct Arguments {
  std::vector<std::string> plain;
  std::set<std::string> given;  ///< flags that were named on the command line or in a --flagfile
  std::vector<std::string> flagfiles;  ///< that were read
  bool help = false;                   ///< --help was among them; nothing else was checked

  bool is_given(const std::string& flag) const { return given.count(flag) > 0; }
};

/// Sets the flags of a command from the words after the command's name, all others to their
/// defaults: --name=value, --name value, --name and --noname for switches, --flagfile=FILE, --
/// before arguments that begin with a dash. Of a flag that is repeated the last value holds.
/// `all_commands` serves the hint where a flag is another command's.
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

/// Those flags that were given, that a resumed run keeps, and that the settings have otherwise, as
/// "--dim=16 (the run has 8)". They are as the settings have them then.
std::vector<std::string> differences_from(const Command& command,
                                          const std::vector<FlagSetting>& settings,
                                          const Arguments& arguments);

/// A flag of the command; null where it has none of that name.
const Flag* find_flag(const Command& command, const std::string& name);

/// Of the flags that were given, and not with their default, those that have no effect as they are
/// set together: "--ials_weight has no effect with --model=mf".
std::vector<std::string> idle_flags(const Command& command, const Arguments& arguments);

/// All flags of the command with their values now.
std::vector<RunSetting> settings_of(const Command& command);
/// The same as a flagfile that sets the same again.
std::string to_flagfile(const Command& command);

}  // namespace micrec
