#include "graph/sharded_graph.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "kernels/neighbour_sum.h"
#include "kernels/rows.h"
#include "partition/row_order.h"

namespace micrec {

ShardedGraph::ShardedGraph(const Ownership& ownership, const Lists<GlobalNode>& rows,
                           Communicator& communicator, int parts)
    : communicator_(&communicator), owned_(ownership.nodes_of(communicator.rank())) {
  const auto& [offsets, neighbours] = rows;
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
    parts_.emplace_back().rows = {0, owned_rows()};
    return;
  }

  halo_plan_ = plan_receives(ownership, communicator.rank(), neighbours);
  std::vector<std::vector<std::int32_t>> wanted(communicator.size());
  for (const GlobalNode node : halo_plan_.halo) {
    wanted[ownership.owner[value(node)]].push_back(value(node));
  }
  plan_sends(halo_plan_, owned_, exchange_lists(communicator, "halo.plan", wanted));

  local_to_global_ = owned_;
  local_to_global_.insert(local_to_global_.end(), halo_plan_.halo.begin(), halo_plan_.halo.end());
  std::vector<std::int32_t> local_of(nodes, -1);
  for (std::size_t local = 0; local < local_to_global_.size(); ++local) {
    local_of[value(local_to_global_[local])] = static_cast<std::int32_t>(local);
  }
  std::transform(neighbours.begin(), neighbours.end(), pattern_.columns.begin(),
                 [&](GlobalNode node) { return local_of[value(node)]; });
  first_halo_rows_.resize(halo_plan_.receive_rows.size());
  std::exclusive_scan(halo_plan_.receive_rows.begin(), halo_plan_.receive_rows.end(),
                      first_halo_rows_.begin(), owned_rows());
  make_parts(parts);
}

// The ranges hold falling shares of the work, so that little is left to send after the last.
void ShardedGraph::make_parts(int parts) {
  const int ranks = communicator_->size();
  if (parts == 0) {
    std::int64_t halo_rows = 0;
    for (const std::int64_t rows :
         gather_counts(*communicator_, "halo.parts", halo_plan_.halo_rows())) {
      halo_rows += rows;
    }
    const std::int64_t rows_a_message = halo_rows / (std::int64_t{ranks} * (ranks - 1));
    // On one machine more parts cost more than they hide: every message is a copy by the ranks.
    parts = rows_a_message >= 1024 ? 2 : 1;
  }
  parts_.resize(static_cast<std::size_t>(parts));
  constexpr std::int64_t kRowCost = 4;  // beside its neighbours, in neighbours
  const auto work_before = [&](std::int64_t row) {
    return static_cast<double>(pattern_.offsets[row] + kRowCost * row);
  };
  const double shares = parts * (parts + 1) / 2.0;
  std::int64_t row = 0;
  double share = 0;
  for (int p = 0; p < parts; ++p) {
    share += parts - p;
    const std::int64_t begin = row;
    while (row < owned_rows() &&
           (p + 1 == parts || work_before(row) < share / shares * work_before(owned_rows()))) {
      row = std::min(owned_rows(), row + kRangeStep);
    }
    parts_[p].rows = {begin, row};
    parts_[p].send_rows.resize(static_cast<std::size_t>(ranks));
  }

  // The rows for a receiver rise, so those of a part follow those of the part before.
  std::vector<std::vector<std::int32_t>> lists(parts_.size());
  std::int64_t next = 0;
  for (int q = 0; q < ranks; ++q) {
    int p = 0;
    for (std::int64_t i = 0; i < halo_plan_.send_rows[q]; ++i, ++next) {
      const std::int32_t local_row = halo_plan_.send_local_rows[next];
      while (local_row >= parts_[p].rows.end) ++p;
      lists[p].push_back(local_row);
      ++parts_[p].send_rows[q];
    }
  }
  send_rows_ = RowList(halo_plan_.send_local_rows);
  for (int p = 0; p < parts; ++p) {
    parts_[p].send_list = parts == 1 ? send_rows_ : RowList(std::move(lists[p]));
  }
  at::Tensor sends = at::empty({ranks, parts}, at::kLong);
  auto* const counts = sends.mutable_data_ptr<std::int64_t>();
  for (int q = 0; q < ranks; ++q) {
    for (int p = 0; p < parts; ++p) counts[q * parts + p] = parts_[p].send_rows[q];
  }
  const std::vector<std::int64_t> one_each(static_cast<std::size_t>(ranks), 1);
  const at::Tensor receives = communicator_->all_to_all("halo.parts", sends, one_each, one_each);
  const auto* const received = receives.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> lands = first_halo_rows_;
  for (int p = 0; p < parts; ++p) {
    parts_[p].first_rows = lands;
    for (int q = 0; q < ranks; ++q) {
      parts_[p].receive_rows.push_back(received[q * parts + p]);
      lands[q] += received[q * parts + p];
    }
  }
}

