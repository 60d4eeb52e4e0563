#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "model/model_config.h"
#include "model/semantic_neighbours.h"
#include "model/step/shard.h"
#include "train/node_origins.h"

namespace micrec {

/// Bytes of the elements in those files of a run's semantic neighbours that are not there, at most.
double most_neighbour_bytes(const std::string& run_dir, const ModelConfig& config,
                            std::int64_t items);

/// The run whose folder may have semantic neighbours, and what these are of.
struct NeighbourFiles {
  std::string run_dir;
  std::string dataset_fingerprint;       ///< of the data set that the run trains, or trained, on
  const NodeOrigins* origins = nullptr;  ///< of the nodes there are now, where these are more
};

/// The semantic neighbours of each modality of a model that has any: those that the run has, where
/// their file is whole and of these settings, others are searched for now. Tells on `log` what was
/// read. Ranks: collective. Errors: those of find_semantic_neighbours().
std::vector<SemanticLists> provide_semantic_neighbours(const NeighbourFiles& files,
                                                       const ModelConfig& config,
                                                       const DatasetFile& dataset,
                                                       const Shard& shard,
                                                       std::ostream* log = nullptr);

/// Writes what was searched for into the run's folder, for whoever opens the run next. Of a data
/// set without later nodes. Ranks: collective. Errors: Error(io) where a file cannot be written.
void keep_semantic_neighbours(const NeighbourFiles& files, const ModelConfig& config,
                              const std::vector<SemanticLists>& lists, const Shard& shard);

}  // namespace micrec
