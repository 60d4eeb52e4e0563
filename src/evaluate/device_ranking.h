#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/number_lists.h"
#include "evaluate/gathered_rows.h"
#include "evaluate/ranking.h"
#include "kernels/count_ahead_block.h"
#include "kernels/score_mix.h"

// What ranking.h does, on a GPU where the rows are: the same counts, as every score has the same
// bits (kernels/count_ahead_block.h).
namespace micrec {

/// Candidates by position; see Candidates, which has the same in main memory.
class DeviceCandidates {
 public:
  /// Shapes   rows: (items, dim) float32 on the device; row_of, group: (items), as Candidates;
  ///          coefficients: (items) rows of `sources` items numbered over all domains, undefined
  ///          tensors where there are none.
  /// Cost     a copy of the rows and a sort of the coefficients, on the device; nothing waits.
  DeviceCandidates(const at::Tensor& rows, std::int64_t first_item,
                   std::span<const std::int32_t> row_of, std::span<const std::uint8_t> group,
                   int groups, const DeviceRows& coefficients = {}, std::int64_t sources = 0);

  std::int64_t size() const { return rows_.size(0); }
  std::int64_t first_item() const { return first_item_; }
  c10::Device device() const { return rows_.device(); }
  bool has_coefficients() const { return source_offsets_.defined(); }

  /// Puts them into a call, which they outlive.
  void put_into(RankCall& call) const;
  /// Positions of items, -1 of one that is no candidate. Shapes: items (n) int32; returns (n)
  /// int64.
  at::Tensor positions_of(const at::Tensor& items) const;

 private:
  void take(const DeviceRows& coefficients, std::int64_t sources, const at::Tensor& row_at);

  std::int64_t first_item_;
  int groups_;
  at::Tensor rows_;              // (candidates, dim)
  at::Tensor numbers_;           // (candidates) int32
  at::Tensor position_of_;       // (items) int64, -1: no candidate
  at::Tensor group_begin_;       // (groups + 1) int64
  at::Tensor source_offsets_;    // (sources + 1) int64; undefined: no coefficients
  at::Tensor source_positions_;  // (coefficients) int32
  at::Tensor source_values_;     // (coefficients) float32
};

/// Users and their relevant items, ranked against candidates that come in one block or in several.
class DeviceRanking {
 public:
  /// Shapes   rows: (users, dim) float32 on the device; users: their histories, `users.rows` is not
  ///          looked at; positives, masked: as of count_ahead().
  /// Cost     the lists go to the device.
  DeviceRanking(at::Tensor rows, const RankedUsers& users, const NumberLists& positives,
                const NumberLists& masked, std::span<const ScoreMix> mixes, int groups,
                std::int64_t sums_bytes = kRankSumsBytes);

  /// As score_pairs() of the positives. Each of the candidates that count() gets is scored before.
  void score(const DeviceCandidates& candidates);
  /// As count_ahead(); the caller has seen to it that scores are finite.
  ///
  /// Cost     2 * users * candidates * dim operations, an addition for each coefficient that a
  ///          history meets; kRankSumsBytes where there are linear terms; no matrix of scores is
  ///          stored.
  void count(const DeviceCandidates& candidates);
  /// Shapes: returns (mixes, positives, groups). The only wait.
  std::vector<std::int32_t> ahead() const;

 private:
  RankCall call_for(const DeviceCandidates& candidates) const;
  void place(const RankCall& call, const DeviceCandidates& candidates);

  at::Tensor rows_;  // (users, dim)
  std::int64_t users_;
  std::int64_t placed_among_ = -1;  // the first item of the candidates
  std::int64_t sums_bytes_;
  at::Tensor positive_offsets_, positive_items_, positive_user_;
  at::Tensor masked_offsets_, masked_items_, masked_user_;
  at::Tensor history_offsets_, history_items_, history_of_;  // undefined: no histories
  at::Tensor history_weights_;                               // undefined: each is 1
  at::Tensor mixes_;                                         // ScoreMix, as bytes
  at::Tensor thresholds_;                                    // (mixes, positives)
  at::Tensor turns_;                                         // (positives, groups) int32
  at::Tensor ahead_;                                         // (mixes, positives, groups) int32
};

/// Largest Euclidean norm of a row, infinite where a value is not finite; of a device as of the
/// CPU.
///
/// Shapes   rows: (n, dim) float32.
double largest_row_norm(const at::Tensor& rows);

}  // namespace micrec
