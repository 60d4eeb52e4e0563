#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/pages.h"

namespace micrec {

/// Whole numbers one behind the other, as many as there may be, in blocks: the least of a block,
/// and how far each of it is from that, in as many bits as the farthest needs. Room is never taken
/// twice, as a vector takes it while it grows, and can be given back from the front.
///
/// Cost     A number takes the bits of its block, 1/4 of a bit more, and some nanoseconds to be
///          read by its place; a tenth of that where blocks are read.
/// Source   Frame of reference (Goldstein, Ramakrishnan, Shaft 1998).
template <typename T>
class PackedColumn {
 public:
  static constexpr std::size_t kBlock = 1024;
  using Block = std::array<T, kBlock>;

  class const_iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = const T*;
    using reference = T;

    const_iterator() = default;
    const_iterator(const PackedColumn& column, std::size_t at) : column_(&column), at_(at) {}
    T operator*() const { return (*column_)[at_]; }
    const_iterator& operator++() {
      ++at_;
      return *this;
    }
    const_iterator operator++(int) { return {*column_, at_++}; }
    bool operator==(const const_iterator& other) const { return at_ == other.at_; }

   private:
    const PackedColumn* column_ = nullptr;
    std::size_t at_ = 0;
  };

  PackedColumn() = default;
  PackedColumn(std::initializer_list<T> values) { append({values.begin(), values.size()}); }
  PackedColumn(const PackedColumn& other) {
    Block room;
    for (std::size_t at = 0; at < other.size(); at += kBlock) append(other.block(at, room));
  }
  PackedColumn(PackedColumn&& other) noexcept { swap(other); }
  PackedColumn& operator=(PackedColumn other) noexcept {
    swap(other);
    return *this;
  }
  ~PackedColumn() = default;

  std::size_t size() const { return blocks_.size() * kBlock + filled_; }
  bool empty() const { return size() == 0; }
  const_iterator begin() const { return {*this, 0}; }
  const_iterator end() const { return {*this, size()}; }
  T back() const { return (*this)[size() - 1]; }

  T operator[](std::size_t at) const {
    if (at / kBlock == blocks_.size()) return (*last_)[at % kBlock];
    return blocks_[at / kBlock].value(at % kBlock);
  }

  /// The values from `begin`, where a block begins, to the end of that block: in `room`, or where
  /// they stand.
  std::span<const T> block(std::size_t begin, Block& room) const {
    if (begin / kBlock == blocks_.size()) return {last_->data(), filled_};
    const Packed& packed = blocks_[begin / kBlock];
    for (std::size_t i = 0; i < kBlock; ++i) room[i] = packed.value(i);
    return room;
  }

  void push_back(T value) {
    if (!last_) last_ = std::make_unique_for_overwrite<Block>();
    (*last_)[filled_++] = value;
    if (filled_ == kBlock) pack();
  }

  /// The same value until there are `size`.
  void fill_up(std::size_t size, T value) {
    while (this->size() < size) push_back(value);
  }

  void append(std::span<const T> values) {
    if (!last_) last_ = std::make_unique_for_overwrite<Block>();
    while (!values.empty()) {
      const std::size_t taken = std::min(values.size(), kBlock - filled_);
      std::copy_n(values.begin(), taken, last_->begin() + filled_);
      filled_ += taken;
      values = values.subspan(taken);
      if (filled_ == kBlock) pack();
    }
  }

  /// Gives back the memory of blocks before that of `at`, most of it; they must not be read again.
  void give_back_before(std::size_t at) {
    if (at / kBlock >= blocks_.size()) return;
    const char* const kept = blocks_[at / kBlock].bits;
    const auto holds_kept = [kept](const Pages& slab) {
      const auto* first = static_cast<const char*>(slab.data());
      return first <= kept && kept < first + slab.bytes();
    };
    while (!holds_kept(slabs_[slabs_gone_])) slabs_[slabs_gone_++] = Pages();
  }

