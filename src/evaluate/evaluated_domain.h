#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "evaluate/ranking.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

struct EvaluationOptions {
  Split split = Split::valid;          ///< valid or test: where the relevant items come from
  std::vector<std::int64_t> k = {20};  ///< cutoffs, each at least 1
  /// false while training, when the graph is the training interactions: held-out users are left
  /// out, and new and cold items are neither ranked nor relevant. true once they have been let in.
  bool with_new_nodes = false;
  bool slices = true;  ///< false: only "all"
  /// true: what evaluated people interacted with is kept, for scores with a linear term.
  bool histories = false;
  /// true: what of it came when is counted too, for ScoreTerms::half_life.
  bool ages = false;
  /// At most so many users of a domain are ranked, chosen by their numbers, the same ones at any
  /// number of ranks; 0: all.
  std::int64_t most_users = 0;
  /// Another seed chooses others; without one they are always the same.
  std::optional<std::uint64_t> sample_seed = std::nullopt;
  bool squares = false;  ///< true: squares of metrics are averaged too, for intervals
  /// Item rows and coefficients of all ranks are gathered in blocks of at most this size; one block
  /// is cheapest.
  std::int64_t block_bytes = std::int64_t{512} << 20;
  /// Whether this rank is asked to stop, asked on any thread between blocks of users, on a GPU
  /// between domains: the rank leaves its users out, and after the domain all ranks throw Stopped.
  /// None: an evaluation goes to its end.
  std::function<bool()> is_asked_to_stop = {};
};

enum UserClass : int {
  kAllUsers,
  kOldUsers,
  kNewUsers,
  kOverlappingUsers,
  kOtherUsers,
  kUserClasses
};

/// A choice of relevant items: those whose `field` has the value `wanted`; no field: all.
struct ItemView {
  std::string name;
  int field = -1;
  std::uint8_t wanted = 0;
  bool among_themselves = false;
  bool crossed = false;                            // with the user classes
  int slice[kUserClasses] = {-1, -1, -1, -1, -1};  // number in the report, -1 where there is none
};

/// What a rank needs to evaluate its users of one domain, whatever the embeddings.
struct EvaluatedDomain {
  std::string name;
  std::int64_t candidates = 0;
  int groups = 1;
  std::vector<std::uint8_t> group;         // (items) 0 old, 1 new, 2 cold; as Candidates takes it
  std::vector<std::int32_t> owner;         // (items) rank
  std::int64_t first_item_row = 0;         // owned row of this rank's first item
  std::int64_t eligible_users = 0;         // of all ranks, those left out by most_users included
  bool leaves_out_users = false;           // by EvaluationOptions::most_users, on any rank
  std::vector<std::int32_t> user;          // (evaluated users) number in the domain, rising
  std::vector<std::int64_t> user_row;      // (evaluated users) owned row
  std::vector<std::int32_t> person;        // (evaluated users)
  std::vector<std::uint8_t> user_classes;  // (evaluated users) bit c: in UserClass c
  std::vector<std::int32_t> history_of;    // (evaluated users) list, with options.histories
  NumberLists positives;                   // of the evaluated users
  NumberLists masked;
  std::vector<std::vector<std::uint8_t>> fields;  // [field] (positives) what item views select by
  std::vector<ItemView> views;
  std::vector<std::string> slice_names;
};

/// What a rank evaluates on; all of it outlives the loading.
struct EvaluationSource {
  const DatasetFile& dataset;
  const NodeSpace& space;
  const Ownership& ownership;
  int rank;
};

/// Loads one domain: which users of this rank are ranked, which items are masked for them, and the
/// slices of the report.
///
/// Shapes   domains_of_person: (people) in how many a person is, at most 2.
/// Ranks    not collective.
/// Errors   Error(Cause::data) where a relevant item of a user is masked too.
/// Cost     One pass over the interactions in pieces.
EvaluatedDomain load_evaluated_domain(const EvaluationSource& source,
                                      const EvaluationOptions& options,
                                      std::span<const std::uint8_t> domains_of_person, int domain);

/// Ranks of a user's relevant items that a view selects, rising, from 0; of `user`, an index among
/// the evaluated users.
///
/// Shapes   ahead: (positives, groups), how many items come before each, as count_ahead gives it;
///          ranks: replaced.
void ranks_of(const EvaluatedDomain& domain, const ItemView& view, std::int64_t user,
              std::span<const std::int32_t> ahead, std::vector<std::int32_t>& ranks);

}  // namespace micrec
