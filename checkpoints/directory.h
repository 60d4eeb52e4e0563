#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "cluster/agreement.h"

namespace micrec {

// What a directory of checkpoints holds, for programs that only read. Ranks: local.

/// The folder of a run's checkpoints, there or not. Errors: Error(Cause::io) where run_dir is a
/// file.
std::string checkpoints_of(const std::string& run_dir);

/// Names of the published checkpoints, damaged or not, by rising step.
std::vector<std::string> list_checkpoints(const std::string& directory);

/// Path of the one with the most steps, damaged or not.
std::optional<std::string> newest_checkpoint(const std::string& directory);

/// Path of the one that was the best; nothing where none is named, or the one named is not there.
/// Where there is no best.json, the newest checkpoint names it.
/// Errors   Error(Cause::checkpoint) where best.json is damaged.
std::optional<std::string> best_checkpoint(const std::string& directory);

/// Its name, whether or not the one that best.json names is there. Errors: as above.
std::optional<std::string> best_checkpoint_name(const std::string& directory);

/// The newest checkpoint that passes verification. What was damaged on the way to it is told in
/// `stepped_over`, newest first.
/// Errors   Error(Cause::checkpoint) where there is none, saying of each why; NewerFormat where
///          only a newer program can read the newest; Error(Cause::io) where the system does not
///          let it be read, which says nothing about what it holds.
Checkpoint open_newest_valid(const std::string& directory, Verify verify,
                             std::vector<std::string>* stepped_over = nullptr);

/// The same of these names by rising step, as Checkpoint::open() opens.
Checkpoint open_first_valid(const std::string& directory, const std::vector<std::string>& names,
                            Verify verify, Communicator* ranks,
                            std::vector<std::string>* stepped_over);

// What a store does to its directory; rank 0 alone, but for begin_checkpoint. All throw
// Error(Cause::io) or a std::system_error.

/// The folder in which a checkpoint of this name is written.
std::string place_to_write(const std::string& directory, const std::string& name, Commit commit);

/// Makes that folder, on whichever rank comes first.
void begin_checkpoint(const std::string& place, Commit commit);

/// Removes a checkpoint so that no instant shows a part of one as complete.
void remove_checkpoint(const std::string& directory, const std::string& name, Commit commit);

/// Removes what runs that died have left half written or half removed.
void remove_leftovers(const std::string& directory);

/// Removes the checkpoints that are not kept: all but the published, the best and the last
/// `keep_last` before it. Those of later steps are of an earlier attempt of the run.
void remove_old_checkpoints(const std::string& directory, const std::string& published,
                            int keep_last, Commit commit);

/// Makes best.json name this checkpoint.
void name_best(const std::string& directory, const std::string& name);

/// Has best.json name the newest checkpoint where that says to be the best so far: a run may have
/// died between publishing it and naming it.
void name_newest_if_best(const std::string& directory);

/// Has best.json not name what a run that goes on from an older checkpoint has left behind: a
/// checkpoint of a later step than the published one, or nothing at all because it is damaged. It
/// then names the run's best so far, or is removed where that is not there.
void correct_best(const std::string& directory, const std::string& published,
                  const std::string& best_so_far);

}  // namespace micrec
