#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "cluster/communicator.h"
#include "evaluate/evaluated_domain.h"
#include "evaluate/metrics.h"

namespace micrec {

/// Metrics of users who are in one slice.
struct SliceOfUsers {
  std::vector<std::int32_t> row;            // (n) among all evaluated users of the domain, rising
  std::vector<std::int32_t> positives;      // (n) relevant items in the slice
  std::vector<std::vector<double>> values;  // [metric] (n), as MetricTable orders them
};

/// Evaluated users of a domain whose numbers follow each other.
struct UserBlock {
  std::vector<std::int32_t> user;    // (users) number in the domain, rising
  std::vector<SliceOfUsers> slices;  // as EvaluatedDomain::slice_names
};

/// What metrics are computed from again, user by user, after an evaluation.
struct RankedDomain {
  const EvaluatedDomain& domain;
  const std::vector<std::int32_t>& ahead;  // (positives, groups)
  const MetricTable& metrics;
};

/// Gives `use`, on rank 0, the metrics of every evaluated user of all ranks, block after block in
/// the order of user numbers. The blocks are the same at any number of ranks.
///
/// Ranks    collective; `device` is the communicator's.
/// Cost     A block takes about `block_bytes` on every rank.
void for_each_user_block(const RankedDomain& ranked, Communicator& communicator, c10::Device device,
                         std::int64_t block_bytes,
                         const std::function<void(const UserBlock&)>& use);

}  // namespace micrec
