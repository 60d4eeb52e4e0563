#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "evaluate/metrics.h"

namespace micrec {

/// Metrics averaged over the users of a slice who have at least one relevant item in it.
struct SliceReport {
  std::string name;            // as evaluator.h describes
  std::int64_t users = 0;      // averaged over
  std::int64_t positives = 0;  // relevant (user, item) pairs
  std::vector<double> values;  // as MetricTable orders them
};

struct DomainReport {
  std::string name;
  std::int64_t candidates = 0;      // items ranked for every user, masked ones included
  std::vector<SliceReport> slices;  // "all" first; of the others those that have users
};

/// What an evaluation found; equal on all ranks and at any number of ranks.
struct Report {
  Split split = Split::test;
  std::string checkpoint;       // which one was evaluated; empty while training
  std::vector<std::int64_t> k;  // cutoffs
  std::vector<DomainReport> domains;

  /// A metric of one slice. CHECK: k is one of the cutoffs.
  double value(const SliceReport& slice, Metric metric, std::int64_t k) const;

  /// Mean of the "all" slices over the domains that have users; 0 where none has.
  /// CHECK: k is one of the cutoffs.
  double mean(Metric metric, std::int64_t k) const;
  bool has_users() const;

  /// {"split", "checkpoint", "mean": {"ndcg@20": 0.05, ...},
  ///  "domains": {"food": {"candidates": 9000,
  ///                       "slices": {"all": {"users", "positives", "ndcg@20", ...}, ...}}}}
  nlohmann::ordered_json to_json() const;

  /// For people: a line a slice with recall and ndcg at every cutoff. What overlapping and other
  /// users find among the kinds of items is in the JSON alone.
  std::string to_table() const;
};

}  // namespace micrec
