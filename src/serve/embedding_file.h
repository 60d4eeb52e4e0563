#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <iosfwd>
#include <string>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "io/hdf5.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

/// The file of exported embeddings, version 1. HDF5; everything can be read with h5ls and h5py,
/// without this program. The score of a user and an item of the same domain is the dot product of
/// their rows; items are recommended by falling score.
///
///   /                              attributes
///     format               text    "micrec embeddings"
///     format_version       int64   1
///     model                text    "micrec", "lightgcn", ...
///     checkpoint           text    name of the checkpoint they were computed from
///     dataset_fingerprint  text    of the dataset file they were computed on
///     dim                  int64   columns of every embedding
///
///   /domains/<name>/users and /domains/<name>/items
///     key        (n)       text     as in the dataset file, in the same order
///     embedding  (n, dim)  float32
namespace micrec {

inline constexpr char kEmbeddingsFormat[] = "micrec embeddings";
inline constexpr std::int64_t kEmbeddingsVersion = 1;

/// Where embeddings come from, for the file's attributes.
struct EmbeddingOrigin {
  std::string model;
  std::string checkpoint;
};

/// Writes the embeddings of all nodes; the file appears under its name only when it is complete.
///
/// Shapes   z: (owned rows, dim) float32, in the order of Ownership::nodes_of(rank).
/// Ranks    collective; rank 0 receives the rows in pieces of `block_bytes` and writes.
/// Errors   Error(Cause::io) on rank 0 where the file cannot be written.
void export_embeddings(const DatasetFile& dataset, const NodeSpace& space,
                       const Ownership& ownership, const at::Tensor& z,
                       const EmbeddingOrigin& origin, const std::string& path,
                       Communicator& communicator,
                       std::int64_t block_bytes = std::int64_t{64} << 20);

/// Tells of such a file where it comes from and how many rows it has.
///
/// Errors   Error(Cause::data) where a domain is not as above; what was told until then stands.
void describe_embeddings(const Hdf5File& file, std::ostream& out);

}  // namespace micrec