void ShardedGraph::store_near_rows_together(std::int64_t first_rows) {
  CHECK(pattern_.row_at.empty() && !pattern_.on_device);
  std::vector<std::int32_t> near =
      order_of_near_rows(pattern_.offsets, pattern_.columns, local_rows());
  std::ranges::stable_partition(near, [&](std::int32_t row) { return row < first_rows; });
  std::vector<std::int32_t> order;
  order.reserve(near.size());
  for (const Part& part : parts_) {
    std::ranges::copy_if(near, std::back_inserter(order),
                         [&](std::int32_t row) { return part.rows.contains(row); });
  }
  Pattern stored;
  stored.offsets.reserve(pattern_.offsets.size());
  stored.columns.reserve(pattern_.columns.size());
  stored.place_of.resize(order.size());
  for (const std::int32_t row : order) {
    stored.place_of[row] = static_cast<std::int32_t>(stored.rows());
    stored.columns.insert(stored.columns.end(), pattern_.columns.begin() + pattern_.begin(row),
                          pattern_.columns.begin() + pattern_.end(row));
    stored.offsets.push_back(static_cast<std::int64_t>(stored.columns.size()));
  }
  stored.row_at = std::move(order);
  pattern_ = std::move(stored);
}

at::Tensor ShardedGraph::buffer(at::IntArrayRef shape, const at::TensorOptions& options) const {
  constexpr std::size_t kMostBuffers = 16;
  for (const at::Tensor& known : buffers_) {
    if (known.sizes() == shape && known.dtype() == options.dtype() &&
        known.device() == options.device() && known.use_count() == 1 &&
        known.storage().use_count() == 1) {
      return known;
    }
  }
  at::Tensor made = empty_rows(shape, options);
  if (buffers_.size() < kMostBuffers) buffers_.push_back(made);
  return made;
}

at::Tensor ShardedGraph::local_buffer(std::int64_t dim, const at::TensorOptions& options) const {
  return buffer({local_rows(), dim}, options);
}

void ShardedGraph::Flight::send(int part) {
  CHECK_EQ(part, sent_);
  ++sent_;
  if (graph_->communicator_->size() == 1) return;
  const Part& rows = graph_->parts_[part];
  std::vector<std::int64_t> shape = x_.sizes().vec();
  shape[0] = static_cast<std::int64_t>(rows.send_list.rows().size());
  at::Tensor packed = graph_->buffer(shape, x_.options());
  gather_rows_into(packed, x_, rows.send_list);
  pending_.push_back(graph_->communicator_->start_all_to_all_into(
      name_, packed, rows.send_rows, rows.receive_rows, x_, rows.first_rows));
}

void ShardedGraph::Flight::wait() {
  CHECK_EQ(sent_, graph_->parts());
  for (const std::unique_ptr<PendingTensor>& part : pending_) part->wait();
  pending_.clear();
}

void ShardedGraph::Flight::poll() {
  if (!pending_.empty()) graph_->communicator_->poll(name_);
}

