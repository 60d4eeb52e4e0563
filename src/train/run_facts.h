#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset_file.h"

namespace micrec {

/// What a run is computed on and with.
struct RunPlace {
  int ranks = 1;
  int threads = 1;     ///< of a rank
  std::string device;  ///< "cpu"
  std::string grid;    ///< "2x1"
  /// Of the program and its libraries, by name.
  std::vector<std::pair<std::string, std::string>> versions;
};

/// The line of kind "start" in metrics.jsonl, but for kind, step and phases.
nlohmann::ordered_json run_facts(const DatasetFile& dataset, const RunPlace& place);

}  // namespace micrec
