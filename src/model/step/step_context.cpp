#include "model/step/step_context.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "kernels/neighbour_sum_call.h"

namespace micrec {
namespace {

constexpr double kListLengthBytes = 8;  // before a list, to each peer

RowExchange exchange_of(const Shard& shard, const TripleBatch& batch) {
  std::vector<GlobalNode> needed = batch.positive;
  needed.insert(needed.end(), batch.negative.begin(), batch.negative.end());
  std::vector<std::int64_t> order;  // of the gradients: all positives, then all negatives
  if (shard.reproducible) {
    constexpr std::int64_t kNegatives = std::int64_t{1} << 62;
    order = batch.position;
    for (const std::int64_t position : batch.position) order.push_back(kNegatives + position);
  }
  return {shard.ownership, shard.owned(), needed, *shard.communicator,
          shard.reproducible ? &order : nullptr};
}

RowGroups groups_of(const Shard& shard, const std::vector<std::int32_t>& rows, int repeats) {
  const auto count = static_cast<std::int64_t>(rows.size());
  if (shard.summands() == 1) return {repeats * count, 1, nullptr};
  std::vector<std::int32_t> summands;
  summands.reserve(rows.size());
  for (const std::int32_t row : rows) summands.push_back(shard.summand_of_row[row]);
  return group_rows(summands, shard.summands(), repeats);
}

}  // namespace

double StepLoss::of(std::string_view name) const {
  for (const auto& [other, part] : by_name) {
    if (other == name) return part;
  }
  return 0;
}

double StepLoss::total() const {
  double sum = 0;
  for (const auto& [name, part] : by_name) sum += part;
  return sum;
}

StepLoss LossValues::read() const {
  const at::Tensor here = values.cpu();
  StepLoss loss;
  for (std::size_t n = 0; n < parts.size(); ++n) {
    loss.by_name.emplace_back(parts[n], here.const_data_ptr<double>()[n]);
  }
  return loss;
}

BatchItems::Handle BatchItems::add(const at::Tensor& of_requested) {
  parts_.push_back(of_requested);
  return static_cast<Handle>(parts_.size() - 1);
}

void BatchItems::exchange(const RowExchange& exchange, const char* name) {
  std::vector<std::int64_t> widths;
  for (const at::Tensor& part : parts_) widths.push_back(part.size(1));
  parts_ = at::split_with_sizes(fetch(exchange, name, at::cat(parts_, 1)), widths, 1);
}

void BatchItems::declare(const RankPlace& at, StepCosts& costs) {
  costs.exchange("batch.items", Group::rows, 2, 0);  // there, and gradients home
  costs.memory(MemoryKind::activations, at.needs().wanted_rows[at.row] * at.row_bytes() * 4);
  declare_added(at, /*rows=*/1, costs);
}

void BatchItems::declare_added(const RankPlace& at, double rows, StepCosts& costs) {
  const StepNeeds& needs = at.needs();
  costs.joins("batch.items",
              (needs.items_sent[at.row] + needs.items_received[at.row]) * rows * at.row_bytes());
  costs.memory(MemoryKind::activations,
               (at.triples() * 2 * 4 + needs.requested_items[at.row] * 3) * rows * at.row_bytes());
}

StepContext::StepContext(const Shard& shard, const ColumnSums& sums, std::uint64_t seed,
                         TripleBatch batch, std::int64_t batch_rows, StepTime time,
                         std::vector<const char*> parts)
    : shard(shard),
      sums(sums),
      dense(shard, sums),
      time(time),
      seed(seed),
      batch_(std::move(batch)),
      batch_rows_(batch_rows),
      exchange_(exchange_of(shard, *batch_)),
      uploads_(shard.device) {
  share.parts = std::move(parts);
  share.of_summands.resize(share.parts.size());
  share.of_rank.resize(share.parts.size());
  std::vector<std::int32_t> user_rows;
  user_rows.reserve(batch_->user.size());
  for (const GlobalNode user : batch_->user) user_rows.push_back(shard.row_of[value(user)]);
  requested_ = want(exchange_->requested_rows());
  users_ = want(std::move(user_rows));
}

StepContext::StepContext(const Shard& shard, const ColumnSums& sums, std::int64_t epoch)
    : shard(shard), sums(sums), dense(shard, sums), time{0, epoch, nullptr} {}

StepContext::Wanted StepContext::want(std::vector<std::int32_t> owned_rows) {
  lists_.push_back({RowList(std::move(owned_rows)), std::nullopt});
  return static_cast<Wanted>(lists_.size() - 1);
}

void StepContext::finish_plan() {
  std::vector<std::int32_t> all;
  for (const WantedList& list : lists_) {
    all.insert(all.end(), list.owned.rows().begin(), list.owned.rows().end());
  }
  wanted_ = select_rows(shard.owned_rows(), all);
  for (WantedList& list : lists_) {
    std::vector<std::int32_t> positions;
    positions.reserve(list.owned.rows().size());
    for (const std::int32_t row : list.owned.rows()) {
      positions.push_back(static_cast<std::int32_t>(wanted_->set.position(row)));
    }
    list.taken.emplace(RowList(std::move(positions)), wanted_->list.size());
  }
  uploads_.add(wanted_->set);
  if (propagates_wanted) {
    active_ = shard.graph->plan_active("halo.propagate.active", wanted_);
    active_->add_to(uploads_);
    add_hubs(shard.graph->pattern(), wanted_->list, uploads_);
  }
  if (takes_wanted) {
    taken_.emplace(wanted_->list, shard.owned_rows());
    taken_->add_to(uploads_);  // the list with the rest
  } else {
    uploads_.add(wanted_->list);
  }
  for (const WantedList& list : lists_) {
    uploads_.add(list.owned);
    list.taken->add_to(uploads_);
  }
  for (const People& of_pair : people) of_pair.columns.add_to(uploads_);
  for (const PlannedList& list : planned_) {
    std::visit([&](const auto& numbers) { uploads_.add(numbers); }, list);
  }
  exchange_->add_to(uploads_);
  uploads_.pack();
}

void StepContext::begin_forward() {
  if (time.parts != nullptr) time.parts->begin(StepPart::forward);
  uploads_.send();
}

at::Tensor StepContext::rows_of(const at::Tensor& of_wanted, Wanted which) const {
  return take_rows(of_wanted, *list_of(which).taken);
}

at::Tensor StepContext::planned(Planned which) const {
  return std::visit([&](const auto& numbers) { return numbers.on(shard.device); },
                    planned_.at(static_cast<std::size_t>(which)));
}

const std::shared_ptr<const ActiveRows>& StepContext::active_rows() const {
  CHECK(active_) << "no part has said that propagates_wanted rows";
  return active_;
}

const std::vector<double>& StepContext::planned_here(Planned which) const {
  return std::get<KeptNumbers<double>>(planned_.at(static_cast<std::size_t>(which))).here();
}

at::Tensor StepContext::wanted_of(const at::Tensor& of_owned) const {
  CHECK(taken_) << "no part has said that it takes_wanted rows";
  return take_rows(of_owned, *taken_);
}

at::Tensor StepContext::owned_of_users(const at::Tensor& of_owned) const {
  return of_owned.index_select(0, list_of(users_).owned.on(shard.device));
}

at::Tensor StepContext::owned_of_requested(const at::Tensor& of_owned) const {
  return of_owned.index_select(0, list_of(requested_).owned.on(shard.device));
}

RowGroups StepContext::groups_of_triples(int blocks) const {
  return groups_of(shard, list_of(users_).owned.rows(), blocks);
}

RowGroups StepContext::groups_of_requested() const {
  return groups_of(shard, exchange_->requested_rows(), 1);
}

void StepContext::add_loss(const at::Tensor& term) { share.terms.push_back(term); }

std::int64_t StepContext::place_of(std::string_view part) const {
  const auto place = std::ranges::find(share.parts, part);
  CHECK(place != share.parts.end()) << part << " is no term's part: see kParts";
  return place - share.parts.begin();
}

void StepContext::report(std::string_view part, const at::Tensor& of_summands) {
  CHECK_EQ(of_summands.numel(), shard.summands()) << part;
  share.of_summands[place_of(part)] = of_summands.detach();
}

void StepContext::report_of_rank(std::string_view part, const at::Tensor& of_rank) {
  at::Tensor& sum = share.of_rank[place_of(part)];
  sum = sum.defined() ? sum + of_rank.detach() : of_rank.detach();
}

void StepContext::declare(const RankPlace& at, StepCosts& costs) {
  costs.exchange(
      "batch.plan", Group::rows, 2,
      (at.grid.rows - 1) * kListLengthBytes + at.needs().items_received[at.row] * kNodeBytes);
}

}  // namespace micrec
