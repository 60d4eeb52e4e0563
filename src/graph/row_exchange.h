#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "cluster/communicator.h"
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
  struct Plan;
  const std::shared_ptr<const Plan>& plan() const { return plan_; }

 private:
  std::shared_ptr<const Plan> plan_;
};

}  // namespace micrec
