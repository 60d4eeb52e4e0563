#include "command_line/flags.h"

#include <glog/logging.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/path_error.h"
#include "base/text.h"
#include "command_line/command.h"

namespace micrec {
namespace {

constexpr int kDeepestFlagfile = 8;
constexpr int kMostFlagfiles = 64;  // of one command line
constexpr std::size_t kMostFlagfileBytes = 16 << 20;

using Kind = FlagValue::Kind;

std::string number(double value) { return text(value); }

/// "at least 1", "from 0 to 1", "one of auto, cpu"; empty where anything goes.
std::string in_words(const Flag& flag) {
  const Bound& bound = flag.bound;
  if (!flag.value.choices().empty()) return "one of " + join(flag.value.choices(), ", ");
  if (!bound.grammar.empty()) return bound.grammar;
  if (bound.minimum && bound.maximum) {
    return (bound.above_minimum ? "above " : "from ") + number(*bound.minimum) +
           (bound.above_minimum ? ", at most " : " to ") + number(*bound.maximum);
  }
  if (bound.minimum) return (bound.above_minimum ? "above " : "at least ") + number(*bound.minimum);
  if (bound.maximum) return "at most " + number(*bound.maximum);
  return bound.required ? "required" : "";
}

std::string with_unit(const Flag& flag, const std::string& separator) {
  const std::string bound = in_words(flag);
  if (flag.unit.empty()) return bound;
  return bound.empty() ? flag.unit : flag.unit + separator + bound;
}

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"true or false", "a whole number", "a number",
                                    "whole numbers with commas between", "a text"};
  return kNames[static_cast<int>(kind)];
}

/// What a value of this flag looks like: "a whole number (epochs, at least 1)".
std::string expectation(const Flag& flag) {
  if (!flag.value.choices().empty()) return in_words(flag);
  if (flag.value.kind() == Kind::words && !flag.bound.grammar.empty()) {
    return flag.bound.grammar + (flag.unit.empty() ? "" : " (" + flag.unit + ")");
  }
  const std::string details = with_unit(flag, ", ");
  return name_of(flag.value.kind()) + (details.empty() ? "" : " (" + details + ")");
}

[[noreturn]] void refuse(const Command& command, const std::string& message) {
  throw Error(Cause::usage, message, "; see micrec ", command.name, " --help");
}

bool inside(const Bound& bound, double value) {
  if (!std::isfinite(value)) return false;
  if (bound.minimum && (bound.above_minimum ? value <= *bound.minimum : value < *bound.minimum)) {
    return false;
  }
  return !bound.maximum || value <= *bound.maximum;
}

/// Whether the numbers that a value consists of are some and inside the bound; true of words.
bool are_inside(const Flag& flag, const std::string& value) {
  constexpr std::int64_t kMostInList = 1'000'000'000;
  const Kind kind = flag.value.kind();
  if (kind == Kind::real) {
    const std::optional<double> one = parse_real(value);
    return one && inside(flag.bound, *one);
  }
  if (kind != Kind::whole && kind != Kind::whole_list) return true;
  const std::vector<std::string> parts =
      kind == Kind::whole ? std::vector<std::string>{value} : split(value, ',');
  return !parts.empty() && std::ranges::all_of(parts, [&](const std::string& part) {
    const std::optional<std::int64_t> one = parse_integer(part);
    return one && (kind == Kind::whole || *one <= kMostInList) &&
           inside(flag.bound, static_cast<double>(*one));
  });
}

/// What was expected instead of this value, or "".
std::string complaint(const Flag& flag, const std::string& value) {
  if (!are_inside(flag, value)) return expectation(flag);
  const std::vector<std::string>& choices = flag.value.choices();
  if (!choices.empty() && std::ranges::find(choices, value) == choices.end()) {
    const std::optional<std::string> near = nearest(value, choices);
    return expectation(flag) + (near ? " (did you mean " + *near + "?)" : "");
  }
  return flag.bound.check ? flag.bound.check(value) : "";
}

