#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "cluster/agreement.h"
#include "cluster/communicator.h"

namespace micrec {

/// A named tensor of the training state. Types: float32, float64, int64, int32, uint8; on any
/// device.
struct CheckpointTensor {
  std::string name;         // unique, without '/'
  at::Tensor value;         // sharded: (owned rows, ...); replicated: any shape, equal on all ranks
  at::Tensor adam_m;        // as value; undefined where not trained
  at::Tensor adam_v;        // as value; undefined where not trained
  bool sharded = false;     // one row a node, on the rank that owns the node
  std::string description;  // for people who open the file
};

/// What a file of a checkpoint has of a tensor, by the names of its datasets; moments may not be
/// defined.
inline constexpr std::pair<const char*, at::Tensor CheckpointTensor::*> kTensorParts[] = {
    {"value", &CheckpointTensor::value},
    {"adam_m", &CheckpointTensor::adam_m},
    {"adam_v", &CheckpointTensor::adam_v},
};

/// A file as a manifest names it.
struct StoredFile {
  std::string file;  // its name in the checkpoint, or of item regression in the run's folder
  std::int64_t bytes = 0;
  std::string xxh3_128;  // 32 hexadecimal digits

  bool operator==(const StoredFile&) const = default;
};

/// Everything of a run's state that is not a tensor.
struct CheckpointInfo {
  std::int64_t step = 0;   // steps taken
  std::int64_t epoch = 0;  // epochs completed
  double best_metric = 0;  // need not be finite
  std::int64_t best_step = 0;
  std::int64_t validations_without_improvement = 0;
  std::string config;  // flagfile text
  std::string dataset_path;
  std::string dataset_fingerprint;
  int world_size = 1;
  std::string grid;  // "RxC"
  std::map<std::string, std::string> extra;
  std::optional<StoredFile> item_regression;  // checkpoints/coefficient_file.h
};

/// What a checkpoint says about one of its tensors.
struct StoredTensor {
  std::string name;
  std::string type;                 // "float32", ...
  std::vector<std::int64_t> shape;  // of the whole tensor; sharded: (global rows, ...)
  bool sharded = false;
  bool trained = false;  // adam_m and adam_v are stored
  std::string description;
};

/// Where the elements of a dataset lie in a file of a checkpoint, and what they are.
struct StoredDataset {
  std::string name;         // "/tensors/templates/value"
  std::int64_t offset = 0;  // in the file
  std::int64_t bytes = 0;
  std::int64_t rows = 0;
  std::string xxh3_64;  // 16 hexadecimal digits a block
};

/// One file of a checkpoint.
struct StoredShard : StoredFile {
  std::int64_t rows = 0;
  std::int64_t block_bytes = 0;              // of the datasets' digests
  std::vector<StoredDataset> datasets = {};  // empty in checkpoints of older programs
};

/// How a checkpoint becomes complete; see checkpoints/format.h.
enum class Commit {
  rename,  ///< its directory takes its name
  marker,  ///< its last file is written
};

/// The contents of manifest.json; its form is described in checkpoints/format.h.
struct Manifest {
  Commit commit = Commit::rename;
  CheckpointInfo info;
  std::int64_t rows = 0;
  std::vector<StoredShard> shards;
  std::vector<StoredTensor> tensors;
  std::string checksum;  // its own, where it was read from a file
};

/// How much of a checkpoint is compared with its manifest before anything is used.
enum class Verify {
  sizes,      ///< the manifest itself and the size of every file
  checksums,  ///< every byte
};

/// A published checkpoint, opened for reading by any number of ranks, also by none of those that
/// saved it.
///
/// Errors   Error(Cause::checkpoint) where it is missing, not a checkpoint, incomplete, of a
///          version that this program does not read, damaged (file, dataset and rows are named) or
///          does not hold what is asked for; Error(Cause::io) where the system cannot read it.
class Checkpoint {
 public:
  /// Opens a step-... directory. Ranks: local, each reads all it verifies; with `ranks` collective,
  /// the files divided among them: damage is an Error on all.
  static Checkpoint open(const std::string& directory, Verify verify = Verify::checksums,
                         Communicator* ranks = nullptr);
  static Checkpoint open(const std::string& directory, Communicator& ranks) {
    return open(directory, Verify::checksums, &ranks);
  }
  /// The same for whoever can do without: nothing where it cannot be used, and `why` says why.
  static std::optional<Checkpoint> try_open(const std::string& directory, Verify verify,
                                            Communicator* ranks, Failure& why);

  const std::string& directory() const { return directory_; }
  std::string name() const;  ///< "step-000000001200"
  const CheckpointInfo& info() const { return manifest_.info; }
  const std::vector<StoredTensor>& tensors() const { return manifest_.tensors; }
  const std::vector<StoredShard>& shards() const { return manifest_.shards; }
  std::int64_t rows() const { return manifest_.rows; }  ///< global rows of the sharded tensors
  std::int64_t bytes() const;                           ///< of all files
  Commit commit() const { return manifest_.commit; }

  /// Fills the given tensors in place, by name: replicated ones whole, sharded ones with the rows
  /// `owned` (strictly rising, row i of the tensor is node owned[i]) from whatever files hold them.
  /// With the optimizer's state, adam_m and adam_v are filled wherever they are defined.
  ///
  /// Ranks    local; the ranks that restore need not be those that saved, nor as many.
  /// Errors   Error(Cause::checkpoint) where tensors are absent or of another type, shape or kind,
  ///          each named, before anything is filled; or where a row is in no file or in two: it
  ///          names tensor, row and file, and what has been filled until then stays.
  /// Cost     Reads the row numbers of all files, and of the values the chunks that hold rows of
  ///          this rank; memory beyond the tensors is bounded by a chunk of 16 MiB.
  void restore(const std::vector<GlobalNode>& owned, std::vector<CheckpointTensor>& into,
               bool with_optimizer_state) const;

 private:
  Checkpoint(std::string directory, Verify verified)
      : directory_(std::move(directory)), verified_(verified) {}

  std::string directory_;
  Verify verified_;  // of all files, by this rank or another
  Manifest manifest_;
};

}  // namespace micrec
