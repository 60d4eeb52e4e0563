#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/flagfile.h"

namespace micrec {

/// Where a run's own account of itself lies, and what its other files say.
struct RunSources {
  std::string run_dir;
  std::string metrics;          ///< path of metrics.jsonl (train/log/metrics_log.h), there or not
  std::string config;           ///< path of config.txt, there or not
  std::string holder;           ///< who has the folder now, in words; empty: nobody
  std::string item_regression;  ///< settings of item_regression.h5, JSON; empty: there is none
  std::string dataset;          ///< what checkpoints say of it, for logs that lack it; or empty
  std::string fingerprint;
  std::string grid;
};

/// What runs are compared by.
inline constexpr char kReportedMetric[] = "ndcg@20";

/// Numbers by name, "ndcg@20", in the order of the log.
using NamedValues = std::vector<std::pair<std::string, double>>;

/// The value of that name; not a number where there is none.
double value_of(const NamedValues& values, const std::string& name);

/// A line of kind "step". A number that the log has as null, or not at all, is not a number here,
/// as in all that follows.
struct LoggedStep {
  std::int64_t step = 0;
  double loss = 0;
  NamedValues parts;  ///< of the loss
  double learning_rate = 0;
  double seconds = 0;
  double triples_per_second = 0;
};

struct LoggedSlice {
  std::string name;
  std::int64_t users = 0;
  std::int64_t positives = 0;
  NamedValues metrics;
};

/// A weight of item regression that a validation tried in one domain.
struct TriedWeight {
  std::string weight;  ///< "0.9"; "alone": without embeddings
  double factor = 0;
  double ndcg = 0;  ///< @20
};

struct LoggedDomain {
  std::string name;
  std::int64_t candidates = 0;
  std::vector<LoggedSlice> slices;
  std::vector<TriedWeight> weights;  ///< of a validation with item regression

  /// The slice of that name; null where there is none.
  const LoggedSlice* slice(const std::string& wanted) const;
};

/// A line of kind "validation" or "test".
struct LoggedEvaluation {
  std::int64_t step = 0;
  double metric = 0;  ///< what early stopping looks at
  std::string checkpoint;
  NamedValues mean;
  std::vector<LoggedDomain> domains;

  const LoggedDomain* domain(const std::string& name) const;
};

/// What the collectives of one name sent and had to, over all lines of kind "ledger".
struct SentByName {
  std::string name;
  double bytes = 0;                  ///< a step, over ranks
  std::optional<double> bound;       ///< likewise: the least that must travel
  std::optional<double> over_bound;  ///< of the latest line
  double waited_seconds = 0;         ///< a step, of a rank on average
  double hidden_seconds = 0;
};

/// A line of kind "fit".
struct LoggedFit {
  double seconds = 0;
  double planned_seconds = 0;    ///< not a number where none are planned
  std::vector<SentByName> sent;  ///< all in all, beside the most that was planned; most bytes first
};

/// Settings of item regression that were tried for a domain.
struct TriedSettings {
  double lambda = 0;
  double cross = 0;
  NamedValues alpha;  ///< by modality
  double recency = 0;
  double ndcg = 0;  ///< @20; not a number where it was not tried but given

  bool same_settings(const TriedSettings& other) const;
};

struct RegressionOfDomain {
  std::string domain;
  TriedSettings chosen;
  std::vector<TriedSettings> tried;  ///< each once, in the order of the search
};

/// What a run did one after the other.
struct LoggedPhase {
  std::string name;
  double seconds = 0;
  double memory_bytes = 0;  ///< the most that rank 0 had held when it ended
};

struct LoggedResume {
  std::int64_t step = 0;
  /// Flag, before and now.
  struct Change {
    std::string flag;
    std::string before;
    std::string now;
  };
  std::vector<Change> changes;
};

struct LoggedSaves {
  std::int64_t count = 0;
  double bytes = 0;            ///< of the latest
  double seconds = 0;          ///< of all, from the wish to the published checkpoint
  double blocked_seconds = 0;  ///< of these training stood still
};

struct DomainCounts {
  std::string name;
  NamedValues counts;      ///< "users", "items", "train", ...
  NamedValues modalities;  ///< items that have it
};

/// A line of kind "start".
struct LoggedStart {
  std::string dataset;
  std::string fingerprint;
  std::vector<DomainCounts> domains;
  std::vector<std::pair<std::string, std::string>> facts;     ///< ranks, threads, device, grid
  std::vector<std::pair<std::string, std::string>> versions;  ///< of the program and its libraries
};

struct LoggedEnd {
  std::int64_t step = 0;
  std::string reason;
  double seconds = 0;
};

/// A run as its folder tells it. Where steps were taken again, after a crash, the later count.
struct RunRecord {
  std::string run_dir;
  std::string holder;
  std::vector<FlagSetting> settings;  ///< of config.txt
  LoggedStart start;
  std::vector<LoggedStep> steps;              ///< by rising step
  std::vector<LoggedEvaluation> validations;  ///< likewise
  std::optional<LoggedEvaluation> test;
  std::vector<SentByName> sent;  ///< the most bytes first
  std::int64_t steps_sent = 0;   ///< that these are means of
  std::optional<LoggedFit> fit;
  std::vector<LoggedPhase> phases;
  LoggedSaves saves;
  std::vector<LoggedResume> resumes;
  std::vector<RegressionOfDomain> regression;
  std::optional<LoggedEnd> end;
  std::int64_t lines = 0;       ///< of metrics.jsonl
  std::int64_t unreadable = 0;  ///< beside these, as a crash leaves one

  /// The validation that the result is from: the best; null where there is none.
  const LoggedEvaluation* best() const;
  std::int64_t last_step() const;
};

/// Reads what the run's folder says. What is missing is missing in the record: a log that was cut
/// off, is still being written, or is older than some of what is logged now.
///
/// Errors   Error(Cause::io) where a file is there and cannot be read. Lines that are no JSON are
///          counted; values of other types than they should have are passed over.
/// Cost     One pass over the log; memory is that of its step and validation lines.
RunRecord read_run_record(const RunSources& sources);

}  // namespace micrec