at::Tensor ShardedGraph::with_halo(const char* name, const at::Tensor& x) const {
  CHECK_EQ(x.size(0), owned_rows());
  if (communicator_->size() == 1) return x;
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape[0] = local_rows();
  const at::Tensor local = buffer(shape, x.options().requires_grad(false));
  const at::Tensor owned = x.contiguous();
  shape[0] = static_cast<std::int64_t>(halo_plan_.send_local_rows.size());
  at::Tensor packed = buffer(shape, local.options());
  gather_rows_into(packed, owned, send_rows_);
  const auto halo = communicator_->start_all_to_all_into(
      name, packed, halo_plan_.send_rows, halo_plan_.receive_rows, local, first_halo_rows_);
  local.narrow(0, 0, owned_rows()).copy_(owned);
  return halo->wait();
}

std::shared_ptr<const ActiveRows> ShardedGraph::plan_active(
    const char* name, std::shared_ptr<const SelectedRows> owned) const {
  CHECK_EQ(owned->set.universe(), owned_rows());
  const auto plan = std::make_shared<ActiveRows>();
  plan->owned = std::move(owned);
  if (communicator_->size() == 1) return plan;

  const RowSet& owned_active = plan->owned->set;
  const int ranks = communicator_->size();
  const auto send_count = static_cast<std::int64_t>(halo_plan_.send_local_rows.size());
  at::Tensor send_active = at::empty({send_count}, at::kByte);
  auto* const send_flags = send_active.mutable_data_ptr<std::uint8_t>();
  std::vector<std::int32_t> positions;
  std::int64_t next = 0;
  for (int q = 0; q < ranks; ++q) {
    const std::size_t before = positions.size();
    for (std::int64_t i = 0; i < halo_plan_.send_rows[q]; ++i, ++next) {
      const std::int32_t row = halo_plan_.send_local_rows[next];
      send_flags[next] = owned_active.contains(row);
      if (send_flags[next]) {
        positions.push_back(static_cast<std::int32_t>(owned_active.position(row)));
      }
    }
    plan->send_rows.push_back(static_cast<std::int64_t>(positions.size() - before));
  }
  plan->send_positions = RowList(std::move(positions));
  const at::Tensor halo_active =
      communicator_->all_to_all(name, send_active, halo_plan_.send_rows, halo_plan_.receive_rows);
  const auto* const halo_flags = halo_active.const_data_ptr<std::uint8_t>();
  std::vector<std::int32_t> active = plan->owned->list.rows();
  next = 0;
  for (int q = 0; q < ranks; ++q) {  // one rank's after the other's
    plan->first_rows.push_back(static_cast<std::int64_t>(active.size()));
    for (std::int64_t i = 0; i < halo_plan_.receive_rows[q]; ++i, ++next) {
      if (halo_flags[next]) active.push_back(static_cast<std::int32_t>(owned_rows() + next));
    }
    plan->receive_rows.push_back(static_cast<std::int64_t>(active.size()) - plan->first_rows[q]);
  }
  plan->with_halo.emplace(local_rows(), active);
  return plan;
}

at::Tensor ShardedGraph::with_active_halo(const char* name, const ActiveRows& active,
                                          const at::Tensor& x) const {
  CHECK_EQ(active.owned->set.universe(), owned_rows());
  CHECK_EQ(active.owned->set.size(), x.size(0));
  if (communicator_->size() == 1) return x;
  const at::Tensor all = empty_rows({active.columns().size(), x.size(1)}, x.options());
  const auto halo = communicator_->start_all_to_all_into(
      name, gather_rows(x, active.send_positions), active.send_rows, active.receive_rows, all,
      active.first_rows);
  all.narrow(0, 0, x.size(0)).copy_(x);
  return halo->wait();
}

void ActiveRows::add_to(UploadBatch& batch) const {
  if (!with_halo) return;
  batch.add(*with_halo);
  batch.add(send_positions);
}

}  // namespace micrec
