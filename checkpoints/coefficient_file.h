#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "cluster/communicator.h"
#include "kernels/sparse_rows.h"

// Files of coefficients between items, versions 1 and 2
// =====================================================
//
// RUN_DIR/item_regression.h5, beside RUN_DIR/checkpoints: the fitted coefficients of item
// regression. HDF5. It is written once, before the first step, and never changed; the manifest of
// each checkpoint names it with size and digest (checkpoints/format.h). Written under the name
// item_regression.h5.writing, synchronized with the disk and renamed; what a run that died has left
// under that name is never read, and replaced.
//
// RUN_DIR/semantic_neighbours.MODALITY.h5, of a model that has these: the nearest items of each
// item by that modality, so that they are searched for once. It is written in the same way, and no
// manifest names it: who finds it missing, damaged or of other settings searches again.
//
//   /                              attributes
//     format               text    "micrec item regression" or "micrec semantic neighbours"
//     format_version       int64   1; 2 where the settings of a domain name a recency: then not all
//                                  of a history counts 1 (src/model/item_regression/recency.h)
//     dataset_fingerprint  text    of the dataset file that it is of
//     settings             text    how it was fitted, or searched for, as JSON
//     items                int64   over all domains; each is a target and may be a source
//
//   /offsets  (items + 1)     int64    where the coefficients of each target begin; at last, where
//                                      they end
//   /source   (coefficients)  int32    the item that a coefficient multiplies, strictly rising
//                                      within a target
//   /value    (coefficients)  float32  finite
//
// Items are numbered over all domains: the items of the first domain in the order of the dataset
// file, those of the second, ... A dataset has the attribute crc32 (int64), CRC-32 of its elements
// as they lie in the file, little-endian: zlib.crc32(file["value"][:].tobytes()) in Python. It
// takes 8 bytes a coefficient and 8 an item, and has the same bytes whatever number of ranks wrote
// it.
//
// Compatibility: as of checkpoints.

namespace micrec {

inline constexpr char kItemRegressionFormat[] = "micrec item regression";
inline constexpr std::int64_t kItemRegressionFormatVersion = 2;
inline constexpr std::int64_t kItemRegressionWithoutRecency = 1;
inline constexpr char kItemRegressionFile[] = "item_regression.h5";
inline constexpr char kSemanticNeighboursFormat[] = "micrec semantic neighbours";
inline constexpr char kNeighbourFiles[] = "semantic_neighbours.";  // a modality and .h5 follow

/// Coefficients that are moved at once, in bytes.
inline constexpr std::int64_t kCoefficientBlockBytes = std::int64_t{16} << 20;

/// The file of a run, there or not.
std::string coefficient_file_of(const std::string& run_dir);
/// That of the run that a checkpoint is of: beside the folder that holds the checkpoint.
std::string coefficient_file_beside(const std::string& checkpoint_directory);
/// The file of a run's semantic neighbours in a modality, there or not.
std::string neighbour_file_of(const std::string& run_dir, const std::string& modality);
/// All of them that are there, of the run with this folder of checkpoints, sorted.
std::vector<std::string> neighbour_files_beside(const std::string& checkpoints);

/// What coefficients are of, and how they came about.
struct CoefficientOrigin {
  std::string dataset_fingerprint;
  std::string settings;      // JSON, as whoever fits writes it; at most 32 KiB
  bool has_recency = false;  // whether the settings name one: version 2
  std::string format = kItemRegressionFormat;

