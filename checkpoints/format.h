#pragma once

#include <cstdint>

// The checkpoint format, version 1
// ================================
//
// A checkpoint is a directory in RUN_DIR/checkpoints. In RUN_DIR:
//
//   item_regression.h5             of a run with item regression, written before its first step
//   semantic_neighbours.text.h5    of each modality that semantic neighbours are found by, likewise
//   checkpoints/
//     step-000000001200/           the step, 12 digits
//       manifest.json              what is in it; a directory that has lost it is a damaged one
//       shard-00000.h5             HDF5, one file for every rank that saved
//       shard-00001.h5
//       complete                   --commit=marker only: the manifest's checksum, 32 hexadecimal
//                                  digits and a line end
//     best.json                    {"checkpoint": "step-000000000900"}, replaced by a rename
//     .step-000000001400.writing   being written, or left by a run that died: never read
//     .step-000000001400.writing.replaced   for an instant, on file systems that cannot exchange
//                                  two names: the one of the same step, which gets its name back
//     .step-000000000300.deleting  being removed
//
// How it becomes complete (the manifest's field `commit` says which way was taken)
//   rename   Written under the name .step-...writing, where each file is synchronized with the
//            disk, then the directory; then renamed, and checkpoints/ synchronized. It is complete
//            from the moment it has its name.
//   marker   For file systems that cannot rename a directory in one instant (object stores behind a
//            mount, some network file systems). Written under its own name, where the file
//            `incomplete` is made first. Shards, manifest and directory are synchronized, then
//            `complete` is written and synchronized, at last `incomplete` removed. It is complete
//            when `complete` is there and names the checksum of the manifest; a directory with
//            `incomplete` and without `complete` is not a checkpoint. To remove one, `incomplete`
//            is made and `complete` removed first. Only best.json and files of the log need a
//            rename, of a single file. A checkpoint of the same step is removed before the new
//            one is written: of an earlier attempt of the run, or of a run that was stopped
//            before this step's validation, which has found it the best.
// In both ways older checkpoints are removed only after the new one is complete. What a run that
// died has left half written or half removed is removed when the next one opens the directory.
//
// shard-%05d.h5
//   Attributes of the root: format = "micrec checkpoint shard", format_version = 1, shard (int64,
//   its number), step (int64).
//   /tensors/<name>                one group a tensor, with the attribute description (string)
//     value                        sharded tensors: (n, ...), the rows that this rank owned;
//                                  replicated tensors: the whole, in shard 0 only (a scalar has
//                                  shape (1))
//     row        int64 (n)         sharded tensors only: the global row of each row of value,
//                                  strictly rising
//     adam_m, adam_v               trained tensors only: first and second moments of Adam, type and
//                                  shape of value
//   Element types are float32, float64, int64, int32 and uint8. Over all shards each global row of
//   a sharded tensor appears exactly once; which shard holds it means nothing to a reader, so any
//   number of ranks can restore what any other number has saved.
//
// manifest.json
//   format                      "micrec checkpoint"
//   format_version              1
//   commit                      "rename" or "marker"; where it is absent, "rename"
//   step, epoch                 of the state: the next step to take is step + 1
//   best_metric, best_step, validations_without_improvement
//                               early stopping; a number that is not finite is "nan", "inf" or
//                               "-inf"
//   config                      the flagfile of the run, as text; lines that begin with
//                               kHistoryLine say which settings were changed on the way
//   dataset                     {path, fingerprint}
//   world_size, grid            of the run that saved; a reader needs neither
//   extra                       object of strings, for whoever saves
//   item_regression             {file, bytes, xxh3_128}: the coefficients of the run's item
//                               regression, written once, in the folder that holds checkpoints/
//                               (checkpoints/coefficient_file.h); absent where it has none
//   rows                        global rows of the sharded tensors, over all shards
//   shards                      [{file, bytes, rows, xxh3_128, block_bytes, datasets}]: size and
//                               digest of every file. The digest is 128-bit XXH3 in hexadecimal, as
//                               `xxh128sum` prints it
//     datasets                  [{name, offset, bytes, rows, xxh3_64}]: where the elements of each
//                               dataset of the file lie, and the 64-bit XXH3 of each of its blocks
//                               of block_bytes (the last may be shorter), 16 hexadecimal digits
//                               each, one after the other. They say which dataset and which rows
//                               damage has met; checkpoints of older programs lack them
//   tensors                     [{name, type, shape, sharded, trained, description}]: shape as of
//                               the whole tensor
//   checksum                    128-bit XXH3 of this object without this field, written without
//                               spaces and with sorted keys
//
// Compatibility: a reader refuses a format_version above its own and reads all below. Fields may be
// added within a version.

namespace micrec {

inline constexpr char kCheckpointFormat[] = "micrec checkpoint";
inline constexpr char kCheckpointShardFormat[] = "micrec checkpoint shard";
inline constexpr std::int64_t kCheckpointFormatVersion = 1;

inline constexpr char kCheckpointManifestFile[] = "manifest.json";
inline constexpr char kCheckpointBestFile[] = "best.json";
inline constexpr char kCheckpointCompleteFile[] = "complete";
inline constexpr char kCheckpointIncompleteFile[] = "incomplete";
inline constexpr char kCheckpointWritingSuffix[] = ".writing";
inline constexpr char kCheckpointDeletingSuffix[] = ".deleting";

/// Begins the lines of a run's flagfile that say which settings were changed on the way; whoever
/// reads a flagfile skips them.
inline constexpr char kHistoryLine[] = "# from step ";

/// Bytes of a dataset that have one digest in the manifest.
inline constexpr std::int64_t kCheckpointBlockBytes = std::int64_t{1} << 20;

}  // namespace micrec
