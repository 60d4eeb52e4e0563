#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "evaluate/ranking.h"
#include "evaluate/report.h"
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
  int threads = 1;
  /// Item rows of all ranks are gathered in blocks of at most this size; one block is cheapest.
  std::int64_t block_bytes = std::int64_t{512} << 20;
};

/// Ranks, for every user with relevant items, all items of the domain exactly, and reports the
/// metrics.
///
/// Out of a user's ranking (masked) are their training interactions and those observed later, and
/// at test their validation interactions. Every user is ranked by the rank that owns them. Metrics
/// of users are added as multiples of 2^-36 in integers, so a report has the same bits at any
/// number of ranks and threads.
///
/// Slices are named USERS.ITEMS; a part that is everything is left out, and the whole is "all".
///
///   USERS  old_users, new_users              where the domain has held-out users
///          overlapping_users, other_users    people of several domains and of this one alone
///   ITEMS  old_items, new_items, cold_items  where it has new or cold items
///          items_degree_0, items_degree_1_3, _4_7, _8_15, _16_31, _32_up
///                                            by number of training interactions
///          items_with_M, items_without_M     for every modality M
///
/// ITEMS restricts which items are relevant; a user still chooses among all items. Old, new and
/// cold items have a second slice each, "new_items/among_themselves", where they are ranked among
/// the items of their own kind alone, as papers on cold start do. Degrees and modalities are not
/// crossed with USERS.
class Evaluator {
 public:
  /// Loads what this rank's users need, once.
  ///
  /// Ranks    not collective.
  /// Errors   Error(Cause::data) where a relevant item of a user is masked too.
  /// Cost     One pass over the interactions in pieces.
  Evaluator(const DatasetFile& dataset, const NodeSpace& space, const Ownership& ownership,
            int rank, EvaluationOptions options);

  /// Metrics of embeddings: the score of a pair is the dot product of its rows.
  ///
  /// Shapes   z: (owned rows, dim) float32, in the order of Ownership::nodes_of(rank).
  /// Ranks    collective; the report is the same on all.
  /// Errors   Error(Cause::diverged), on all ranks, where scores are not finite.
  /// Cost     2 * users * items * dim operations over all ranks; a block's item rows twice.
  Report evaluate(const at::Tensor& z, Communicator& communicator) const;

 private:
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

  struct Domain {
    std::string name;
    std::int64_t candidates = 0;
    int groups = 1;
    std::vector<std::uint8_t> group;         // (items) 0 old, 1 new, 2 cold; as Candidates takes it
    std::vector<std::int32_t> owner;         // (items) rank
    std::int64_t first_item_row = 0;         // owned row of this rank's first item
    std::vector<std::int64_t> user_row;      // (evaluated users) owned row
    std::vector<std::uint8_t> user_classes;  // (evaluated users) bit c: in UserClass c
    ItemLists positives;                     // of the evaluated users
    ItemLists masked;
    std::vector<std::vector<std::uint8_t>> fields;  // [field] (positives) what item views select by
    std::vector<ItemView> views;
    std::vector<std::string> slice_names;
  };

  void load(const DatasetFile& dataset, const NodeSpace& space, const Ownership& ownership,
            int rank, int number, const std::vector<std::uint8_t>& domains_of_person,
            Domain& domain) const;
  std::vector<std::int32_t> count_items_ahead(const Domain& domain, const at::Tensor& z,
                                              Communicator& communicator) const;
  void add_metrics(const Domain& domain, const std::vector<std::int32_t>& ahead,
                   std::int64_t* sums) const;

  EvaluationOptions options_;
  int ranks_;
  std::int64_t owned_rows_ = 0;
  std::int64_t owned_users_ = 0;
  std::vector<Domain> domains_;
};

}  // namespace micrec
