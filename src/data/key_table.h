#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
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
/// Cost     16 bytes and 11 to 21 for its place a key, and the bytes of one that is longer than 15;
///          add() is one hash and, mostly, one comparison of two words. add_all() waits for memory
///          once for many keys.
class KeyTable {
 public:
  KeyTable() : slots_(kFirstSlots) {}

  /// The number of a key, new or known.
  /// Errors   Error(data) where there are more than 2^31 - 2 keys.
  std::int32_t add(std::string_view key);
  /// The numbers of a key of many records, as add() gives them one after the other.
  /// numbers: (records).
  template <typename Record>
  void add_all(std::span<const Record> records, std::string_view Record::*key,
               std::span<std::int32_t> numbers) {
    std::array<std::string_view, kTogether> keys;
    for (std::size_t begin = 0; begin < records.size(); begin += kTogether) {
      const std::size_t count = std::min(kTogether, records.size() - begin);
      for (std::size_t i = 0; i < count; ++i) keys[i] = records[begin + i].*key;
      add_together(std::span(keys).first(count), numbers.data() + begin);
    }
  }
  /// The number of a key, or -1.
  std::int32_t find(std::string_view key) const;

  std::int64_t size() const { return static_cast<std::int64_t>(keys_.size()); }
  /// Frees what add() and find() need, which must not be called again.
  void forget_places() { std::vector<Slot>().swap(slots_); }
  /// Valid until the next add().
  std::string_view key(std::int32_t number) const {
    const Key& key = keys_[number];
    if (key.is_long()) return {bytes_.data() + key.first, key.size()};
    return {reinterpret_cast<const char*>(&key), key.size()};
  }

  /// All numbers, by key_less of their keys.
  std::vector<std::int32_t> sorted() const;

 private:
  static constexpr int kFirstBits = 10;
  static constexpr std::size_t kFirstSlots = std::size_t{1} << kFirstBits;  // doubled as it grows
  /// Keys that are looked for together: while memory brings what one of them needs, others go on.
  static constexpr std::size_t kTogether = 128;

  /// A key of up to 15 bytes itself, zeros behind it and its size in the last byte; of a longer one
  /// where it begins in bytes_, its size, and a mark in the last byte.
  struct Key {
    std::uint64_t first = 0;
    std::uint64_t rest = 0;

    static constexpr std::size_t kMostBytes = 15;
    static constexpr std::uint64_t kLong = 0xFF;
    bool is_long() const { return rest >> 56 == kLong; }
    std::size_t size() const { return is_long() ? rest & ~(kLong << 56) : rest >> 56; }
  };
  struct Wanted;

  /// A place of the table: a key's number, -1 where free, and its hash, which mostly tells other
  /// keys from it without a look at theirs.
  struct Slot {
    std::uint32_t hash = 0;
    std::int32_t number = -1;
  };

  std::size_t first_slot(std::uint32_t hash) const { return hash >> (32 - bits_); }
  /// The first place from `slot` on that is free or has this hash.
  std::size_t next_of_hash(std::size_t slot, std::uint32_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    while (slots_[slot].number >= 0 && slots_[slot].hash != hash) slot = (slot + 1) & mask;
    return slot;
  }
  /// Its place, or the free one where it belongs; from `slot` on, which it does not stand before.
  std::size_t slot_of(const Wanted& wanted, std::size_t slot) const;
  bool is_at(std::int32_t number, const Wanted& wanted) const;
  std::int32_t add(const Wanted& wanted, std::size_t slot);
  void add_together(std::span<const std::string_view> keys, std::int32_t* numbers);
  /// Places for so many new keys.
  void make_room(std::size_t keys);
  std::size_t common_beginning() const;

  std::vector<Key> keys_;    // (size)
  std::vector<char> bytes_;  // the long keys, one after the other
  std::vector<Slot> slots_;  // (2^bits_) open addressing, in the order of the hashes
  int bits_ = kFirstBits;
};

/// Numbers keys, which are distinct, in their order.
KeyTable number_keys(const std::vector<std::string>& keys);

/// How many keys are in both, mere numbers left out: they say nothing about what they number.
std::int64_t words_in_both(const KeyTable& a, const KeyTable& b);

}  // namespace micrec
