#pragma once

#include <vector>

#include "command_line/command.h"

namespace micrec {

// Each is made in the file of its name.
Command synth_command();
Command prepare_command();
Command plan_command();
Command train_command();
Command evaluate_command();
Command compare_command();
Command recommend_command();
Command similar_command();
Command serve_command();
Command export_command();
Command report_command();
Command inspect_command();
Command verify_command();

/// All commands, in the order in which a user meets them.
inline std::vector<Command> all_commands() {
  return {synth_command(),    prepare_command(), plan_command(),      train_command(),
          evaluate_command(), compare_command(), recommend_command(), similar_command(),
          serve_command(),    export_command(),  report_command(),    inspect_command(),
          verify_command()};
}

}  // namespace micrec
