#include "command_line/manual.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr std::size_t kHelpWidth = 100;
constexpr std::size_t kFlagColumn = 30;

constexpr const char* kAbout[] = {
    "micrec trains one recommender over several domains, on any number of ranks, and keeps it "
    "useful for",
    "users and items that did not exist when it was trained."};

struct ExitCode {
  int code;
  const char* meaning;
};
constexpr std::array<ExitCode, 8> kExitCodes = {{{0, "done"},
                                                 {2, "usage"},
                                                 {3, "data"},
                                                 {4, "file system"},
                                                 {5, "cluster"},
                                                 {6, "checkpoint"},
                                                 {7, "diverged"},
                                                 {75,
                                                  "stopped after saving, start again with "
                                                  "--resume"}}};

/// The groups of a command's flags, in the order of its help.
std::vector<std::string> groups_of(const Command& command) {
  std::vector<std::string> groups;
  for (const Flag& flag : command.flags) {
    if (std::ranges::find(groups, flag.group) == groups.end()) groups.push_back(flag.group);
  }
  return groups;
}

/// What the flag is for, with its unit and bound in brackets.
std::string meaning_of(const Flag& flag, std::string (*quoted)(const std::string&)) {
  const std::string details = details_of(flag);
  return quoted(flag.meaning) + (details.empty() ? "" : " [" + quoted(details) + "]");
}

std::string replaced(std::string words, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = words.find(from, at)) != std::string::npos; at += to.size()) {
    words.replace(at, from.size(), to);
  }
  return words;
}

// --- Help ---

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

std::string help_of(const Flag& flag) {
  std::string left = flag.is_switch() ? "  --[no]" + flag.name
                                      : "  --" + flag.name + "=" + flag.value.default_text();
  if (left.size() + 2 > kFlagColumn) {
    left += "\n" + std::string(kFlagColumn, ' ');
  } else {
    left.resize(kFlagColumn, ' ');
  }
  const auto as_it_is = [](const std::string& words) { return words; };
  return left + wrapped(meaning_of(flag, as_it_is), kFlagColumn) + "\n";
}

// --- man ---

/// Words as roff shows them: hyphens that can be pasted, and no line that begins as a request.
std::string roff(const std::string& words) {
  std::string safe = replaced(replaced(words, "\\", "\\e"), "-", "\\-");
  if (safe.starts_with(".") || safe.starts_with("'")) safe.insert(0, "\\&");
  return safe;
}

std::string man_page_of(const Flag& flag) {
  const std::string& value = flag.value.default_text();
  const std::string name =
      flag.is_switch() ? "--[no]" + flag.name : "--" + flag.name + (value.empty() ? "=" : "");
  std::string entry = ".TP\n\\fB" + roff(name) + "\\fR";
  if (!value.empty() && !flag.is_switch()) entry += "=\\fI" + roff(value) + "\\fR";
  return entry + "\n" + meaning_of(flag, roff) + "\n";
}

std::string man_page_of(const Command& command) {
  std::string page = ".SH \"MICREC " + replaced(command.name, "-", "\\-") + "\"\n" +
                     roff(command.summary) + ".\n.PP\n.nf\n" + roff(command.usage) + "\n" +
                     roff(command.example) + "\n.fi\n";
  for (const std::string& group : groups_of(command)) {
    page += ".SS " + roff(group) + "\n";
    for (const Flag& flag : command.flags) {
      if (flag.group == group) page += man_page_of(flag);
    }
  }
  return page;
}

std::string man_page_of(const std::vector<Command>& commands) {
  std::string page =
      text(".TH MICREC 1 \"\" \"micrec ", MICREC_VERSION,
           "\" \"User Commands\"\n.SH NAME\nmicrec \\- train and use one recommender "
           "over several domains\n.SH SYNOPSIS\n\\fBmicrec\\fR \\fICOMMAND\\fR "
           "[\\fB\\-\\-\\fIFLAG\\fB=\\fIVALUE\\fR ...] [\\fIARGUMENT\\fR ...]\n"
           ".SH DESCRIPTION\n",
           roff(kAbout[0]), "\n", roff(kAbout[1]), "\n.SH COMMANDS\n");
  for (const Command& command : commands) {
    page += ".TP\n\\fB" + roff(command.name) + "\\fR\n" + roff(command.summary) + "\n";
  }
  page +=
      ".PP\nA value is written \\fB\\-\\-name=value\\fR or \\fB\\-\\-name value\\fR; beside a "
      "flag stands its default. \\fB\\-\\-flagfile\\fR=\\fIFILE\\fR reads flags from a file.\n";
  for (const Command& command : commands) page += man_page_of(command);
  page += ".SH \"EXIT STATUS\"\n";
  for (const ExitCode& exit : kExitCodes) {
    page += text(".TP\n\\fB", exit.code, "\\fR\n", roff(exit.meaning), "\n");
  }
  return page;
}

// --- Completion ---

/// What may stand for a flag on a command line: --name= where a value follows, and a switch both
/// ways.
std::vector<std::string> words_of(const Flag& flag) {
  if (flag.is_switch()) return {"--" + flag.name, "--no" + flag.name};
  return {"--" + flag.name + "="};
}

