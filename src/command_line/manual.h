#pragma once

#include <string>
#include <vector>

#include "command_line/command.h"

namespace micrec {

/// The list of commands and the exit codes, as `micrec help` prints them.
std::string help_of(const std::vector<Command>& commands);

/// The help of one command: usage, example and its flags in groups with default, unit and bound.
std::string help_of(const Command& command);

/// All commands and their flags in the form that another program reads: "man" (a page for man),
/// "bash" or "zsh" (completion of commands, flags and their values). Made of the table that the
/// help and the checks of flags are made of; `cmake --install` writes each to its place.
/// Errors   Error(usage): another format.
std::string manual_of(const std::vector<Command>& commands, const std::string& format);

}  // namespace micrec
