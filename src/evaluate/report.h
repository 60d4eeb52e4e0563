#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "evaluate/metrics.h"

namespace micrec {

/// Whether tables for people have a slice; what overlapping and other users find among the kinds of
/// items is in the JSON alone.
bool is_in_tables(const std::string& slice);

/// Metrics averaged over the users of a slice who have at least one relevant item in it.
struct SliceReport {
  std::string name;                  // as evaluator.h describes
  std::int64_t users = 0;            // averaged over
  std::int64_t positives = 0;        // relevant (user, item) pairs
  std::vector<double> values;        // as MetricTable orders them
  std::vector<double> squares = {};  // their squares averaged, with EvaluationOptions::squares
};

struct DomainReport {
  std::string name;
  std::int64_t candidates = 0;      // items ranked for every user, masked ones included
  std::vector<SliceReport> slices;  // "all" first; of the others those that have users
  std::int64_t eligible_users = 0;  // that "all" has, or would have if none were left out
};

/// What an evaluation found; equal on all ranks and at any number of ranks.
struct Report {
  Split split = Split::test;
  std::string checkpoint;       // which one was evaluated; empty while training
  std::vector<std::int64_t> k;  // cutoffs
  std::vector<DomainReport> domains;

  /// A metric of one slice. CHECK: k is one of the cutoffs.
  double value(const SliceReport& slice, Metric metric, std::int64_t k) const;

  /// How far a domain's "all" slice may be, with 95% confidence, from that of all eligible users,
  /// of whom the ranked ones are a sample without replacement; 0 where they are all, nothing where
  /// fewer than two were ranked. CHECK: k is one of the cutoffs, and there are squares.
  /// Source   Cochran, Sampling Techniques (3rd edition, 1977), chapter 2: the normal
  ///          approximation with the finite population correction.
  std::optional<double> margin_95(const DomainReport& domain, Metric metric, std::int64_t k) const;
  /// The same of mean(), the domains' samples being independent of each other.
  std::optional<double> margin_95(Metric metric, std::int64_t k) const;

  /// Mean of the "all" slices over the domains that have users; 0 where none has.
  /// CHECK: k is one of the cutoffs.
  double mean(Metric metric, std::int64_t k) const;
  bool has_users() const;
  /// Whether users were left out of any domain, so that all figures are of samples.
  bool is_of_sample() const;

  /// {"split", "checkpoint", "mean": {"ndcg@20": 0.05, ...},
  ///  "sample": {"food": {"users", "of": so many, "ndcg@20_margin" and of each cutoff, or null}},
  ///  "domains": {"food": {"candidates": 9000,
  ///                       "slices": {"all": {"users", "positives", "ndcg@20", ...}, ...}}}}
  /// "sample" only where there is one, margins with EvaluationOptions::squares.
  nlohmann::ordered_json to_json() const;

  /// For people: a line a slice with recall and ndcg at every cutoff.
  std::string to_table() const;

 private:
  std::size_t place_of(Metric metric, std::int64_t k) const;
  nlohmann::ordered_json sample_json() const;
};

}  // namespace micrec
