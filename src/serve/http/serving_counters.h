#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "serve/service.h"

namespace micrec {

/// What a server has answered, for Prometheus. Several threads may use it at once.
class ServingCounters {
 public:
  /// A request to a route, as its path has it, was answered after so long.
  void count(const std::string& route, int status, double seconds);

  /// Prometheus' text format, with what the service knows now.
  std::string prometheus(const ServiceState& state) const;

 private:
  static constexpr std::array<double, 11> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                     0.05,   0.1,   0.25,   1,     5};  // seconds
  struct Latencies {
    std::array<std::int64_t, kBounds.size() + 1> within =
        {};          // each bound and above the one before
    double sum = 0;  // seconds
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::int64_t> requests_;  // by route and status
  std::map<std::string, Latencies> latencies_;                    // by route
};

}  // namespace micrec
