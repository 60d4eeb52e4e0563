#pragma once

#include "base/timer.h"
#include "data/preparation.h"
#include "launcher/command.h"

namespace micrec {

// What the two commands that make a data set have in common.

/// What --split, --core, --hold_out and --seed say, and the command line as provenance.
/// Errors   those of parse_split_rule(), parse_core_rule() and parse_hold_out().
PreparationOptions preparation_options_from_flags(const Command& command,
                                                  const Arguments& arguments);

/// Writes the data set to --out and tells on stderr what is in it and what that took.
void write_and_tell(const PreparedDataset& dataset, const Timer& timer);

}  // namespace micrec
