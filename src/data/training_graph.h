#pragma once

#include "data/dataset_file.h"
#include "partition/adjacency.h"
#include "partition/node_space.h"

namespace micrec {

/// The training interactions of all domains as one graph, whole, for planning on one rank.
/// Cost     two passes over the file in pieces; 8 bytes an interaction and 8 a node.
Adjacency read_training_graph(const DatasetFile& dataset, const NodeSpace& space);

}  // namespace micrec
