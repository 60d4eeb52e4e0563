#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "evaluate/evaluator.h"
#include "evaluate/report.h"
#include "evaluate/user_metrics.h"
#include "io/hdf5.h"

/// The file of metrics by user, version 1. HDF5; everything can be read with h5ls and h5py, and
/// written by whoever wants a ranking of their own compared with those of this program.
///
///   /                              attributes
///     format               text    "micrec metrics by user"
///     format_version       int64   1
///     model                text    what ranked: "micrec", "lightgcn", ...
///     checkpoint           text    the checkpoint that was evaluated; empty: there is none
///     dataset_fingerprint  text    of the dataset file
///     split                text    "valid" or "test": where the relevant items come from
///     split_rule           text    how the data set was split, as prepare's --split takes it
///     hold_out             text    likewise, as --hold_out; empty: nothing was held out
///     k                    text    cutoffs, "10,20,50"
///
///   /domains/<name>                attributes
///     candidates           int64   items ranked for every user
///     slices               text    names of the slices below, with commas between
///
///     user         (users)  text     keys of those with relevant items, in the order of user
///                  numbers
///     positives    (users)  int32    their relevant items
///     <metric>@<k> (users)  float64  "recall@20", ...; evaluate/metrics.h says of which
///
///   /domains/<name>/slices/<slice>   users with relevant items in it; evaluate/evaluator.h names
///     row          (n)      int32    their rows above, rising        all slices
///     positives    (n)      int32
///     <metric>@<k> (n)      float64
///
/// A slice without users is left out. A mean of a column is the figure that evaluate reports.
///
/// A reader accepts every version up to its own and ignores what it does not know.
namespace micrec {

inline constexpr char kPerUserFormat[] = "micrec metrics by user";
inline constexpr std::int64_t kPerUserVersion = 1;

/// What was ranked, and how: the attributes of the file.
struct PerUserOrigin {
  std::string model;
  std::string checkpoint;
  std::string dataset_fingerprint;
  Split split = Split::test;
  std::string split_rule;
  std::string hold_out;
};

/// Its rows are of PerUserDomain::user, its metrics those of PerUserMetrics.
struct PerUserSlice : SliceOfUsers {
  std::string name;  // "all" first
};

struct PerUserDomain {
  std::string name;
  std::vector<std::string> user;  // (users) keys
  std::vector<PerUserSlice> slices;
};

/// Some metrics of every user, in memory.
struct PerUserMetrics {
  PerUserOrigin origin;
  std::vector<std::string> metrics;  // "ndcg@20", ...
  std::vector<PerUserDomain> domains;
};

/// An evaluation whose users are asked for: what Evaluator::evaluate found and from what.
struct EvaluatedUsers {
  const DatasetFile& dataset;
  const Evaluator& evaluator;
  const ItemsAhead& items_ahead;
  const Report& report;
  std::string model;
};

/// Writes all metrics of every user, the same bytes at any number of ranks; the file appears under
/// its name only when it is complete.
///
/// Ranks    collective; rank 0 receives the users in blocks of `block_bytes` and writes; `device`
///          is the communicator's.
/// Errors   Error(Cause::io) on rank 0 where the file cannot be written.
void write_per_user(const EvaluatedUsers& users, const std::string& path,
                    Communicator& communicator, c10::Device device,
                    std::int64_t block_bytes = std::int64_t{64} << 20);

/// The same without a file, of the metrics that are wanted; without domains on ranks other than 0.
///
/// Ranks    collective.
/// Errors   CHECK: a metric is one of the evaluation.
PerUserMetrics collect_per_user(const EvaluatedUsers& users,
                                const std::vector<std::string>& metrics, Communicator& communicator,
                                c10::Device device,
                                std::int64_t block_bytes = std::int64_t{64} << 20);

/// Reads the metrics that are wanted.
///
/// Errors   Error(Cause::io) where the file cannot be read; Error(Cause::data) where it is not as
///          above, is newer, or lacks a metric.
PerUserMetrics read_per_user(const std::string& path, const std::vector<std::string>& metrics);

/// Tells of such a file where it comes from and what it holds.
///
/// Errors   Error(Cause::data) where a domain is not as above; what was told until then stands.
void describe_per_user(const std::string& path, std::ostream& out);

}  // namespace micrec
