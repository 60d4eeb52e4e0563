#include "model/step_context.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>

#include "graph/operators.h"
#include "kernels/upload.h"

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
  return {shard.ownership,     shard.owned(), needed,
          *shard.communicator, shard.threads, shard.reproducible ? &order : nullptr};
}

RowGroups groups_of(const Shard& shard, const std::vector<std::int32_t>& rows, int repeats) {
  std::vector<std::int32_t> summands;
  for (const std::int32_t row : rows) summands.push_back(shard.summand_of_row[row]);
  return group_rows(summands, shard.summands(), shard.threads, repeats);
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
  declare_added(at, /*rows=*/1, /*numbers=*/0, costs);
}

void BatchItems::declare_added(const RankPlace& at, double rows, double numbers, StepCosts& costs) {
  const StepNeeds& needs = at.needs();
  costs.joins("batch.items", (needs.items_sent[at.row] + needs.items_received[at.row]) *
                                 (rows * at.columns + numbers) * kFloatBytes);
  costs.memory(MemoryKind::activations,
               (at.triples() * 2 * 4 + needs.requested_items[at.row] * 3) * rows * at.row_bytes());
}

StepContext::StepContext(const Shard& shard, const ColumnSums& sums, DenseInputs& dense,
                         std::uint64_t seed, const TripleBatch& batch, std::int64_t batch_rows,
                         StepTime time, std::vector<const char*> parts)
    : shard(shard),
      sums(sums),
      dense(dense),
      time(time),
      seed(seed),
      batch_(&batch),
      batch_rows_(batch_rows),
      exchange_(exchange_of(shard, batch)) {
  share.parts = std::move(parts);
  share.of_summands.resize(share.parts.size());
  share.of_rank.resize(share.parts.size());
  for (const GlobalNode user : batch.user) user_rows_.push_back(shard.row_of[value(user)]);
  want(exchange_->requested_rows());
  want(user_rows_);
}

StepContext::StepContext(const Shard& shard, const ColumnSums& sums, DenseInputs& dense,
                         std::int64_t epoch)
    : shard(shard), sums(sums), dense(dense), time{0, epoch, nullptr} {}

void StepContext::want(const std::vector<std::int32_t>& owned_rows) {
  wanted_.insert(wanted_.end(), owned_rows.begin(), owned_rows.end());
}

void StepContext::begin_forward() {
  wanted_set_ = RowSet(shard.owned_rows(), wanted_);
  wanted_ = wanted_set_.members();
  if (time.parts != nullptr) time.parts->begin(StepPart::forward);
}

at::Tensor StepContext::rows_of(const at::Tensor& of_wanted,
                                const std::vector<std::int32_t>& owned_rows) const {
  std::vector<std::int32_t> positions;
  positions.reserve(owned_rows.size());
  for (const std::int32_t row : owned_rows) {
    positions.push_back(static_cast<std::int32_t>(wanted_set_.position(row)));
  }
  return take_rows(of_wanted, positions, shard.threads);
}

at::Tensor StepContext::wanted_of(const at::Tensor& of_owned) const {
  return take_rows(of_owned, wanted_, shard.threads);
}

at::Tensor StepContext::owned_of_users(const at::Tensor& of_owned) {
  if (!users_.defined()) users_ = upload(user_rows_, shard.device);
  return of_owned.index_select(0, users_);
}

at::Tensor StepContext::owned_of_requested(const at::Tensor& of_owned) {
  if (!requested_.defined()) requested_ = upload(exchange_->requested_rows(), shard.device);
  return of_owned.index_select(0, requested_);
}

RowGroups StepContext::groups_of_triples(int blocks) const {
  return groups_of(shard, user_rows_, blocks);
}

RowGroups StepContext::groups_of_requested() const {
  return groups_of(shard, exchange_->requested_rows(), 1);
}

void StepContext::add_loss(const at::Tensor& term) {
  share.total = share.total.defined() ? share.total + term : term;
}

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