std::string names_of(const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  return join(names, " ");
}

std::string bash_completion_of(const std::vector<Command>& commands) {
  std::string flags, values;
  for (const Command& command : commands) {
    std::vector<std::string> words = {"--help", "--flagfile="};
    for (const Flag& flag : command.flags) {
      std::ranges::copy(words_of(flag), std::back_inserter(words));
      if (flag.value.choices().empty()) continue;
      values += text("    '", command.name, " --", flag.name, "') words='",
                     join(flag.value.choices(), " "), "' ;;\n");
    }
    flags += text("    ", command.name, ") words='", join(words, " "), "' ;;\n");
  }
  const std::string names = names_of(commands);
  return text(R"(# Completion of micrec's commands, flags and values for bash.
_micrec() {
  local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} flag='' words=''
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 || ( $command == help && $COMP_CWORD -eq 2 ) ]]; then
    mapfile -t COMPREPLY < <(compgen -W 'help version )",
              names, R"(' -- "$current")
    return
  fi
  # bash takes --flag=value for three words.
  if [[ $current == '=' ]]; then
    flag=${COMP_WORDS[COMP_CWORD - 1]} current=''
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == '=' ]]; then
    flag=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if [[ -n $flag ]]; then
    case "$command $flag" in
)",
              values, R"(    esac
  elif [[ $current == -* ]]; then
    case $command in
)",
              flags, R"(    esac
  fi
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [[ ${COMPREPLY[0]:-} != *= ]] || compopt -o nospace 2>/dev/null
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
  fi
}
complete -F _micrec micrec
)");
}

/// In single quotes, with a backslash before what means something to zsh's _arguments.
std::string zsh_quoted(const std::string& words) {
  std::string safe;
  for (const char letter : words) {
    if (letter == '[' || letter == ']' || letter == ':' || letter == '\\') safe += '\\';
    safe += letter;
  }
  return replaced(safe, "'", "'\\''");
}

std::string zsh_completion_of(const std::vector<Command>& commands) {
  std::string names, arguments;
  for (const Command& command : commands) {
    names += text("    '", zsh_quoted(command.name), ":", replaced(command.summary, "'", "'\\''"),
                  "'\n");
    arguments += text("    ", command.name, ")\n      _arguments \\\n",
                      "        '--help[show its flags]' \\\n",
                      "        '--flagfile=[read flags from a file]:file:_files' \\\n");
    for (const Flag& flag : command.flags) {
      const std::string meaning = "[" + zsh_quoted(flag.meaning) + "]";
      const std::string value = flag.value.choices().empty()
                                    ? ":value:_files"
                                    : ":value:(" + join(flag.value.choices(), " ") + ")";
      for (const std::string& word : words_of(flag)) {
        arguments += text("        '", word, meaning, word.ends_with("=") ? value : "", "' \\\n");
      }
    }
    arguments += "        '*:file:_files' ;;\n";
  }
  return text(
      "#compdef micrec\n# Completion of micrec's commands, flags and values for zsh.\n"
      "_micrec() {\n  local -a commands\n  commands=(\n    'help:show the commands, or the "
      "flags of one'\n",
      names,
      "  )\n  if (( CURRENT == 2 )) || [[ $words[2] == help ]]; then\n"
      "    _describe command commands\n    return\n  fi\n  case $words[2] in\n",
      arguments, "  esac\n}\n_micrec \"$@\"\n");
}

}  // namespace

std::string help_of(const std::vector<Command>& commands) {
  std::string help = text(kAbout[0], "\n", kAbout[1], "\n\nCommands\n");
  std::size_t widest = 0;
  for (const Command& command : commands) widest = std::max(widest, command.name.size());
  for (const Command& command : commands) {
    help += "  " + command.name + std::string(widest + 2 - command.name.size(), ' ') +
            command.summary + "\n";
  }
  help += "\nmicrec help COMMAND, or micrec COMMAND --help, shows its flags.\n\nExit codes ";
  for (const ExitCode& exit : kExitCodes) {
    if (exit.code == kExitCodes.back().code)
      help += ";\n           ";
    else if (exit.code != 0)
      help += ";";
    help += text(" ", exit.code, " ", exit.meaning);
  }
  return help + "\n";
}

std::string help_of(const Command& command) {
  std::string help = text("micrec ", command.name, ": ", command.summary, "\n\n", "Usage    ",
                          command.usage, "\nExample  ", command.example, "\n");
  for (const std::string& group : groups_of(command)) {
    help += "\n" + group + "\n";
    for (const Flag& flag : command.flags) {
      if (flag.group == group) help += help_of(flag);
    }
  }
  help +=
      "\nA value is written --name=value or --name value. --flagfile=FILE reads flags from a "
      "file.\n";
  return help;
}

std::string manual_of(const std::vector<Command>& commands, const std::string& format) {
  if (format == "man") return man_page_of(commands);
  if (format == "bash") return bash_completion_of(commands);
  if (format == "zsh") return zsh_completion_of(commands);
  throw Error(Cause::usage, "--format is '", format, "', expected one of man, bash, zsh");
}

}  // namespace micrec
