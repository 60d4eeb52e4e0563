#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/timer.h"
#include "command_line/command.h"
#include "data/preparation.h"

namespace micrec {

// What the two commands that make a data set have in common.

/// Their flags, as they are written.
struct PreparationFlags {
  std::string out;
  std::string core;
  std::string split = "ratio:8:1:1";
  std::string hold_out;
  std::uint64_t seed = 0;
};

/// `domain`: whose threshold the help's example has.
Flag core_flag(PreparationFlags& options, const std::string& group, const std::string& domain);
/// `rules`: those that the command knows.
Flag split_rule_flag(PreparationFlags& options, const std::string& rules,
                     const std::string& meaning);
Flag hold_out_flag(PreparationFlags& options);

/// What they say, and the command line as provenance. `table`: the command's flags.
/// Errors   those of parse_split_rule(), parse_core_rule() and parse_hold_out().
PreparationOptions preparation_options(const std::string& command, const PreparationFlags& flags,
                                       const std::vector<Flag>& table, const Arguments& arguments);

/// Writes the data set to `out` and tells on stderr what is in it and what that took.
void write_and_tell(const PreparedDataset& dataset, const std::string& out, const Timer& timer);

}  // namespace micrec
