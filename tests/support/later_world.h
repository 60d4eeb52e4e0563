#pragma once

#include <string>
#include <vector>

#include "data/feature_matching.h"
#include "data/raw_domain.h"
#include "tests/support/small_world.h"

namespace micrec {

/// A small world with hold-outs in two parts: what is known in training, and what came later.
struct LaterWorld {
  std::string known;                    // a data set without the nodes and interactions held out
  std::vector<RawDomain> interactions;  // of Split::later, by domain
  std::vector<FeatureInput> features;   // files of the new and cold items
};

/// Writes both parts into a folder.
LaterWorld write_later_world(const SmallWorld& world, const std::string& folder);

}  // namespace micrec
