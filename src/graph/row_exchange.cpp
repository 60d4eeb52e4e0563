#include "graph/row_exchange.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/neighbour_sum_call.h"
#include "kernels/row_set.h"

namespace micrec {
namespace {

// Positions in `owned` (rising) of `nodes` (rising, all of them owned), by galloping from one to
// the next.
void append_local_rows(const std::vector<GlobalNode>& owned, const std::vector<std::int32_t>& nodes,
                       std::vector<std::int32_t>& rows) {
  std::size_t at = 0;
  for (const std::int32_t node : nodes) {
    std::size_t step = 1;
    while (at + step < owned.size() && value(owned[at + step]) <= node) {
      at += step;
      step *= 2;
    }
    const auto last = std::min(owned.size(), at + step);
    at = std::upper_bound(owned.begin() + at, owned.begin() + last, GlobalNode(node)) -
         owned.begin() - 1;
    CHECK(at < owned.size() && value(owned[at]) == node) << "node " << node << " is not owned here";
    rows.push_back(static_cast<std::int32_t>(at));
  }
}

// The receiving side: `members` are the distinct nodes needed, rising. Returns the nodes wanted
// from every rank; rows arrive by owner and, of one owner, by rising number. `entry_rows`: in, the
// member of each entry; out, its received row.
std::vector<std::vector<std::int32_t>> plan_receives(const Ownership& ownership,
                                                     const std::vector<std::int32_t>& members,
                                                     std::vector<std::int32_t>& entry_rows,
                                                     RowExchange::Plan& plan) {
  const int ranks = plan.communicator->size();
  std::vector<std::vector<std::int32_t>> wanted(ranks);
  for (const std::int32_t node : members) wanted[ownership.owner[node]].push_back(node);
  std::vector<std::int64_t> begins(ranks);
  for (int q = 0; q < ranks; ++q) {
    plan.receive_rows.push_back(static_cast<std::int64_t>(wanted[q].size()));
    if (q > 0) begins[q] = begins[q - 1] + plan.receive_rows[q - 1];
  }
  std::vector<std::int32_t> arrival(members.size());
  for (std::size_t m = 0; m < members.size(); ++m) {
    arrival[m] = static_cast<std::int32_t>(begins[ownership.owner[members[m]]]++);
  }
  for (std::int32_t& row : entry_rows) row = arrival[row];
  return wanted;
}

// The way back entry by entry, by `order`.
void plan_entries(const Ownership& ownership, const std::vector<GlobalNode>& owned,
                  const std::vector<GlobalNode>& needed, const std::vector<std::int64_t>& order,
                  const RowSet& requested, RowExchange::Plan& plan) {
  plan.by_entry = true;
  const int ranks = plan.communicator->size();
  std::vector<std::vector<std::int32_t>> entries(ranks);
  // Of each entry the node and the two halves of its order.
  std::vector<std::vector<std::int32_t>> told(ranks);
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const std::int32_t owner = ownership.owner[value(needed[i])];
    entries[owner].push_back(static_cast<std::int32_t>(i));
    const auto number = static_cast<std::uint64_t>(order[i]);
    told[owner].insert(
        told[owner].end(),
        {value(needed[i]), std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(number >> 32)),
         std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(number))});
  }
  std::vector<std::int32_t> by_owner;
  for (const std::vector<std::int32_t>& to : entries) {
    by_owner.insert(by_owner.end(), to.begin(), to.end());
    plan.entries_to_owner.push_back(static_cast<std::int64_t>(to.size()));
  }
  plan.entries_by_owner = RowList(std::move(by_owner));
  struct Arrival {
    std::int32_t row;
    std::uint64_t order;
    std::int32_t place;
    bool operator<(const Arrival& other) const {
      return row != other.row ? row < other.row : order < other.order;
    }
  };
  std::vector<Arrival> arrivals;
  for (const std::vector<std::int32_t>& from :
       exchange_lists(*plan.communicator, "batch.order", told)) {
    plan.entries_from_rank.push_back(static_cast<std::int64_t>(from.size() / 3));
    for (std::size_t i = 0; i < from.size(); i += 3) {
      const auto row = std::lower_bound(owned.begin(), owned.end(), GlobalNode(from[i]));
      arrivals.push_back({static_cast<std::int32_t>(
                              requested.position(static_cast<std::int32_t>(row - owned.begin()))),
                          std::uint64_t{std::bit_cast<std::uint32_t>(from[i + 1])} << 32 |
                              std::bit_cast<std::uint32_t>(from[i + 2]),
                          static_cast<std::int32_t>(arrivals.size())});
    }
  }
  std::sort(arrivals.begin(), arrivals.end());
  plan.arrivals_of_row.offsets.assign(requested.size() + 1, 0);
  for (const Arrival& arrival : arrivals) {
    ++plan.arrivals_of_row.offsets[arrival.row + 1];
    plan.arrivals_of_row.columns.push_back(arrival.place);
  }
  for (std::int64_t row = 0; row < requested.size(); ++row) {
    plan.arrivals_of_row.offsets[row + 1] += plan.arrivals_of_row.offsets[row];
  }
}

}  // namespace

