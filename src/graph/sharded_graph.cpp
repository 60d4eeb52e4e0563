#include "graph/sharded_graph.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "graph/rows.h"

namespace micrec {

ShardedGraph::ShardedGraph(const Ownership& ownership, const std::vector<std::int64_t>& offsets,
                           const std::vector<GlobalNode>& neighbours, Communicator& communicator)
    : communicator_(&communicator), owned_(ownership.nodes_of(communicator.rank())) {
  const auto nodes = static_cast<std::int64_t>(ownership.owner.size());
  CHECK_EQ(ownership.ranks, communicator.size());
  CHECK_EQ(static_cast<std::int64_t>(offsets.size()), owned_rows() + 1);
  CHECK_EQ(offsets.front(), 0);
  CHECK_EQ(offsets.back(), static_cast<std::int64_t>(neighbours.size()));
  for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
    CHECK_LE(offsets[row], offsets[row + 1]);
    for (std::int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
      CHECK(value(neighbours[i]) >= 0 && value(neighbours[i]) < nodes &&
            (i == offsets[row] || neighbours[i - 1] < neighbours[i]))
          << "the neighbours of node " << value(owned_[row]) << " are not rising numbers below "
          << nodes;
    }
  }
  pattern_.offsets = offsets;
  pattern_.columns.resize(neighbours.size());
  if (communicator.size() == 1) {  // Local and global numbers are the same.
    std::transform(neighbours.begin(), neighbours.end(), pattern_.columns.begin(),
                   [](GlobalNode node) { return value(node); });
    halo_plan_.receive_rows = {0};
    halo_plan_.send_rows = {0};
    local_to_global_ = owned_;
    return;
  }

  halo_plan_ = plan_receives(ownership, communicator.rank(), neighbours);
  std::vector<std::vector<std::int32_t>> wanted(communicator.size());
  std::int64_t next = 0;
  for (int q = 0; q < communicator.size(); ++q) {
    for (std::int64_t i = 0; i < halo_plan_.receive_rows[q]; ++i) {
      wanted[q].push_back(value(halo_plan_.halo[next++]));
    }
  }
  const std::vector<std::vector<std::int32_t>> asked =
      exchange_lists(communicator, "halo.plan", wanted);
  std::vector<std::vector<GlobalNode>> asked_nodes(asked.size());
  for (std::size_t q = 0; q < asked.size(); ++q) {
    for (const std::int32_t node : asked[q]) asked_nodes[q].push_back(GlobalNode(node));
  }
  plan_sends(halo_plan_, owned_, asked_nodes);

  local_to_global_ = owned_;
  local_to_global_.insert(local_to_global_.end(), halo_plan_.halo.begin(), halo_plan_.halo.end());
  std::vector<std::int32_t> local_of(nodes, -1);
  for (std::size_t local = 0; local < local_to_global_.size(); ++local) {
    local_of[value(local_to_global_[local])] = static_cast<std::int32_t>(local);
  }
  std::transform(neighbours.begin(), neighbours.end(), pattern_.columns.begin(),
                 [&](GlobalNode node) { return local_of[value(node)]; });
}

at::Tensor ShardedGraph::with_halo(const char* name, const at::Tensor& x, int threads) const {
  CHECK_EQ(x.size(0), owned_rows());
  if (communicator_->size() == 1) return x;
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape[0] = local_rows();
  at::Tensor local = empty_rows(shape, x.options());
  const at::Tensor owned = x.contiguous();
  if (owned.numel() > 0) {
    std::memcpy(local.mutable_data_ptr(), owned.const_data_ptr(), owned.nbytes());
  }
  fill_halo(name, local, threads);
  return local;
}

void ShardedGraph::fill_halo(const char* name, at::Tensor& x, int threads) const {
  CHECK(x.is_contiguous() && x.size(0) == local_rows());
  if (communicator_->size() == 1) return;
  const at::Tensor send = gather_rows(x, halo_plan_.send_local_rows, threads);
  const at::Tensor halo =
      communicator_->all_to_all(name, send, halo_plan_.send_rows, halo_plan_.receive_rows);
  if (halo.numel() == 0) return;
  const std::size_t owned_bytes = x.nbytes() - halo.nbytes();
  std::memcpy(static_cast<char*>(x.mutable_data_ptr()) + owned_bytes, halo.const_data_ptr(),
              halo.nbytes());
}

ShardedGraph::ActiveRows ShardedGraph::with_active_halo(const char* name,
                                                        const std::vector<std::int32_t>& rows,
                                                        const at::Tensor& x, int threads) const {
  CHECK_EQ(x.size(0), static_cast<std::int64_t>(rows.size()));
  const RowSet owned_active(owned_rows(), rows);
  CHECK_EQ(owned_active.size(), x.size(0)) << "active rows must differ";
  if (communicator_->size() == 1) return {owned_active, x};

  // First a byte for every halo row, which says what will come, then only the rows that are not
  // zero.
  const auto send_count = static_cast<std::int64_t>(halo_plan_.send_local_rows.size());
  at::Tensor send_active = at::empty({send_count}, at::kByte);
  auto* const send_flags = send_active.mutable_data_ptr<std::uint8_t>();
  std::vector<std::int64_t> send_rows(communicator_->size());
  std::vector<std::int32_t> send_positions;  // in x
  std::int64_t next = 0;
  for (int q = 0; q < communicator_->size(); ++q) {
    const std::size_t before = send_positions.size();
    for (std::int64_t i = 0; i < halo_plan_.send_rows[q]; ++i, ++next) {
      const std::int32_t row = halo_plan_.send_local_rows[next];
      send_flags[next] = owned_active.contains(row);
      if (send_flags[next]) {
        send_positions.push_back(static_cast<std::int32_t>(owned_active.position(row)));
      }
    }
    send_rows[q] = static_cast<std::int64_t>(send_positions.size() - before);
  }
  const at::Tensor halo_active =
      communicator_->all_to_all(name, send_active, halo_plan_.send_rows, halo_plan_.receive_rows);
  const auto* const halo_flags = halo_active.const_data_ptr<std::uint8_t>();
  std::vector<std::int64_t> receive_rows(communicator_->size());
  std::vector<std::int32_t> active = rows;
  next = 0;
  for (int q = 0; q < communicator_->size(); ++q) {
    for (std::int64_t i = 0; i < halo_plan_.receive_rows[q]; ++i, ++next) {
      if (!halo_flags[next]) continue;
      active.push_back(static_cast<std::int32_t>(owned_rows() + next));
      ++receive_rows[q];
    }
  }
  const at::Tensor halo = communicator_->all_to_all(name, gather_rows(x, send_positions, threads),
                                                    send_rows, receive_rows);
  return {RowSet(local_rows(), active), at::cat({x, halo})};
}

}  // namespace micrec
