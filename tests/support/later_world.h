#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "data/dataset_file.h"
#include "data/feature_matching.h"
#include "data/raw_domain.h"
#include "model/model_config.h"
#include "tests/support/small_world.h"

namespace micrec {

/// A small world with hold-outs in two parts: what is known in training, and what came later.
struct LaterWorld {
  std::string known;                    // a data set without the nodes and interactions held out
  std::vector<RawDomain> interactions;  // of Split::later, by domain
  std::vector<FeatureInput> features;   // files of the new and cold items
};

/// A node by its domain, what it is, and its key.
using NodeName = std::tuple<int, std::string, std::string>;
/// Of all nodes of a data set, in their order.
std::vector<NodeName> names_of_nodes(const DatasetFile& dataset);

/// A model of few columns that takes all that the world has.
ModelConfig small_config(ModelKind kind);

/// Writes both parts into a folder.
LaterWorld write_later_world(const SmallWorld& world, const std::string& folder);

}  // namespace micrec