RowExchange::RowExchange(const Ownership& ownership, const std::vector<GlobalNode>& owned,
                         const std::vector<GlobalNode>& needed, Communicator& communicator,
                         const std::vector<std::int64_t>* order) {
  static_assert(sizeof(GlobalNode) == sizeof(std::int32_t));
  const auto plan = std::make_shared<Plan>();
  plan_ = plan;
  plan->communicator = &communicator;
  if (order != nullptr) {
    CHECK_EQ(order->size(), needed.size());
    CHECK(std::is_sorted(order->begin(), order->end()) && (order->empty() || order->front() >= 0));
  }
  const auto nodes = static_cast<std::int64_t>(ownership.owner.size());
  for (const GlobalNode node : needed) {
    CHECK(value(node) >= 0 && value(node) < nodes) << "node " << value(node) << " of " << nodes;
  }
  const RowSet distinct(nodes, reinterpret_cast<const std::int32_t*>(needed.data()),
                        static_cast<std::int64_t>(needed.size()));
  const std::vector<std::int32_t> members = distinct.members();
  std::vector<std::int32_t> entry_rows(needed.size());
  for (std::size_t i = 0; i < needed.size(); ++i) {
    entry_rows[i] = static_cast<std::int32_t>(distinct.position(value(needed[i])));
  }
  plan->received_rows = distinct.size();
  if (communicator.size() == 1) {
    plan->requested_rows = members;  // Local and global numbers are the same, and nothing travels.
    plan->entries_of_row = gathered_from(entry_rows, plan->received_rows);
    plan->entry_rows = RowList(std::move(entry_rows));
    return;
  }
  const std::vector<std::vector<std::int32_t>> wanted =
      plan_receives(ownership, members, entry_rows, *plan);
  plan->entries_of_row = gathered_from(entry_rows, plan->received_rows);
  plan->entry_rows = RowList(std::move(entry_rows));

  std::vector<std::int32_t> sent;  // owned local rows, grouped by receiver
  for (const std::vector<std::int32_t>& asked :
       exchange_lists(communicator, "batch.plan", wanted)) {
    append_local_rows(owned, asked, sent);
    plan->send_rows.push_back(static_cast<std::int64_t>(asked.size()));
  }
  const RowSet requested(static_cast<std::int64_t>(owned.size()), sent);
  plan->requested_rows = requested.members();
  for (std::int32_t& row : sent) row = static_cast<std::int32_t>(requested.position(row));
  plan->sends_of_row = gathered_from(sent, requested.size());
  plan->send_positions = RowList(std::move(sent));
  if (order != nullptr) plan_entries(ownership, owned, needed, *order, requested, *plan);
}

const std::vector<std::int32_t>& RowExchange::requested_rows() const {
  return plan_->requested_rows;
}

std::int64_t RowExchange::needed() const { return plan_->entry_rows.size(); }

void RowExchange::add_to(UploadBatch& batch) const {
  batch.add(plan_->entry_rows);
  add_pattern(plan_->entries_of_row, batch);
  if (plan_->communicator->size() == 1) return;
  batch.add(plan_->send_positions);
  add_pattern(plan_->sends_of_row, batch);
}

}  // namespace micrec