/// The flag a word names, and false for --noname of a switch.
struct Named {
  const Flag* flag;
  bool positive;
};

Named find_named(const Command& command, const FlagWord& word) {
  if (const Flag* flag = find_flag(command, word.name)) return {flag, true};
  if (word.name.starts_with("no")) {
    const std::string rest = word.name.substr(word.name.starts_with("no_") ? 3 : 2);
    const Flag* flag = find_flag(command, rest);
    if (flag != nullptr && flag->is_switch()) return {flag, false};
  }
  return {nullptr, true};
}

[[noreturn]] void refuse_unknown(const Command& command, const std::string& name,
                                 const std::string& place,
                                 const std::vector<Command>& all_commands) {
  std::vector<std::string> names = {"help", "flagfile"};
  for (const Flag& flag : command.flags) names.push_back(flag.name);
  std::string hint;
  for (const Command& other : all_commands) {
    if (other.name != command.name && find_flag(other, name) != nullptr) {
      hint = text(" (it is one of micrec ", other.name, ")");
      break;
    }
  }
  if (const std::optional<std::string> near = nearest(name, names)) {
    hint = text("; did you mean --", *near, "?");
  }
  // The nearest name is a question, after which "see ..." would read badly.
  throw Error(Cause::usage, place, "micrec ", command.name, " has no flag --", printable(name),
              hint.empty() ? "; see micrec " + command.name + " --help" : hint);
}

void set(const Command& command, const Flag& flag, const std::string& value,
         const std::string& place) {
  std::string expected = complaint(flag, value);
  if (expected.empty() && flag.value.set(value)) return;
  if (expected.empty()) expected = expectation(flag);
  refuse(command, text(place, "--", flag.name, " is ", excerpt(value), ", expected ", expected));
}

std::string place_of(const FlagSetting& setting) {
  return setting.origin.empty() ? "" : setting.origin + ": ";
}

/// The contents of a flagfile; `place` is where its name stands, or empty.
std::string read_all(const std::string& path, const std::string& place) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string contents;
  for (char letter; contents.size() <= kMostFlagfileBytes && file.get(letter);) contents += letter;
  if (contents.size() > kMostFlagfileBytes) {
    throw Error(Cause::io, place, "the flagfile '", printable(path), "' is longer than ",
                in_bytes(kMostFlagfileBytes), "; is it another kind of file?");
  }
  if (!file.eof()) {  // Not opened, or a folder, which opens and cannot be read.
    throw Error(Cause::io, place, path_error("read the flagfile", printable(path), errno));
  }
  return contents;
}

/// Sets the flag that a setting names, and gives it.
const Flag& set_named(const Command& command, const FlagSetting& setting,
                      const std::vector<Command>& all_commands) {
  const std::string place = place_of(setting);
  const Named named = find_named(command, {setting.name, setting.value});
  if (named.flag == nullptr) refuse_unknown(command, setting.name, place, all_commands);
  std::string value = setting.value;
  if (!named.positive) {
    if (value != "true") {
      refuse(command, text(place, "--", setting.name, " takes no value; write --", setting.name,
                           " or --", named.flag->name, "=", printable(value)));
    }
    value = "false";
  }
  set(command, *named.flag, value, place);
  return *named.flag;
}

/// Sets flags from settings, following those that are themselves --flagfile. `flagfiles` counts
/// them: a few that name each other many times would otherwise be read without end.
void apply(const Command& command, const std::vector<FlagSetting>& settings,
           const std::vector<Command>& all_commands, int depth, int& flagfiles,
           Arguments& arguments) {
  for (const FlagSetting& setting : settings) {
    if (setting.name == "flagfile") {
      if (depth == kDeepestFlagfile || ++flagfiles > kMostFlagfiles) {
        throw Error(Cause::usage, place_of(setting), "flagfiles name each other more than ",
                    kDeepestFlagfile, " deep or ", kMostFlagfiles, " times; does one name itself?");
      }
      const std::string contents = read_all(setting.value, place_of(setting));
      arguments.flagfiles.push_back(setting.value);
      apply(command, parse_flagfile(contents, setting.value), all_commands, depth + 1, flagfiles,
            arguments);
      continue;
    }
    arguments.given.insert(set_named(command, setting, all_commands).name);
  }
}

