#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/number_lists.h"
#include "data/dataset_file.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

/// The training interactions of the users that one rank owns. The interactions of all domains are
/// numbered through, domain by domain, in the order of the dataset file (by user, then item); that
/// number is an `edge` here.
struct TrainingShare {
  std::vector<GlobalNode> user;      // (n) grouped: a user's interactions follow each other
  std::vector<GlobalNode> item;      // (n) rising within a user
  std::vector<std::int64_t> edge;    // (n) rising
  std::int64_t all_edges = 0;        // of all ranks
  std::int64_t all_users = 0;        // users of all ranks that have a training interaction
  std::vector<std::int64_t> active;  // (own users with interactions) numbers among those, rising
  GlobalNode last_user{-1};          // the user of edge all_edges - 1, of whichever rank
};

/// Reads a rank's share, in pieces.
/// Cost     16 bytes an own interaction; every rank reads every training interaction of the file
///          once.
TrainingShare read_training_share(const DatasetFile& dataset, const NodeSpace& space,
                                  const Ownership& ownership, int rank);

/// Adds the next interactions of a domain to a share; domains and interactions come in the order of
/// the edge numbers.
void append_interactions(const NodeSpace& space, const Ownership& ownership, int rank, int domain,
                         const Interactions& interactions, TrainingShare& share);

/// Items that may be drawn as negatives: 1 for every item but new and cold ones. (items of all
/// domains) uint8, by global node number minus space.users().
std::vector<std::uint8_t> eligible_items(const DatasetFile& dataset, const NodeSpace& space);

/// What an epoch's steps go through.
enum class Sampling {
  interactions,  ///< every training interaction once an epoch, in a new order
  users,         ///< as many draws: a user uniformly, then one of their interactions (INMO's way)
};

struct SamplingConfig {
  Sampling sampling = Sampling::interactions;
  std::int64_t batch_size = 2048;  // triples a step, of all domains and all ranks together; 0: of a
                                   // run, by the size of its data
  std::uint64_t seed = 0;
};

/// One rank's triples of a step, by rising position. All vectors have one entry a triple; there may
/// be none.
struct TripleBatch {
  std::vector<GlobalNode> user;      // owned by this rank
  std::vector<GlobalNode> positive;  // an item they interacted with
  std::vector<GlobalNode> negative;  // one of the domain they did not; else the positive again
  std::vector<std::int32_t> domain;
  std::vector<std::int64_t> position;  // in the epoch; unique over all ranks
  std::vector<float> weight;           // 1, or 0 where the user has no item left to be a negative

  std::int64_t size() const { return std::ssize(user); }
};

/// Gives each rank its part of every training step. Which triple stands at which position of an
/// epoch is a function of (seed, epoch, position) alone: it depends on no rank count and needs no
/// state to resume.
///
/// Negatives are uniform over the eligible items of the domain that are not in the user's training
/// set.
/// Cost     Interactions: O(own interactions) once an epoch, on all threads, and 4 bytes an own
///          interaction; users: O(batch_size) a step.
class EpochSampler {
 public:
  /// `eligible`: see eligible_items(). Errors: CHECK on sizes, order and an empty data set.
  EpochSampler(const NodeSpace& space, TrainingShare share,
               const std::vector<std::uint8_t>& eligible, const SamplingConfig& config);

  std::int64_t steps_per_epoch() const;
  /// Triples of a step over all ranks: batch_size, and fewer in the last step of an epoch.
  std::int64_t global_batch_rows(std::int64_t step_in_epoch) const;

  /// This rank's triples of a step, 0 <= step_in_epoch < steps_per_epoch(). Fastest when called in
  /// order, as the first call of another epoch lays out that epoch.
  TripleBatch batch(std::int64_t epoch, std::int64_t step_in_epoch);

  const TrainingShare& share() const { return share_; }

 private:
  struct Draw {
    std::int64_t position;
    std::int64_t own;  // index into the share
  };

  void lay_out_epoch(std::int64_t epoch);
  std::vector<Draw> draws_by_permutation(std::int64_t epoch, std::int64_t step_in_epoch);
  std::vector<Draw> draws_by_user(std::int64_t epoch, std::int64_t step_in_epoch) const;
  /// All own interactions of the user of one of them, as indices into the share.
  Range history_around(std::int64_t own) const;

  NodeSpace space_;
  TrainingShare share_;
  SamplingConfig config_;
  std::vector<std::int64_t> first_;                // (own active users + 1) into share_
  std::vector<std::vector<GlobalNode>> eligible_;  // [domain] rising
  std::int64_t epoch_ = -1;                        // the epoch that is laid out
  NumberLists of_step_;                            // (steps) own interactions
};

}  // namespace micrec
