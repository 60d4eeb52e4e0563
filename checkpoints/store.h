#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/timer.h"
#include "checkpoints/checkpoint.h"
#include "checkpoints/directory.h"
#include "checkpoints/host_copy.h"
#include "cluster/communicator.h"

namespace micrec {

/// The instants of a save, in their order. What a run that dies at any of them leaves is the older
/// checkpoints and, from `renamed` on, the new one.
enum class SaveStep {
  begun,             ///< the folder is there; every rank
  shard_written,     ///< in the hands of the operating system; every rank
  shard_synced,      ///< on the disk; every rank
  manifest_written,  ///< with all that it lists on the disk; rank 0, as all below
  renamed,           ///< the checkpoint has its name, or its marker
  parent_synced,     ///< and keeps it if the machine fails
  best_named,        ///< best.json names it; best checkpoints only
  old_removed,       ///< those no longer kept are gone
};

struct SaveOptions {
  bool is_best = false;  ///< the best so far by the validation metric
  int keep_last =
      3;  ///< checkpoints kept, the new one counted; the best is kept besides; at least 1
  Commit commit = Commit::rename;
  /// Values of trained tensors that are not finite are an Error(Cause::diverged), and not saved.
  bool refuse_not_finite = false;
  /// Called at each instant, on the thread that writes; an exception of it fails the save. For
  /// tests.
  std::function<void(SaveStep)> on_step = {};
};

/// A checkpoint that has been published, and what it cost.
struct SavedCheckpoint {
  std::string name;  ///< "step-000000001200"
  std::int64_t step = 0;
  std::int64_t bytes = 0;      ///< of all files of all ranks
  double seconds = 0;          ///< from the moment asked for until it was published
  double blocked_seconds = 0;  ///< of these the caller of this rank waited
  double copy_seconds = 0;     ///< of these it copied the state; 0: it was written as it was
  double write_seconds = 0;    ///< of the slowest rank, to write, synchronize and digest its file
};

/// The checkpoints of one run: a directory that one run at a time writes to.
///
/// A checkpoint is complete or is none (checkpoints/format.h): it is written beside, synchronized
/// with the disk file by file, and published in one instant. At no instant are there fewer complete
/// checkpoints than before.
///
/// A save goes on in the background in phases, each of which the ranks end together: (1) every
/// rank writes its file; (2) rank 0 publishes; (3) rank 0 names the best and removes old ones. The
/// background thread never talks to other ranks: part_done() says whether this rank's part of the
/// phase is done, and once it is on all ranks, which they learn in a collective that they do
/// anyway, all call advance(). It is the only thread of a rank that uses HDF5 while it writes;
/// others, that read the dataset meanwhile, wait for a piece of 16 MiB at most (io/hdf5.h).
class CheckpointStore {
 public:
  /// Creates the directory (RUN_DIR/checkpoints) where it is missing, and removes what runs that
  /// died left half written. The communicator carries host tensors and outlives this.
  ///
  /// Ranks    collective.
  /// Errors   Error(Cause::io) on all ranks where it cannot be created.
  CheckpointStore(std::string directory, Communicator& communicator);

  /// A save that is not finished is abandoned, and no trace of it is read; a synchronization with
  /// the disk that is under way is waited for. Ranks: local.
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  /// Tells what will be saved: the time for it can then be predicted, and with `copies` the memory
  /// of start_save() is taken now, not in the first save. Ranks: local.
  void expect(const std::vector<CheckpointTensor>& tensors, bool copies);

  /// Begins to save. The tensors are copied into host memory, and may change from then on: what is
  /// saved is what they are now. A checkpoint of the same step is replaced; those of later steps,
  /// which an earlier attempt has left, are removed: this run is the run's future now.
  ///
  /// Shapes   owned: global rows of this rank, strictly rising; tensors as in CheckpointTensor, the
  ///          same names in the same order on all ranks.
  /// Ranks    all, in step; waits for none of them (with Commit::marker, only where a checkpoint of
  ///          the same step is there already). No other save may be under way.
  /// Errors   CHECK on shapes and names; those of the write come from advance() or finish_save().
  /// Cost     One copy of the tensors and as much memory.
  void start_save(const CheckpointInfo& info, const std::vector<GlobalNode>& owned,
                  const std::vector<CheckpointTensor>& tensors, const SaveOptions& options = {});

  /// Whether a save is under way: the same on all ranks.
  bool saving() const { return pending_ != nullptr; }

  /// Whether this rank's part of the phase is done; false where nothing is under way. Ranks: local.
  bool part_done() const;

  /// Ends a phase whose parts are done on all ranks. The checkpoint, once it is published and the
  /// last phase is over.
  ///
  /// Ranks    collective.
  /// Errors   Error on all ranks when any rank could not write (Cause::io) or refused to
  ///          (Cause::diverged): nothing is published, what was written is removed, all older
  ///          checkpoints stay.
  std::optional<SavedCheckpoint> advance();

  /// Waits for the save that is under way, however long its disk takes: no collective waits longer
  /// than a second for it. Nothing where none is. Ranks: collective. Errors: as advance().
  std::optional<SavedCheckpoint> finish_save();

  /// Saves and returns when it is published. Without a copy of the tensors. Ranks: collective.
  /// Errors   as start_save() and advance().
  SavedCheckpoint save(const CheckpointInfo& info, const std::vector<GlobalNode>& owned,
                       const std::vector<CheckpointTensor>& tensors,
                       const SaveOptions& options = {});

  /// How long a save asked for now would take until it is published, the rest of one that is under
  /// way included: the longest so far, or before the first a guess from the bytes expected. Ranks:
  /// local; only rank 0 knows how long publishing takes.
  double predicted_save_seconds() const;

  /// The newest checkpoint that is whole, every byte of it verified once, the files divided among
  /// the ranks; all ranks have the same. What was damaged on the way to it is told in
  /// `stepped_over`, newest first.
  ///
  /// Ranks    collective.
  /// Errors   Error(Cause::checkpoint) on all ranks where there is none, or none that is whole: it
  ///          says what is wrong with each. NewerFormat where only a newer program can read it;
  ///          Error(Cause::io) where the system does not let one be read.
  Checkpoint open_newest_valid(std::vector<std::string>* stepped_over = nullptr) const;

  const std::string& directory() const { return directory_; }
  int ranks() const { return communicator_.size(); }

 private:
  struct Pending;

  void begin(const CheckpointInfo& info, const std::vector<GlobalNode>& owned,
             const std::vector<CheckpointTensor>& tensors, const SaveOptions& options, bool copies);
  std::optional<SavedCheckpoint> end_phase();
  void clear_place(const std::string& name);
  std::vector<CheckpointTensor> written_here(const std::vector<CheckpointTensor>& tensors) const;

  std::string directory_;
  Communicator& communicator_;
  std::set<std::string> names_there_;  // of checkpoints, the same on all ranks
  HostCopy copy_;
  std::int64_t expected_bytes_ = 0;
  double longest_save_seconds_ = 0;
  std::unique_ptr<Pending> pending_;
  std::future<void> background_;  // this phase; last: it ends before what it uses
};

}  // namespace micrec
