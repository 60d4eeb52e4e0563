#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "evaluate/bootstrap.h"
#include "evaluate/per_user_file.h"

namespace micrec {

/// One metric of one run over the users who are compared, and held against the first run's.
struct RunFigures {
  double value = 0;
  Interval interval;             // 95%, of value
  double difference = 0;         // to the first run; of the first itself 0
  Interval difference_interval;  // 95%, users paired
  double better = 0;             // share of users whose value is larger than in the first run
  double worse = 0;              // smaller; the others are equal within 1e-9
};

struct SliceComparison {
  std::string name;
  std::int64_t users = 0;                        // who are in the slice in every run
  std::vector<std::vector<RunFigures>> figures;  // [metric][run]
};

struct DomainComparison {
  std::string name;
  std::vector<SliceComparison> slices;  // "all" first; those with users
};

/// Several rankings of the same users side by side, the first being what the others are held
/// against.
struct Comparison {
  std::vector<std::string> names;      // of the runs
  std::vector<PerUserOrigin> origins;  // likewise
  std::vector<std::string> metrics;
  BootstrapOptions bootstrap;
  std::vector<std::string> warnings;  // sentences: in what the runs are not alike
  std::vector<DomainComparison> domains;
  /// [metric][run] means of the "all" slices over domains; better and worse are not counted.
  std::vector<std::vector<RunFigures>> mean;

  /// For people: a table a run other than the first.
  std::string to_markdown() const;
  nlohmann::ordered_json to_json() const;
};

struct NamedRun {
  std::string name;
  PerUserMetrics metrics;
};

/// Pairs the users of the runs by key, in every slice that all runs have, and compares.
///
/// Intervals are of the percentile bootstrap over users. For the mean over domains people are
/// drawn: who has one key in several domains is drawn with all of them, as one.
///
/// Errors   Error(Cause::data) where the runs were evaluated on different splits, or have no domain
///          or no user in common. CHECK: two runs or more with the same metrics.
/// Cost     As resampled_means with runs * metrics columns, a slice.
Comparison compare(const std::vector<NamedRun>& runs, const BootstrapOptions& options);

}  // namespace micrec
