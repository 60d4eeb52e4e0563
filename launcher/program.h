#pragma once

#include <string>
#include <utility>
#include <vector>

#include "command_line/command.h"

namespace micrec {

/// The program without its process: finds the command, sets its flags, runs it, and turns an error
/// into one sentence on stderr. `words` are the command line without the program's name. Tests can
/// call it again and again: a command's flags begin at their defaults.
///
/// Ranks    Bad flags are found before a command joins other ranks; under mpirun rank 0 alone
///          reports them.
/// Errors   none thrown; returns the exit code: 0, that of the Cause, kExitStopped, or 1 for what
///          no rule covers.
int run_program(const std::vector<std::string>& words, const std::vector<Command>& commands);

/// What the program was built with, and what of it serves this machine, by name: "micrec",
/// "compiler", "LibTorch", ...
std::vector<std::pair<std::string, std::string>> program_versions();

}  // namespace micrec