  friend bool operator==(const PackedColumn& a, const PackedColumn& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
  }
  friend bool operator==(const PackedColumn& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  static constexpr std::size_t kSlabWords = std::size_t{1} << 17;

  struct Packed {
    const char* bits = nullptr;  // in a slab, with 8 bytes behind them
    std::uint64_t least = 0;
    std::uint64_t mask = 0;
    std::uint32_t width = 0;  // of a distance: up to 57 bits, or 64

    T value(std::size_t i) const {
      const std::size_t bit = i * width;
      std::uint64_t word;
      std::memcpy(&word, bits + bit / 8, sizeof word);
      return static_cast<T>(least + (word >> bit % 8 & mask));
    }
  };
  static_assert(std::endian::native == std::endian::little, "bits count from the first byte on");

  void swap(PackedColumn& other) noexcept {
    std::swap(blocks_, other.blocks_);
    std::swap(slabs_, other.slabs_);
    std::swap(slab_words_, other.slab_words_);
    std::swap(slabs_gone_, other.slabs_gone_);
    std::swap(last_, other.last_);
    std::swap(filled_, other.filled_);
  }

  /// Room for some words of the slabs, with one more behind them.
  std::uint64_t* room_for(std::size_t words) {
    if (slabs_.empty() || slab_words_ + words >= kSlabWords) {
      slabs_.emplace_back(kSlabWords * sizeof(std::uint64_t));
      slab_words_ = 0;
    }
    auto* const begin = static_cast<std::uint64_t*>(slabs_.back().data()) + slab_words_;
    slab_words_ += words;
    return begin;
  }

  void pack() {
    const Block& values = *last_;
    T least = values[0];
    T most = values[0];
    for (const T value : values) {
      least = std::min(least, value);
      most = std::max(most, value);
    }
    Packed packed;
    packed.least = static_cast<std::uint64_t>(least);
    packed.width = std::bit_width(static_cast<std::uint64_t>(most) - packed.least);
    if (packed.width > 57) packed.width = 64;
    packed.mask = packed.width == 0 ? 0 : ~std::uint64_t{0} >> (64 - packed.width);
    std::uint64_t* out = room_for(kBlock / 64 * packed.width);
    packed.bits = reinterpret_cast<const char*>(out);
    std::uint64_t word = 0;
    std::uint32_t filled = 0;  // bits of it
    for (std::size_t i = 0; i < kBlock && packed.width > 0; ++i) {
      const std::uint64_t distance = static_cast<std::uint64_t>(values[i]) - packed.least;
      word |= distance << filled;
      filled += packed.width;
      if (filled < 64) continue;
      *out++ = word;
      filled -= 64;
      word = filled == 0 ? 0 : distance >> (packed.width - filled);
    }
    blocks_.push_back(packed);
    filled_ = 0;
  }

  std::vector<Packed> blocks_;  // of kBlock values each
  std::vector<Pages> slabs_;
  std::size_t slab_words_ = 0;   // used of the last slab
  std::size_t slabs_gone_ = 0;   // given back
  std::unique_ptr<Block> last_;  // the first `filled_`, fewer than kBlock; none before the first
  std::size_t filled_ = 0;
};

/// Reads a column that does not change in rising places, a block at a time.
template <typename T>
class PackedReader {
 public:
  explicit PackedReader(const PackedColumn<T>& column) : column_(column) {}

  T operator[](std::size_t at) {
    if (at - begin_ >= values_.size()) {
      begin_ = at / PackedColumn<T>::kBlock * PackedColumn<T>::kBlock;
      values_ = column_.block(begin_, room_);
    }
    return values_[at - begin_];
  }

 private:
  const PackedColumn<T>& column_;
  std::size_t begin_ = 0;
  std::span<const T> values_;
  typename PackedColumn<T>::Block room_;
};

}  // namespace micrec
