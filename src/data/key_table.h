#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// The order of keys in a dataset file: plain decimal numbers (no sign, no leading zero) first, by
/// value, then all others by their bytes. It compares two keys alone, so one more key never
/// reorders the others.
bool key_less(std::string_view a, std::string_view b);

/// Numbers distinct keys in the order in which they come.
///
/// Cost     The bytes of each distinct key once, and 24 to 40 bytes a key; add() is one hash and,
///          mostly, one comparison. add_all() waits for memory once for many keys.
class KeyTable {
 public:
  KeyTable() : slots_(kFirstSlots) {}

  /// The number of a key, new or known.
  /// Errors   Error(data) where there are more than 2^31 - 2 keys.
  std::int32_t add(std::string_view key);
  /// The numbers of many keys, as add() gives them one after the other. numbers: (keys).
  void add_all(std::span<const std::string_view> keys, std::span<std::int32_t> numbers);
  /// The number of a key, or -1.
  std::int32_t find(std::string_view key) const;

  std::int64_t size() const { return static_cast<std::int64_t>(end_.size()); }
  /// Valid until the next add().
  std::string_view key(std::int32_t number) const {
    const std::uint64_t begin = number == 0 ? 0 : end_[number - 1];
    return std::string_view(bytes_.data() + begin, end_[number] - begin);
  }

  /// All numbers, by key_less of their keys.
  std::vector<std::int32_t> sorted() const;

 private:
  static constexpr int kFirstBits = 10;
  static constexpr std::size_t kFirstSlots = std::size_t{1} << kFirstBits;  // doubled as it grows

  /// A place of the table: a key's number, -1 where free, and its hash, which mostly tells other
  /// keys from it without a look at theirs.
  struct Slot {
    std::uint32_t hash = 0;
    std::int32_t number = -1;
  };

  std::size_t first_slot(std::uint32_t hash) const { return hash >> (32 - bits_); }
  std::size_t slot_of(std::string_view key, std::uint32_t hash) const;
  std::int32_t add(std::string_view key, std::uint32_t hash);
  void prefetch_likely(std::uint32_t hash) const;
  void grow();
  std::size_t common_beginning() const;

  std::vector<char> bytes_;         // the keys, one after the other
  std::vector<std::uint64_t> end_;  // (size) end of each key in bytes_
  std::vector<Slot> slots_;         // (2^bits_) open addressing, in the order of the hashes
  int bits_ = kFirstBits;
};

/// Numbers keys, which are distinct, in their order.
KeyTable number_keys(const std::vector<std::string>& keys);

/// How many keys are in both, mere numbers left out: they say nothing about what they number.
std::int64_t words_in_both(const KeyTable& a, const KeyTable& b);

}  // namespace micrec