/// The value of a flag that stands without "=": true for a switch, else the next word, if it can be
/// one.
std::string value_after(const Command& command, const Named& named, const std::string& name,
                        const std::vector<std::string>& words, std::size_t& i) {
  if (named.flag != nullptr && named.flag->is_switch()) return "true";
  if (i + 1 < words.size() && !words[i + 1].starts_with("--")) return words[++i];
  refuse(command, text("--", name, " has no value, expected ",
                       named.flag != nullptr ? expectation(*named.flag) : "a file"));
}

/// Whether all that must be there is, and no more than may be.
void check_complete(const Command& command, const Arguments& arguments) {
  for (const Flag& flag : command.flags) {
    if (flag.bound.required && flag.value.text().empty()) {
      refuse(command, text("micrec ", command.name, " needs --", flag.name,
                           flag.unit.empty() ? "" : "=" + flag.unit, ": ", flag.meaning));
    }
  }
  const int count = static_cast<int>(arguments.plain.size());
  if (count > command.max_arguments) {
    refuse(command, text("unexpected argument '", arguments.plain[command.max_arguments],
                         "': micrec ", command.name, " takes ",
                         command.max_arguments == 0 ? "flags only, written --name=value"
                                                    : command.arguments));
  }
  if (count < command.min_arguments) {
    refuse(command, text("micrec ", command.name, " needs ", command.arguments));
  }
}

}  // namespace

Bound at_least(double minimum) { return {.minimum = minimum}; }

Bound above(double minimum) { return {.minimum = minimum, .above_minimum = true}; }

Bound between(double minimum, double maximum) { return {.minimum = minimum, .maximum = maximum}; }

Bound above_up_to(double minimum, double maximum) {
  return {.minimum = minimum, .maximum = maximum, .above_minimum = true};
}

Bound required() { return {.required = true}; }

Bound written_as(std::string grammar, std::function<std::string(const std::string&)> check) {
  return {.grammar = std::move(grammar), .check = std::move(check)};
}

Bound auto_or_numbers(bool above_zero) {
  constexpr double kMost = 1e6;
  const std::string grammar =
      text("auto, or numbers ", above_zero ? "above 0 and at most " : "from 0 to ", kMost,
           ", one for all domains or one each with commas between");
  return written_as(grammar, [=](const std::string& value) {
    if (value == "auto") return std::string();
    for (const std::string& part : split(value, ',')) {
      const std::optional<double> number = parse_real(part);
      const bool is_in =
          number && *number >= 0 && *number <= kMost && !(above_zero && *number == 0);
      if (!is_in) return grammar;  // not a number is in no range
    }
    return split(value, ',').empty() ? grammar : std::string();
  });
}

Flag may_change(Flag flag) {
  flag.on_resume = OnResume::may_change;
  return flag;
}

Flag recorded(Flag flag) {
  flag.on_resume = OnResume::recorded;
  return flag;
}

std::vector<Flag> idle_where(const std::function<std::string()>& why, std::vector<Flag> flags) {
  for (Flag& flag : flags) {
    flag.idle = [why, own = flag.idle] {
      const std::string reason = why();
      return reason.empty() && own ? own() : reason;
    };
  }
  return flags;
}

