#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "graph/operators.h"
#include "model/shard.h"

namespace micrec {

/// Semantic neighbours of one modality: for every item that has it, the k items of the same domain
/// with the largest cosine that have it too and were trained on, each with weight 1 / (number
/// found).
struct SemanticNeighbours {
  std::unique_ptr<WeightedGraph> graph;
  at::Tensor present;  // (owned rows, 1) float32: 1 where the row has neighbours
};

/// Ranks    collective.
/// Errors   as modality_width().
/// Cost     one blocked product of the modality's items with themselves, a domain; see
/// graph/nearest_neighbours.h.
SemanticNeighbours find_semantic_neighbours(const DatasetFile& dataset, const Shard& shard,
                                            const std::string& modality, int neighbours);

}  // namespace micrec
