#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/kernel_inline.h"

namespace micrec {

class DeviceNumbers;

/// A set of rows of [0, universe) that also knows the position of each among its members, in rising
/// order, so that data of the members alone can be stored compactly.
///
/// Cost     2 bits a row of the universe: 10 million rows are 2.5 MB and stay in a cache near the
///          core, where an index of 4 bytes a row would not.
class RowSet {
 public:
  /// 64 rows, those from a multiple of 64 on.
  struct Word {
    std::uint64_t bits = 0;
    std::int64_t members_before = 0;

    MICREC_SHARED_INLINE bool holds(std::int64_t row) const { return bits >> (row & 63) & 1; }
    MICREC_SHARED_INLINE std::int64_t position(std::int64_t row) const {
      const std::uint64_t below = bits & ((std::uint64_t{1} << (row & 63)) - 1);
#ifdef __CUDA_ARCH__
      return members_before + __popcll(below);
#else
      return members_before + __builtin_popcountll(below);
#endif
    }
  };

  RowSet() = default;
  /// `rows`: any order, repeats allowed, each in [0, universe).
  RowSet(std::int64_t universe, const std::int32_t* rows, std::int64_t count);
  RowSet(std::int64_t universe, const std::vector<std::int32_t>& rows)
      : RowSet(universe, rows.data(), static_cast<std::int64_t>(rows.size())) {}

  std::int64_t universe() const { return universe_; }
  std::int64_t size() const { return size_; }
  bool contains(std::int64_t row) const { return words_[row >> 6].holds(row); }
  /// Position of a member; for another row, how many members are smaller.
  std::int64_t position(std::int64_t row) const { return words_[row >> 6].position(row); }
  /// The members, rising.
  std::vector<std::int32_t> members() const;
  const Word* words() const { return words_.data(); }
  std::int64_t word_count() const { return static_cast<std::int64_t>(words_.size()); }
  /// Its words' copy on a GPU, null before it is used there; a copy of a set made before shares
  /// nothing.
  std::shared_ptr<DeviceNumbers>& on_device() const { return on_device_; }

 private:
  std::int64_t universe_ = 0;
  std::int64_t size_ = 0;
  std::vector<Word> words_;
  mutable std::shared_ptr<DeviceNumbers> on_device_;
};

}  // namespace micrec