std::vector<Flag> operator+(std::vector<Flag> flags, const std::vector<Flag>& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

const Command& command_named(const std::vector<Command>& commands, const std::string& name) {
  const auto command = std::ranges::find(commands, name, &Command::name);
  if (command != commands.end()) return *command;
  std::vector<std::string> names = {"help"};
  for (const Command& known : commands) names.push_back(known.name);
  const std::optional<std::string> near = nearest(name, names);
  throw Error(Cause::usage, "there is no command '", name, "'",
              near ? "; did you mean micrec " + *near + "?" : "; micrec help lists them");
}

std::string details_of(const Flag& flag) {
  if (!flag.is_switch()) return with_unit(flag, "; ");
  return flag.value.default_text() == "true" ? "on unless --no" + flag.name : "off by default";
}

std::vector<std::string> differences_from(const Command& command,
                                          const std::vector<FlagSetting>& settings,
                                          const Arguments& arguments) {
  std::vector<std::string> differences;
  for (const FlagSetting& setting : settings) {
    const Flag* const flag = find_flag(command, setting.name);
    if (flag == nullptr || !arguments.is_given(flag->name)) continue;
    if (flag->on_resume != OnResume::kept) continue;
    // Compare as the flag itself writes its value, so that 1e-3 and 0.001 are the same.
    const std::string given = flag->value.text();
    set_flag(command, setting);
    if (flag->value.text() == given) continue;
    differences.push_back(
        text("--", flag->name, "=", given, " (the run has ", flag->value.text(), ")"));
  }
  return differences;
}

const Flag* find_flag(const Command& command, const std::string& name) {
  const auto found = std::ranges::find(command.flags, name, &Flag::name);
  return found == command.flags.end() ? nullptr : &*found;
}

Arguments parse_flags(const Command& command, const std::vector<std::string>& words,
                      const std::vector<Command>& all_commands) {
  Arguments arguments;
  for (const std::string& word : words) {
    if (word == "--") break;
    if (word == "--help" || word == "-help" || word == "-h") {
      arguments.help = true;
      return arguments;
    }
  }
  for (const Flag& flag : command.flags) flag.value.set(flag.value.default_text());
  int flagfiles = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& written = words[i];
    if (written == "--") {
      arguments.plain.insert(arguments.plain.end(), words.begin() + i + 1, words.end());
      break;
    }
    if (written.size() < 2 || written[0] != '-') {
      arguments.plain.push_back(written);
      continue;
    }
    const FlagWord word = take_apart(written);
    const Named named = find_named(command, word);
    if (named.flag == nullptr && word.name != "flagfile") {
      refuse_unknown(command, word.name, "", all_commands);
    }
    const std::string value =
        word.value ? *word.value : value_after(command, named, word.name, words, i);
    apply(command, {{word.name, value, ""}}, all_commands, 0, flagfiles, arguments);
  }
  check_complete(command, arguments);
  return arguments;
}

Arguments parse_flags(const Command& command, const std::vector<std::string>& words) {
  return parse_flags(command, words, {});
}

void set_flag(const Command& command, const FlagSetting& setting) {
  set_named(command, setting, {});
}

void set_flags_not_given(const Command& command, const std::vector<FlagSetting>& settings,
                         const Arguments& arguments) {
  for (const FlagSetting& setting : settings) {
    const Named named = find_named(command, {setting.name, setting.value});
    if (named.flag != nullptr && arguments.is_given(named.flag->name)) continue;
    set_flag(command, setting);
  }
}

std::vector<std::string> idle_flags(const Command& command, const Arguments& arguments) {
  std::vector<std::string> told;
  for (const Flag& flag : command.flags) {
    if (!arguments.is_given(flag.name) || !flag.idle) continue;
    const std::string why = flag.value.text() == flag.value.default_text() ? "" : flag.idle();
    if (!why.empty()) told.push_back(text("--", flag.name, " has no effect ", why));
  }
  return told;
}

std::vector<RunSetting> settings_of(const Command& command) {
  std::vector<RunSetting> settings;
  for (const Flag& flag : command.flags) {
    settings.push_back({flag.name, flag.value.text(), flag.on_resume, flag.value.default_text()});
  }
  return settings;
}

std::string to_flagfile(const Command& command) {
  std::string lines;
  std::string group;
  for (const Flag& flag : command.flags) {
    if (flag.group != group) {
      lines += (group.empty() ? "# " : "\n# ") + flag.group + "\n";
      group = flag.group;
    }
    lines += "--" + flag.name + "=" + flag.value.text() + "\n";
  }
  return lines;
}

}  // namespace micrec
