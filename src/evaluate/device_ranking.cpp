#include "evaluate/device_ranking.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "kernels/gpu.h"
#include "kernels/rows.h"
#include "kernels/upload.h"

namespace micrec {
namespace {

/// Numbers in rows, rising within each.
struct ListsOfPositions {
  at::Tensor offsets;    // (rows + 1) int64
  at::Tensor positions;  // (n) int32; those left out come last
  at::Tensor order;      // (n) int64 which of those given each is
};

/// Shapes   row, position: (n) int64, of a position -1 nothing is taken.
ListsOfPositions sort_by_row(const at::Tensor& row, const at::Tensor& position, std::int64_t rows,
                             std::int64_t candidates) {
  const at::Tensor key = at::where(position < 0, rows * candidates, row * candidates + position);
  const auto [sorted, order] = at::sort(key);
  const at::Tensor begins = at::arange(rows + 1, key.options()) * candidates;
  return {at::searchsorted(sorted, begins), at::remainder(sorted, candidates).to(at::kInt), order};
}

/// The number of the list that each of `values` is of. Shapes: lengths (lists) int64; returns
/// (values) int64.
at::Tensor list_of_values(const at::Tensor& lengths, std::int64_t values) {
  return at::repeat_interleave(lengths, std::optional(values));  // told how many, nothing waits
}

at::Tensor lengths_of(const at::Tensor& offsets) {
  return offsets.slice(0, 1) - offsets.slice(0, 0, -1);
}

}  // namespace

DeviceCandidates::DeviceCandidates(const at::Tensor& rows, std::int64_t first_item,
                                   std::span<const std::int32_t> row_of,
                                   std::span<const std::uint8_t> group, int groups,
                                   const DeviceRows& coefficients, std::int64_t sources)
    : first_item_(first_item), groups_(groups) {
  const c10::Device device = rows.device();
  const auto items = static_cast<std::int64_t>(row_of.size());
  CHECK_EQ(rows.size(0), items);
  const NumberLists order = candidate_order(first_item, group, groups);
  std::vector<std::int32_t> row_at;  // by position
  for (const std::int32_t number : order.values) row_at.push_back(row_of[number - first_item]);
  const at::Tensor row_there = upload(row_at, device);
  rows_ = rows.index_select(0, row_there);
  numbers_ = upload(order.values, device);
  group_begin_ = upload(order.offsets, device);
  const at::Tensor positions = at::arange(size(), group_begin_.options());
  position_of_ = at::full({items}, -1, group_begin_.options());
  position_of_.index_copy_(0, numbers_.to(at::kLong) - first_item, positions);
  if (coefficients.lengths.defined()) take(coefficients, sources, row_there);
}

/// Sorts coefficients by source. row_at: (candidates) int32 their rows.
void DeviceCandidates::take(const DeviceRows& coefficients, std::int64_t sources,
                            const at::Tensor& row_at) {
  CHECK_EQ(coefficients.lengths.size(0), position_of_.size(0));
  const at::TensorOptions of_positions = position_of_.options();
  at::Tensor position_of_row = at::full(position_of_.sizes(), -1, of_positions);
  position_of_row.index_copy_(0, row_at.to(at::kLong), at::arange(size(), of_positions));
  const at::Tensor row =
      list_of_values(coefficients.lengths.to(at::kLong), coefficients.columns.size(0));
  const ListsOfPositions by_source = sort_by_row(
      coefficients.columns.to(at::kLong), position_of_row.index_select(0, row), sources, size());
  source_offsets_ = by_source.offsets;
  source_positions_ = by_source.positions;
  source_values_ = coefficients.values.index_select(0, by_source.order);
}

at::Tensor DeviceCandidates::positions_of(const at::Tensor& items) const {
  const std::int64_t last = position_of_.size(0) - 1;
  const at::Tensor at_item = items.to(at::kLong) - first_item_;
  const at::Tensor position = position_of_.index_select(0, at_item.clamp(0, last));
  return at::where((at_item < 0).logical_or_(at_item > last), -1, position);
}

void DeviceCandidates::put_into(RankCall& call) const {
  call.items = address<float>(rows_);
  call.numbers = address<std::int32_t>(numbers_);
  call.candidates = size();
  call.dim = rows_.size(1);
  call.group_begin = address<std::int64_t>(group_begin_);
  call.groups = groups_;
  call.source_offsets = address<std::int64_t>(source_offsets_);
  call.source_positions = address<std::int32_t>(source_positions_);
  call.source_values = address<float>(source_values_);
  call.sources = has_coefficients() ? source_offsets_.size(0) - 1 : 0;
}

DeviceRanking::DeviceRanking(at::Tensor rows, const RankedUsers& users,
                             const NumberLists& positives, const NumberLists& masked,
                             std::span<const ScoreMix> mixes, int groups, std::int64_t sums_bytes)
    : rows_(std::move(rows)), users_(positives.size()), sums_bytes_(sums_bytes) {
  const c10::Device device = rows_.device();
  const auto count = static_cast<std::int64_t>(positives.values.size());
  const auto mix_count = static_cast<std::int64_t>(mixes.size());
  CHECK(rows_.is_contiguous() && rows_.size(0) == users_);
  CHECK_EQ(masked.size(), users_);
  positive_offsets_ = upload(positives.offsets, device);
  positive_items_ = upload(positives.values, device);
  positive_user_ = list_of_values(lengths_of(positive_offsets_), count).to(at::kInt);
  masked_offsets_ = upload(masked.offsets, device);
  masked_items_ = upload(masked.values, device);
  masked_user_ = list_of_values(lengths_of(masked_offsets_), masked_items_.size(0));
  if (users.histories != nullptr) {
    CHECK_EQ(static_cast<std::int64_t>(users.history_of.size()), users_);
    history_offsets_ = upload(users.histories->offsets, device);
    history_items_ = upload(users.histories->values, device);
    history_of_ = upload(users.history_of, device);
    if (!users.history_weights.empty()) history_weights_ = upload(users.history_weights, device);
  }
  mixes_ = upload(mixes, device);
  thresholds_ = at::empty({mix_count, count}, rows_.options());
  turns_ = at::empty({count, groups}, positive_items_.options());
  ahead_ = at::zeros({mix_count, count, groups}, positive_items_.options());
}

RankCall DeviceRanking::call_for(const DeviceCandidates& candidates) const {
  RankCall call;
  candidates.put_into(call);
  CHECK_EQ(call.groups, turns_.size(1));
  CHECK_EQ(call.dim, rows_.size(1));
  CHECK(!candidates.has_coefficients() || history_of_.defined()) << "a linear term needs histories";
  call.history_offsets = address<std::int64_t>(history_offsets_);
  call.history_items = address<std::int32_t>(history_items_);
  call.history_weights = address<float>(history_weights_);
  call.history_of = address<std::int32_t>(history_of_);
  call.users = address<float>(rows_);
  call.positive_offsets = address<std::int64_t>(positive_offsets_);
  call.positive_items = address<std::int32_t>(positive_items_);
  call.positive_user = address<std::int32_t>(positive_user_);
  call.positives = positive_items_.size(0);
  call.mixes = address<ScoreMix>(mixes_);
  call.mix_count = thresholds_.size(0);
  call.thresholds = address<float>(thresholds_);
  call.turns = address<std::int32_t>(turns_);
  call.ahead = address<std::int32_t>(ahead_);
  return call;
}

/// Where positives turn among these candidates; among others they turn elsewhere.
void DeviceRanking::place(const RankCall& call, const DeviceCandidates& candidates) {
  const std::int64_t first = candidates.first_item();
  if (std::exchange(placed_among_, first) == first) return;
  place_positives_on_gpu(call, candidates.device());
}

void DeviceRanking::score(const DeviceCandidates& candidates) {
  place(call_for(candidates), candidates);
}

void DeviceRanking::count(const DeviceCandidates& candidates) {
  if (users_ == 0 || candidates.size() == 0) return;
  RankCall call = call_for(candidates);
  const c10::Device device = candidates.device();
  place(call, candidates);
  const ListsOfPositions masked =
      sort_by_row(masked_user_, candidates.positions_of(masked_items_), users_, candidates.size());
  call.masked_offsets = address<std::int64_t>(masked.offsets);
  call.masked_positions = address<std::int32_t>(masked.positions);
  std::int64_t step = users_;
  at::Tensor sums;
  if (candidates.has_coefficients()) {
    const std::int64_t row_bytes = candidates.size() * std::int64_t{sizeof(float)};
    const std::int64_t fitting = sums_bytes_ / row_bytes / kRankUsers * kRankUsers;
    step = std::min(users_, std::max<std::int64_t>(fitting, kRankUsers));
    sums = at::empty({step, candidates.size()}, rows_.options());
    call.sums = address<float>(sums);
  }
  for (std::int64_t first = 0; first < users_; first += step) {
    call.first_user = first;
    call.last_user = std::min(users_, first + step);
    if (call.sums != nullptr) sum_histories_on_gpu(call, device);
    count_ahead_on_gpu(call, device);
  }
}

std::vector<std::int32_t> DeviceRanking::ahead() const { return download<std::int32_t>(ahead_); }

double largest_row_norm(const at::Tensor& rows) {
  if (rows.is_cpu()) {
    return largest_row_norm(values_of(rows), rows.size(1));
  }
  if (rows.numel() == 0) return 0;
  constexpr std::int64_t kRowsAtATime = 1 << 20;  // of which there is a copy in float64
  at::Tensor largest = at::zeros({}, rows.options().dtype(at::kDouble));
  for (std::int64_t begin = 0; begin < rows.size(0); begin += kRowsAtATime) {
    const at::Tensor part = rows.slice(0, begin, begin + kRowsAtATime).to(at::kDouble);
    largest = at::maximum(largest, (part * part).sum(1).amax());
  }
  const auto squares = largest.item<double>();  // of what is not a number: not a number
  return std::isnan(squares) ? HUGE_VAL : std::sqrt(squares);
}

}  // namespace micrec
