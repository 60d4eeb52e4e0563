#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cluster/thread_communicator.h"
#include "run/train.h"

namespace micrec {

/// Trains on ranks that are threads; returns the exit code of the first. `said` is what the ranks
/// wrote, where it throws too.
inline int train_on(int ranks, const RunConfig& config, std::string& said) {
  int code = -1;
  testing::internal::CaptureStderr();
  try {
    run_ranks(
        ranks,
        [&](Communicator& world) {
          Job job(world);
          const int own = train(config, job);
          if (world.rank() == 0) code = own;
        },
        config.job.communicator);
  } catch (...) {
    said = testing::internal::GetCapturedStderr();
    throw;
  }
  said = testing::internal::GetCapturedStderr();
  return code;
}

/// The lines of a kind in a run's metrics.jsonl, without what a clock decides.
inline std::vector<nlohmann::json> lines_of(const std::string& run_dir, const std::string& kind) {
  std::ifstream file(run_dir + "/metrics.jsonl");
  std::vector<nlohmann::json> found;
  for (std::string line; std::getline(file, line);) {
    nlohmann::json object = nlohmann::json::parse(line);
    if (object["kind"] != kind) continue;
    for (const char* timed : {"seconds", "triples_per_second"}) object.erase(timed);
    found.push_back(std::move(object));
  }
  return found;
}

}  // namespace micrec
