#pragma once

#include <functional>
#include <string>
#include <vector>

#include "command_line/flags.h"

namespace micrec {

/// One command of the program: `micrec <name> [--flags] [arguments]`, made in launcher/<name>.cpp.
struct Command {
  std::string name;
  std::string summary;      ///< one line for the list of commands, without a full stop
  std::string usage;        ///< "mpirun -np RANKS micrec train --dataset=FILE --run_dir=FOLDER"
  std::string example;      ///< a line that can be pasted
  std::vector<Flag> flags;  ///< all flags it knows, in the order of its help

  int min_arguments = 0;
  int max_arguments = 0;
  /// What plain arguments are, "a file or a run folder"; empty where it takes none.
  std::string arguments;

  /// Its run() sets more flags by those that were given, and tells then which have no effect; of
  /// other commands the program tells it.
  bool tells_idle_flags = false;

  /// Does the work, with the flags already checked and in the fields that they set, and returns the
  /// exit code of a run that was not wrong: 0, or kExitStopped. It shares the options with the
  /// flags. Results go to stdout, everything else to the log.
  ///
  /// Errors   throws Error; check what flags mean together before joining the other ranks.
  std::function<int(const Arguments&)> run;
};

/// The command of that name. Errors: Error(usage) with the nearest where there is none.
const Command& command_named(const std::vector<Command>& commands, const std::string& name);

}  // namespace micrec
