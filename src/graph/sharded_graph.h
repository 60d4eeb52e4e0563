#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/number_lists.h"
#include "cluster/communicator.h"
#include "kernels/pattern.h"
#include "kernels/row_set.h"
#include "kernels/selected_rows.h"
#include "kernels/upload.h"
#include "partition/halo_plan.h"
#include "partition/ownership.h"

namespace micrec {

/// Owned rows outside of which an x will be zero, and what of them is to travel into whose halo.
/// It is made before x, so that nothing waits for lists once rows are computed.
struct ActiveRows {
  std::shared_ptr<const SelectedRows> owned;
  std::optional<RowSet> with_halo;         // of the local rows; none where nothing travels
  RowList send_positions;                  // in `owned`, grouped by receiver
  std::vector<std::int64_t> send_rows;     // (ranks)
  std::vector<std::int64_t> receive_rows;  // (ranks)
  std::vector<std::int64_t> first_rows;    // (ranks) among columns() at which they land

  /// The local rows that are not zero.
  const RowSet& columns() const { return with_halo ? *with_halo : owned->set; }
  /// Lets its own lists go to a device with others; `owned` is its owner's.
  void add_to(UploadBatch& batch) const;
};

/// One rank's rows of a sparse operator over all nodes, with the exchange that brings the remote
/// rows it reads. Local numbering of its columns: owned nodes by rising global number, then the
/// halo by (owner, global number).
class ShardedGraph {
 public:
  /// The rows of this rank's nodes. Ranks: collective (the ranks tell each other what they read).
  /// `rows` lists, for every owned node, the columns as global numbers, rising.
  /// `parts`: see there; 0: as many as are worth their messages.
  ShardedGraph(const Ownership& ownership, const Lists<GlobalNode>& rows,
               Communicator& communicator, int parts = 0);

  std::int64_t owned_rows() const { return static_cast<std::int64_t>(owned_.size()); }
  std::int64_t local_rows() const { return owned_rows() + halo_plan_.halo_rows(); }
  const std::vector<GlobalNode>& owned() const { return owned_; }
  const HaloPlan& halo_plan() const { return halo_plan_; }
  const Pattern& pattern() const { return pattern_; }
  /// Shapes: (local_rows)
  const std::vector<GlobalNode>& local_to_global() const { return local_to_global_; }
  Communicator& communicator() const { return *communicator_; }

  /// Stores the rows of each part in an order in which those that share neighbours are near one
  /// another (see order_of_near_rows), those below `first_rows` before the others. No number of a
  /// row and no bit of a sum changes; sums of rows that do not fit into caches take less time.
  /// Not where the pattern goes to a GPU. Ranks: local.
  void store_near_rows_together(std::int64_t first_rows);

  /// Appends the halo: x (owned_rows, ...) -> (local_rows, ...), contiguous. With one rank it is x
  /// itself. Ranks: collective. Not differentiable by itself.
  at::Tensor with_halo(const char* name, const at::Tensor& x) const;

  /// Ranges of owned rows, in each of which the work of a product is a share of the whole, the last
  /// the smallest: the rows of one travel while the next is computed. As many on every rank; a
  /// range may be empty.
  int parts() const { return static_cast<int>(parts_.size()); }
  Range rows_of_part(int part) const { return parts_[part].rows; }

  /// The halo of an x (local_rows, ...) on its way while the owned rows are still being made.
  class Flight {
   public:
    /// Sends the owned rows of a part, which must be there and not change any more. Parts go in
    /// order, each once. Ranks: collective.
    void send(int part);
    /// Returns when all halo rows of x are there. Ranks: collective.
    void wait();
    /// Keeps what was sent moving. Ranks: not collective.
    void poll();

   private:
    friend ShardedGraph;
    Flight(const ShardedGraph& graph, const char* name, const at::Tensor& x)
        : graph_(&graph), name_(name), x_(x) {}

    const ShardedGraph* graph_;
    const char* name_;
    at::Tensor x_;
    int sent_ = 0;  // parts
    std::vector<std::unique_ptr<PendingTensor>> pending_;
  };
  Flight start_halo(const char* name, const at::Tensor& x) const { return {*this, name, x}; }

  /// A tensor (local_rows, dim) that holds no numbers yet, in the memory of an earlier one that is
  /// no longer in use, where there is one: new memory has to be cleared and mapped page by page.
  at::Tensor local_buffer(std::int64_t dim, const at::TensorOptions& options) const;
  /// Lets go of the memory that is kept for later tensors, as where they will have other shapes.
  void forget_buffers() const { buffers_.clear(); }

  /// Plans with_active_halo(). Ranks: collective, one exchange of a byte for every halo row.
  std::shared_ptr<const ActiveRows> plan_active(const char* name,
                                                std::shared_ptr<const SelectedRows> owned) const;
  /// As with_halo for an x that is zero outside some owned rows: only rows that are not zero
  /// travel.
  /// Shapes   x: (active.owned, dim) float32, their values; returns (active.columns(), dim).
  /// Ranks    collective.
  at::Tensor with_active_halo(const char* name, const ActiveRows& active,
                              const at::Tensor& x) const;

 private:
  // What travels of one range of owned rows, and of the ranges of the others that have its number.
  struct Part {
    Range rows{0, 0};
    RowList send_list;                       // owned local rows, grouped by receiver
    std::vector<std::int64_t> send_rows;     // (ranks)
    std::vector<std::int64_t> receive_rows;  // (ranks)
    std::vector<std::int64_t> first_rows;    // (ranks) local rows at which they land
  };

  void make_parts(int parts);
  at::Tensor buffer(at::IntArrayRef shape, const at::TensorOptions& options) const;

  Communicator* communicator_;
  std::vector<GlobalNode> owned_;
  HaloPlan halo_plan_;
  RowList send_rows_;  // the halo plan's send_local_rows
  Pattern pattern_;
  std::vector<GlobalNode> local_to_global_;
  std::vector<std::int64_t> first_halo_rows_;  // (ranks) local row of the first halo row of each
  std::vector<Part> parts_;
  mutable std::vector<at::Tensor> buffers_;  // of this object and of those who were given them
};

}  // namespace micrec
