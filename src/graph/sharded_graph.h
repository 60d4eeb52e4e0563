#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "cluster/communicator.h"
#include "graph/pattern.h"
#include "graph/row_set.h"
#include "partition/halo_plan.h"
#include "partition/ownership.h"

namespace micrec {

/// One rank's rows of a sparse operator over all nodes, with the exchange that brings the remote
/// rows it reads. Local numbering of its columns: owned nodes by rising global number, then the
/// halo by (owner, global number).
class ShardedGraph {
 public:
  /// The rows of this rank's nodes. Ranks: collective (the ranks tell each other what they read).
  /// `offsets` (owned + 1) and `neighbours` (nonzeros) list, for every owned node, the columns as
  /// global numbers, rising.
  ShardedGraph(const Ownership& ownership, const std::vector<std::int64_t>& offsets,
               const std::vector<GlobalNode>& neighbours, Communicator& communicator);

  std::int64_t owned_rows() const { return static_cast<std::int64_t>(owned_.size()); }
  std::int64_t local_rows() const { return owned_rows() + halo_plan_.halo_rows(); }
  const std::vector<GlobalNode>& owned() const { return owned_; }
  const HaloPlan& halo_plan() const { return halo_plan_; }
  const Pattern& pattern() const { return pattern_; }
  const std::vector<GlobalNode>& local_to_global() const {
    return local_to_global_;
  }  // (local_rows)
  Communicator& communicator() const { return *communicator_; }

  /// Appends the halo: x (owned_rows, ...) -> (local_rows, ...), contiguous. With one rank it is x
  /// itself. Ranks: collective. Not differentiable by itself.
  at::Tensor with_halo(const char* name, const at::Tensor& x, int threads = 1) const;

  /// As with_halo for an x (local_rows, ...) whose owned rows are filled: fills the others, without
  /// a copy of the owned.
  void fill_halo(const char* name, at::Tensor& x, int threads = 1) const;

  /// As with_halo for an x that is zero outside some owned rows: only rows that are not zero
  /// travel.
  struct ActiveRows {
    RowSet columns;   // of local_rows: those that are not zero
    at::Tensor rows;  // (columns.size(), dim) float32
  };
  /// `rows`: owned local rows, rising; `x`: (rows, dim) float32, their values. Ranks: collective.
  ActiveRows with_active_halo(const char* name, const std::vector<std::int32_t>& rows,
                              const at::Tensor& x, int threads = 1) const;

 private:
  Communicator* communicator_;
  std::vector<GlobalNode> owned_;
  HaloPlan halo_plan_;
  Pattern pattern_;
  std::vector<GlobalNode> local_to_global_;
};

}  // namespace micrec
