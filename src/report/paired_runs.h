#pragma once

#include <string>
#include <vector>

#include "report/run_record.h"

namespace micrec {

/// NDCG@20 of the users of one slice in two runs, paired.
struct PairedSlice {
  std::string name;
  double users = 0;
  double first = 0;       ///< of the run that the other is held against
  double value = 0;       ///< of the other
  double difference = 0;  ///< the latter less the former
  double low = 0;         ///< its 95% interval
  double high = 0;
  double better = 0;  ///< share of users
  double worse = 0;
};

struct PairedDomain {
  std::string name;
  std::vector<PairedSlice> slices;
};

/// A run that is held against the first of a comparison, user by user.
struct PairedRun {
  std::string first;
  std::string name;
  std::vector<PairedDomain> domains;
};

/// What `micrec compare --json` wrote.
///
/// Errors   Error(Cause::data) where it is not that, or lacks ndcg@20; `path` names it.
std::vector<PairedRun> read_comparison(const std::string& json, const std::string& path);

}  // namespace micrec
