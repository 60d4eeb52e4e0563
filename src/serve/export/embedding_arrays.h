#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// How the items' rows are written; users' rows are arrays in both.
enum class ArrayFormat {
  npy,    ///< arrays
  faiss,  ///< indexes to search by inner product, of FAISS
};

/// The files that export_arrays() writes for `prefix`.
std::vector<std::string> files_of_arrays(const DatasetFile& dataset, ArrayFormat format,
                                         const std::string& prefix);

/// Writes final embeddings for others' programs, a set of files a domain: PREFIX.<domain>.users.npy
/// and PREFIX.<domain>.items.npy (n, dim) float32, or .items.faiss, whose ids are numbers of rows,
/// and beside each the keys of its rows, PREFIX.<domain>.users.keys.txt and .items.keys.txt, a key
/// a line. None appears under its name before all are complete. An index is read back and asked for
/// the best 20 items of a sample of users; `report` is told how many of the exact ones it gives.
///
/// Shapes   z: (owned rows, dim) float32, dim from 1.
/// Ranks    collective; rank 0 writes, an index from all rows of a domain's items at once.
/// Errors   on rank 0: those of require_faiss(); Error(Cause::io) where a file cannot be written;
///          Error(Cause::data) where a key has a line end in it.
void export_arrays(const DatasetFile& dataset, const NodeSpace& space, const Ownership& ownership,
                   const at::Tensor& z, ArrayFormat format, const std::string& prefix,
                   Communicator& communicator, std::ostream& report,
                   std::int64_t block_bytes = std::int64_t{64} << 20);

}  // namespace micrec
