#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "cluster/communicator.h"
#include "kernels/pattern.h"
#include "kernels/upload.h"
#include "partition/ownership.h"

namespace micrec {

/// Who needs which rows this step: every rank lists the nodes it needs, owners learn what they must
/// send. It is made before any row is computed, so that owners compute only what somebody asked
/// for.
///
/// Cost     A pass over `needed` and over a bitmap of all nodes (2 bits a node); no hashing, no
///          sorting. With more than one rank, one exchange of the lists.
class RowExchange {
 public:
  /// `owned`: this rank's nodes by rising number; `needed`: any nodes, in any order, repeats
  /// allowed. `order`, where it is given: a number
  /// for each entry of `needed`, rising, unlike that of any other entry of any rank. Gradients then
  /// go home entry by entry and are added in that order, so that the sums have the same bits at any
  /// number of ranks; otherwise a rank adds its own first, and less travels. Ranks: collective.
  RowExchange(const Ownership& ownership, const std::vector<GlobalNode>& owned,
              const std::vector<GlobalNode>& needed, Communicator& communicator,
              const std::vector<std::int64_t>* order = nullptr);

  /// The owned local rows that any rank (this one included) needs; rising, each once.
  const std::vector<std::int32_t>& requested_rows() const;
  std::int64_t needed() const;  ///< entries of this rank's list, repeats included

  /// Lets its lists go to a device with others.
  void add_to(UploadBatch& batch) const;

  /// What the exchange does; shared with the backward pass, which may outlive this object.
  struct Plan {
    Communicator* communicator = nullptr;
    std::vector<std::int32_t> requested_rows;  // owned local rows, rising

    // The receiving side. Received rows are distinct, by (owner, global number).
    std::int64_t received_rows = 0;
    RowList entry_rows;      // (needed) received row of each entry
    Pattern entries_of_row;  // (received_rows) its entries, rising

    // The sending side; empty with one rank, where the received rows are the requested ones.
    std::vector<std::int64_t> send_rows;     // (ranks)
    std::vector<std::int64_t> receive_rows;  // (ranks)
    RowList send_positions;                  // in requested_rows, grouped by receiver
    Pattern sends_of_row;  // (requested_rows) positions in send_positions, by rank

    // The way back entry by entry, with an order and more than one rank.
    bool by_entry = false;
    RowList entries_by_owner;                     // (needed) entries, grouped by owner
    std::vector<std::int64_t> entries_to_owner;   // (ranks)
    std::vector<std::int64_t> entries_from_rank;  // (ranks)
    Pattern arrivals_of_row;  // (requested_rows) arrived entries, in their order
  };
  const std::shared_ptr<const Plan>& plan() const { return plan_; }

 private:
  std::shared_ptr<const Plan> plan_;
};

}  // namespace micrec