  bool operator==(const CoefficientOrigin&) const = default;
};

/// What such a file says of itself.
struct CoefficientSummary {
  CoefficientOrigin origin;
  std::int64_t items = 0;
  std::int64_t coefficients = 0;
  std::int64_t bytes = 0;         // of the file
  std::int64_t most_of_item = 0;  // coefficients of one target; summarise_coefficients() alone
};

struct CoefficientWriting {
  std::int64_t block_bytes = kCoefficientBlockBytes;
  /// Called on rank 0 when the file is on the disk and has not got its name yet. For tests.
  std::function<void()> before_rename = {};
};

/// Writes the coefficients of all items, and returns what the manifests are to say of the file.
///
/// Shapes   own_items: numbers of this rank's items over all domains, strictly rising; row t of
///          `rows` is the target own_items[t]. Every item is one rank's.
/// Ranks    collective, on a communicator of host tensors; rank 0 receives blocks and writes.
/// Errors   Error(Cause::io) on all ranks where it cannot be written: nothing is left of it, and a
///          file that was there before stays. CHECK on shapes.
/// Cost     Rank 0 holds 12 bytes an item, 20 while it learns whose they are, and three blocks; the
///          file is read once more for its digest.
StoredFile write_coefficients(const std::string& path, std::int64_t items,
                              std::span<const std::int32_t> own_items, const SparseRows& rows,
                              const CoefficientOrigin& origin, Communicator& communicator,
                              const CoefficientWriting& options = {});

/// The coefficients of this rank's items from the file that a manifest names. This is where it is
/// verified for a run: rank 0 compares every byte with the manifest, once, unless sizes are enough
/// by `verify`, and all ranks what they read with what can be.
///
/// Shapes   as of write_coefficients().
/// Ranks    collective; these need not be the ranks that wrote it, nor as many.
/// Errors   Error(Cause::checkpoint) on all ranks where it is missing, damaged, not the one that
///          the manifest names, of another data set, or holds what cannot be; Error(Cause::io)
///          where the system cannot read it.
/// Cost     rank 0 reads the file once, every rank besides the blocks that hold rows of its own;
///          memory beyond the result is bounded by two blocks.
SparseRows read_coefficients(const std::string& path, const StoredFile& stored,
                             const std::string& dataset_fingerprint, std::int64_t items,
                             std::span<const std::int32_t> own_items, Communicator& communicator,
                             std::int64_t block_bytes = kCoefficientBlockBytes,
                             Verify verify = Verify::checksums);

/// What a manifest is to say of the file that is there, if it is whole and of this data set, with
/// settings that begin with these; nothing otherwise, and `why` says in what it differs (empty
/// where there is none). For a run that ended between its fit and its first checkpoint, and for
/// files that no manifest names.
///
/// Ranks    collective; rank 0 reads. Errors   none: what cannot be read does not match.
/// Cost     The file is read twice.
std::optional<StoredFile> matching_coefficients(const std::string& path, std::int64_t items,
                                                const CoefficientOrigin& origin,
                                                Communicator& communicator,
                                                std::string* why = nullptr);

/// What the head of a file says; its coefficients are not read. Ranks: local.
/// Errors   as summarise_coefficients(), as far as it is read.
CoefficientSummary look_at_coefficients(const std::string& path);

/// Reads the whole file and compares it with its own checksums, and each number with what can be.
/// Ranks    local.
/// Errors   Error(Cause::checkpoint) where it is missing, damaged or holds what cannot be,
///          NewerFormat where only a newer program can read it, Error(Cause::io) where the system
///          cannot read it.
/// Cost     Memory is bounded by two blocks.
CoefficientSummary summarise_coefficients(const std::string& path,
                                          std::int64_t block_bytes = kCoefficientBlockBytes);

/// What is wrong with the file that a manifest names: "it is missing", "its checksum is ...; its
/// numbers are whole: it is of another fit, or damaged beside them". Nothing where it is as the
/// manifest says. Ranks: local.
/// Errors   Error(Cause::io) where the system cannot read it.
std::optional<std::string> damage_of_coefficients(const std::string& path, const StoredFile& stored,
                                                  Verify verify);

/// Verifies the file that a checkpoint names, every byte; does nothing where it names none. Ranks:
/// local. Errors: as read_coefficients().
void verify_item_regression(const Checkpoint& checkpoint);

}  // namespace micrec
