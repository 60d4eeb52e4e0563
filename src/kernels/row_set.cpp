#include "kernels/row_set.h"

#include <bit>

namespace micrec {

RowSet::RowSet(std::int64_t universe, const std::int32_t* rows, std::int64_t count)
    : universe_(universe), words_((universe + 63) / 64) {
  for (std::int64_t i = 0; i < count; ++i) {
    words_[rows[i] >> 6].bits |= std::uint64_t{1} << (rows[i] & 63);
  }
  for (Word& word : words_) {
    word.members_before = size_;
    size_ += std::popcount(word.bits);
  }
}

std::vector<std::int32_t> RowSet::members() const {
  std::vector<std::int32_t> rows(size_);
  std::int64_t next = 0;
  for (std::size_t w = 0; w < words_.size(); ++w) {
    for (std::uint64_t bits = words_[w].bits; bits != 0; bits &= bits - 1) {
      rows[next++] = static_cast<std::int32_t>(w * 64) + std::countr_zero(bits);
    }
  }
  return rows;
}

}  // namespace micrec
