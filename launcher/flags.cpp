#include "launcher/flags.h"

#include <gflags/gflags.h>
#include <glog/logging.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/path_error.h"
#include "base/text.h"
#include "launcher/command.h"

namespace micrec {
namespace {

constexpr std::size_t kHelpWidth = 100;
constexpr std::size_t kFlagColumn = 30;
constexpr int kDeepestFlagfile = 8;
constexpr int kMostFlagfiles = 64;  // of one command line
constexpr std::size_t kMostFlagfileBytes = 16 << 20;

gflags::CommandLineFlagInfo info_of(const std::string& name) {
  gflags::CommandLineFlagInfo info;
  CHECK(gflags::GetCommandLineFlagInfo(name.c_str(), &info))
      << "--" << name << " is in a command's table but no DEFINE_ makes it";
  return info;
}

bool is_switch(const FlagSpec& spec) { return info_of(spec.name).type == "bool"; }
bool is_text(const std::string& type) { return type == "string"; }
bool is_real(const std::string& type) { return type == "double"; }

const FlagSpec* find(const Command& command, const std::string& name) {
  for (const FlagSpec& spec : command.flags) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

std::string number(double value) { return text(value); }

/// "at least 1", "from 0 to 1", "one of auto, cpu"; empty where anything goes.
std::string in_words(const Bound& bound) {
  if (!bound.choices.empty()) return "one of " + join(bound.choices, ", ");
  if (!bound.grammar.empty()) return bound.grammar;
  if (bound.minimum && bound.maximum) {
    return "from " + number(*bound.minimum) + " to " + number(*bound.maximum);
  }
  if (bound.minimum) return (bound.above_minimum ? "above " : "at least ") + number(*bound.minimum);
  if (bound.maximum) return "at most " + number(*bound.maximum);
  return bound.required ? "required" : "";
}

std::string with_unit(const FlagSpec& spec, const std::string& separator) {
  const std::string bound = in_words(spec.bound);
  if (spec.unit.empty()) return bound;
  return bound.empty() ? spec.unit : spec.unit + separator + bound;
}

/// What a value of this flag looks like: "a whole number (epochs, at least 1)".
std::string expectation(const FlagSpec& spec) {
  if (!spec.bound.choices.empty()) return in_words(spec.bound);
  const std::string type = info_of(spec.name).type;
  std::string kind = "a whole number";
  if (spec.bound.list) kind = "whole numbers with commas between";
  if (!spec.bound.list && is_text(type)) kind = "a text";
  if (is_real(type)) kind = "a number";
  if (type == "bool") kind = "true or false";
  const std::string details = with_unit(spec, ", ");
  return details.empty() ? kind : kind + " (" + details + ")";
}

[[noreturn]] void refuse(const Command& command, const std::string& message) {
  throw Error(Cause::usage, text(message, "; see micrec ", command.name, " --help"));
}

bool inside(const Bound& bound, double value) {
  if (!std::isfinite(value)) return false;
  if (bound.minimum && (bound.above_minimum ? value <= *bound.minimum : value < *bound.minimum)) {
    return false;
  }
  return !bound.maximum || value <= *bound.maximum;
}

/// What was expected instead of this value, or "".
std::string complaint(const FlagSpec& spec, const std::string& value) {
  const Bound& bound = spec.bound;
  const std::string type = info_of(spec.name).type;
  if (bound.list) {
    const std::vector<std::string> parts = split(value, ',');
    if (parts.empty()) return expectation(spec);
    for (const std::string& part : parts) {
      const std::optional<std::int64_t> one = parse_integer(part);
      if (!one || *one > 1'000'000'000 || !inside(bound, static_cast<double>(*one))) {
        return expectation(spec);
      }
    }
  } else if (is_real(type)) {
    const std::optional<double> one = parse_real(value);
    if (!one || !inside(bound, *one)) return expectation(spec);
  } else if (!is_text(type) && type != "bool") {
    const std::optional<std::int64_t> one = parse_integer(value);
    if (!one || !inside(bound, static_cast<double>(*one))) return expectation(spec);
  }
  if (!bound.choices.empty() && std::ranges::find(bound.choices, value) == bound.choices.end()) {
    const std::optional<std::string> near = nearest(value, bound.choices);
    return expectation(spec) + (near ? " (did you mean " + *near + "?)" : "");
  }
  if (bound.check) return bound.check(value);
  return "";
}

/// The flag a word names, and false for --noname of a switch.
struct Named {
  const FlagSpec* spec;
  bool positive;
};

Named find_named(const Command& command, const FlagWord& word) {
  if (const FlagSpec* spec = find(command, word.name)) return {spec, true};
  if (word.name.starts_with("no")) {
    const std::string rest = word.name.substr(word.name.starts_with("no_") ? 3 : 2);
    const FlagSpec* spec = find(command, rest);
    if (spec != nullptr && is_switch(*spec)) return {spec, false};
  }
  return {nullptr, true};
}

[[noreturn]] void refuse_unknown(const Command& command, const std::string& name,
                                 const std::string& place,
                                 const std::vector<Command>& all_commands) {
  std::vector<std::string> names = {"help", "flagfile"};
  for (const FlagSpec& spec : command.flags) names.push_back(spec.name);
  std::string hint;
  for (const Command& other : all_commands) {
    if (other.name != command.name && find(other, name) != nullptr) {
      hint = text(" (it is one of micrec ", other.name, ")");
      break;
    }
  }
  if (const std::optional<std::string> near = nearest(name, names)) {
    hint = text("; did you mean --", *near, "?");
  }
  // The nearest name is a question, after which "see ..." would read badly.
  throw Error(Cause::usage, text(place, "micrec ", command.name, " has no flag --", printable(name),
                                 hint.empty() ? "; see micrec " + command.name + " --help" : hint));
}

void set(const Command& command, const FlagSpec& spec, const std::string& value,
         const std::string& place) {
  const std::string expected = complaint(spec, value);
  if (!expected.empty()) {
    refuse(command, text(place, "--", spec.name, " is ", excerpt(value), ", expected ", expected));
  }
  if (gflags::SetCommandLineOption(spec.name.c_str(), value.c_str()).empty()) {
    refuse(command,
           text(place, "--", spec.name, " is ", excerpt(value), ", expected ", expectation(spec)));
  }
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
    throw Error(Cause::io, text(place, "the flagfile '", printable(path), "' is longer than ",
                                in_bytes(kMostFlagfileBytes), "; is it another kind of file?"));
  }
  if (!file.eof()) {  // Not opened, or a folder, which opens and cannot be read.
    throw Error(Cause::io, text(place, path_error("read the flagfile", printable(path), errno)));
  }
  return contents;
}

/// Sets flags from settings, following those that are themselves --flagfile. `flagfiles` counts
/// them: a few that name each other many times would otherwise be read without end.
void apply(const Command& command, const std::vector<FlagSetting>& settings,
           const std::vector<Command>& all_commands, int depth, int& flagfiles,
           Arguments& arguments) {
  for (const FlagSetting& setting : settings) {
    if (setting.name == "flagfile") {
      if (depth == kDeepestFlagfile || ++flagfiles > kMostFlagfiles) {
        throw Error(Cause::usage, text(place_of(setting), "flagfiles name each other more than ",
                                       kDeepestFlagfile, " deep or ", kMostFlagfiles,
                                       " times; does one name itself?"));
      }
      const std::string contents = read_all(setting.value, place_of(setting));
      arguments.flagfiles.push_back(setting.value);
      apply(command, parse_flagfile(contents, setting.value), all_commands, depth + 1, flagfiles,
            arguments);
      continue;
    }
    const Named named = find_named(command, {setting.name, setting.value});
    if (named.spec == nullptr) {
      refuse_unknown(command, setting.name, place_of(setting), all_commands);
    }
    set_flag(command, setting);
    arguments.given.insert(named.spec->name);
  }
}

/// gflags writes 0.1 as 0.10000000000000001; this is the shortest text that reads back as the same
/// number.
std::string shortest(const std::string& type, const std::string& value) {
  const std::optional<double> number = is_real(type) ? parse_real(value) : std::nullopt;
  if (!number) return value;
  char letters[32];
  const std::to_chars_result end = std::to_chars(letters, letters + sizeof letters, *number);
  return {letters, end.ptr};
}

/// Breaks a text at spaces to lines of the help's width; all but the first line are indented.
std::string wrapped(const std::string& words, std::size_t indent) {
  std::istringstream stream(words);
  std::string lines;
  std::size_t column = indent;
  for (std::string word; stream >> word;) {
    if (column > indent && column + 1 + word.size() > kHelpWidth) {
      lines += "\n" + std::string(indent, ' ');
      column = indent;
    }
    if (column > indent) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += word.size();
  }
  return lines;
}

std::string help_of(const FlagSpec& spec) {
  const FlagDescription about = describe(spec);
  std::string left =
      about.is_switch ? "  --[no]" + spec.name : "  --" + spec.name + "=" + about.default_value;
  if (left.size() + 2 > kFlagColumn) {
    left += "\n" + std::string(kFlagColumn, ' ');
  } else {
    left.resize(kFlagColumn, ' ');
  }
  const std::string right =
      about.meaning + (about.details.empty() ? "" : " [" + about.details + "]");
  return left + wrapped(right, kFlagColumn) + "\n";
}

/// The value of a flag that stands without "=": true for a switch, else the next word, if it can be
/// one.
std::string value_after(const Command& command, const Named& named, const std::string& name,
                        const std::vector<std::string>& words, std::size_t& i) {
  if (named.spec != nullptr && is_switch(*named.spec)) return "true";
  if (i + 1 < words.size() && !words[i + 1].starts_with("--")) return words[++i];
  refuse(command, text("--", name, " has no value, expected ",
                       named.spec != nullptr ? expectation(*named.spec) : "a file"));
}

void set_defaults(const Command& command) {
  for (const FlagSpec& spec : command.flags) {
    if (!spec.default_value) continue;
    CHECK(!gflags::SetCommandLineOptionWithMode(spec.name.c_str(), spec.default_value->c_str(),
                                                gflags::SET_FLAGS_DEFAULT)
               .empty())
        << "--" << spec.name << ": bad default " << *spec.default_value;
  }
}

/// Whether all that must be there is, and no more than may be.
void check_complete(const Command& command, const Arguments& arguments) {
  for (const FlagSpec& spec : command.flags) {
    if (spec.bound.required && flag_value(spec.name).empty()) {
      refuse(command, text("micrec ", command.name, " needs --", spec.name,
                           spec.unit.empty() ? "" : "=" + spec.unit, ": ", describe(spec).meaning));
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

Bound at_least(double minimum) {
  Bound bound;
  bound.minimum = minimum;
  return bound;
}

Bound above(double minimum) {
  Bound bound = at_least(minimum);
  bound.above_minimum = true;
  return bound;
}

Bound between(double minimum, double maximum) {
  Bound bound = at_least(minimum);
  bound.maximum = maximum;
  return bound;
}

Bound one_of(std::vector<std::string> choices) {
  Bound bound;
  bound.choices = std::move(choices);
  return bound;
}

Bound list_at_least(double minimum) {
  Bound bound = at_least(minimum);
  bound.list = true;
  return bound;
}

Bound required() {
  Bound bound;
  bound.required = true;
  return bound;
}

Bound written_as(std::string grammar, std::function<std::string(const std::string&)> check) {
  Bound bound;
  bound.grammar = std::move(grammar);
  bound.check = std::move(check);
  return bound;
}

FlagSpec may_change(FlagSpec spec) {
  spec.on_resume = OnResume::may_change;
  return spec;
}

FlagSpec recorded(FlagSpec spec) {
  spec.on_resume = OnResume::recorded;
  return spec;
}

FlagDescription describe(const FlagSpec& spec) {
  const gflags::CommandLineFlagInfo info = info_of(spec.name);
  FlagDescription about;
  about.is_switch = info.type == "bool";
  about.default_value = spec.default_value.value_or(shortest(info.type, info.default_value));
  about.meaning = spec.meaning.empty() ? info.description : spec.meaning;
  about.details = with_unit(spec, "; ");
  if (about.is_switch) {
    about.details = about.default_value == "true" ? "on unless --no" + spec.name : "off by default";
  }
  return about;
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
  set_defaults(command);
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
    if (named.spec == nullptr && word.name != "flagfile") {
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
  const std::string place = place_of(setting);
  const Named named = find_named(command, {setting.name, setting.value});
  if (named.spec == nullptr) refuse_unknown(command, setting.name, place, {});
  std::string value = setting.value;
  if (!named.positive) {
    if (value != "true") {
      refuse(command, text(place, "--", setting.name, " takes no value; write --", setting.name,
                           " or --", named.spec->name, "=", printable(value)));
    }
    value = "false";
  }
  set(command, *named.spec, value, place);
}

void set_flags_not_given(const Command& command, const std::vector<FlagSetting>& settings,
                         const Arguments& arguments) {
  for (const FlagSetting& setting : settings) {
    const Named named = find_named(command, {setting.name, setting.value});
    if (named.spec != nullptr && arguments.is_given(named.spec->name)) continue;
    set_flag(command, setting);
  }
}

std::string flag_value(const std::string& name) {
  const gflags::CommandLineFlagInfo info = info_of(name);
  return shortest(info.type, info.current_value);
}

std::vector<int> integer_list(const std::string& name) {
  std::vector<int> numbers;
  for (const std::string& part : split(flag_value(name), ',')) {
    const std::optional<std::int64_t> one = parse_integer(part);
    CHECK(one) << "--" << name << " is not checked by a list bound";
    numbers.push_back(static_cast<int>(*one));
  }
  return numbers;
}

std::vector<RunSetting> settings_of(const Command& command) {
  std::vector<RunSetting> settings;
  for (const FlagSpec& spec : command.flags) {
    settings.push_back({spec.name, flag_value(spec.name), spec.on_resume});
  }
  return settings;
}

std::string to_flagfile(const Command& command) {
  std::string lines;
  std::string group;
  for (const FlagSpec& spec : command.flags) {
    if (spec.group != group) {
      lines += (group.empty() ? "# " : "\n# ") + spec.group + "\n";
      group = spec.group;
    }
    lines += "--" + spec.name + "=" + flag_value(spec.name) + "\n";
  }
  return lines;
}

std::vector<FlagSetting> read_flagfile(const std::string& path) {
  return parse_flagfile(read_all(path, ""), path);
}

std::string help_of(const Command& command) {
  std::string help = text("micrec ", command.name, ": ", command.summary, "\n\n", "Usage    ",
                          command.usage, "\nExample  ", command.example, "\n");
  std::vector<std::string> groups;
  for (const FlagSpec& spec : command.flags) {
    if (std::ranges::find(groups, spec.group) == groups.end()) groups.push_back(spec.group);
  }
  for (const std::string& group : groups) {
    help += "\n" + group + "\n";
    for (const FlagSpec& spec : command.flags) {
      if (spec.group == group) help += help_of(spec);
    }
  }
  help +=
      "\nA value is written --name=value or --name value. --flagfile=FILE reads flags from a "
      "file.\n";
  return help;
}

}  // namespace micrec
