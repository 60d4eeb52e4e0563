#pragma once

#include <cstdint>
#include <string>

#include "data/prepared_dataset.h"

namespace micrec {

/// How interactions are divided into training, validation and test.
enum class SplitKind {
  ratio,          ///< per user, at random
  time,           ///< per user, the latest are test, those before them validation
  global_time,    ///< by two points in time for all domains together
  leave_one_out,  ///< per user, the last is test and the one before it validation
  files,          ///< as the input files have it
  column,         ///< as a column of the input files has it
};

struct SplitRule {
  SplitKind kind = SplitKind::ratio;
  double train = 8;  // the three shares, up to a common factor
  double valid = 1;
  double test = 1;

  /// As parse_split_rule() takes it.
  std::string to_string() const;
};

/// Whether the interactions come with their part.
bool is_given(SplitKind kind);

/// "ratio:8:1:1", "time:7:1:2", "global_time:8:1:1", "leave_one_out", "files", "column"; shares
/// default to 8:1:1.
/// Errors   Error(usage).
SplitRule parse_split_rule(const std::string& rule);

/// How many of a user's n interactions go to validation and to test.
///
/// Fewer than 3 all stay in training. Else test = max(1, floor(n * share)), likewise validation,
/// and none where the share is zero; at least one stays in training, at the cost of the larger of
/// the two.
struct SplitCounts {
  std::int64_t valid = 0;
  std::int64_t test = 0;
};
SplitCounts split_counts(const SplitRule& rule, std::int64_t n);

/// Fills `split` of every domain; one that is given stays as it is. Random choices are a function
/// of (seed, name of the domain, user, item), ties in time go by the item's number, the higher one
/// being later.
///
/// Those that are kept (PreparedDomain::kept) stay too, and the rule is for the others: a user's go
/// to validation and test as far as the rule lacks there of all that the user has; global_time
/// takes two points in time of theirs alone.
///
/// Errors   Error(data) where time is asked for and a domain has no timestamps, and where
///          global_time leaves a domain without training interactions.
/// Cost     A user's interactions are sorted: O(n log n) over the longest history.
void assign_splits(const SplitRule& rule, std::uint64_t seed, PreparedDataset& dataset);

}  // namespace micrec
