#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/unfinished_file.h"

namespace micrec {

/// Whether this program was built with FAISS.
bool has_faiss();

/// Refuses an index where this program was built without FAISS. Errors: Error(Cause::usage).
void require_faiss();

/// Writes an exact index of FAISS by inner product, IndexFlatIP; a row has its number as id. The
/// file is finished by the caller.
///
/// Shapes   rows: (n, dim), dim from 1.
/// Errors   those of require_faiss(); Error(Cause::io) where it cannot be written.
/// Cost     A copy of the rows.
void write_product_index(const UnfinishedFile& file, std::span<const float> rows, std::int64_t dim);

/// Reads an index back and asks it for the k rows with the largest products with each query.
///
/// Shapes   queries: (n, dim); returns (n, k), -1 where there are fewer rows.
/// Errors   those of require_faiss(); Error(Cause::io) where it cannot be read.
std::vector<std::int64_t> search_product_index(const std::string& path,
                                               std::span<const float> queries, std::int64_t k);

}  // namespace micrec
