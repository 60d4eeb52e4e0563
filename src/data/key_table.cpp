#include "data/key_table.h"

#define XXH_INLINE_ALL  // A call costs more than the hash of a short key.
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/pages.h"
#include "base/text.h"

namespace micrec {
namespace {

bool is_plain_number(std::string_view key) {
  if (key.empty() || (key.size() > 1 && key[0] == '0')) return false;
  return std::all_of(key.begin(), key.end(), [](char c) { return '0' <= c && c <= '9'; });
}

/// The first 8 bytes as a number that orders as they do; zeros where there are fewer.
std::uint64_t first_bytes(std::string_view key) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    bytes = bytes << 8 | (i < key.size() ? static_cast<std::uint8_t>(key[i]) : 0U);
  }
  return bytes;
}

/// Up to 8 bytes and zeros behind them.
std::uint64_t word_of(std::string_view bytes) {
  const std::size_t size = bytes.size();
  const auto load = [bytes]<typename Word>(std::size_t at, Word word) -> std::uint64_t {
    std::memcpy(&word, bytes.data() + at, sizeof word);
    return word;
  };
  if (size == 8) return load(0, std::uint64_t{});
  if (size >= 4)
    return load(0, std::uint32_t{}) | load(size - 4, std::uint32_t{}) << 8 * (size - 4);
  if (size >= 2) return load(0, std::uint16_t{}) | load(size - 1, std::uint8_t{}) << 8 * (size - 1);
  return size == 1 ? load(0, std::uint8_t{}) : 0;
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "the bytes of a word are those of a key");

/// A key that is looked for.
struct KeyTable::Wanted {
  std::string_view text;
  Key key;
  std::uint32_t hash = 0;

  Wanted() = default;
  explicit Wanted(std::string_view wanted) : text(wanted) {
    const std::size_t size = text.size();
    std::uint64_t all = 0;
    if (size <= Key::kMostBytes) {
      key.first = word_of(text.substr(0, 8));
      key.rest = std::uint64_t{size} << 56;
      if (size > 8) key.rest |= word_of(text.substr(8));
      // A product of the two words, folded, as wyhash has it (Wang Yi 2019): cheaper than XXH3
      // here.
      const auto product = static_cast<unsigned __int128>(key.first ^ 0x9E3779B97F4A7C15) *
                           (key.rest ^ 0xD1B54A32D192ED03);
      all = static_cast<std::uint64_t>(product >> 64) ^ static_cast<std::uint64_t>(product);
    } else {
      key.rest = Key::kLong << 56 | size;
      all = XXH3_64bits(text.data(), size);
    }
    hash = static_cast<std::uint32_t>(all >> 32);
  }
};

bool key_less(std::string_view a, std::string_view b) {
  const bool a_number = is_plain_number(a);
  const bool b_number = is_plain_number(b);
  if (a_number != b_number) return a_number;
  if (a_number && a.size() != b.size()) return a.size() < b.size();
  return a < b;
}

bool KeyTable::is_at(std::int32_t number, const Wanted& wanted) const {
  const Key& there = keys_[number];
  if (there.rest != wanted.key.rest) return false;
  if (!there.is_long()) return there.first == wanted.key.first;
  return std::memcmp(bytes_.data() + there.first, wanted.text.data(), wanted.text.size()) == 0;
}

std::size_t KeyTable::slot_of(const Wanted& wanted, std::size_t slot) const {
  slot = next_of_hash(slot, wanted.hash);
  while (slots_[slot].number >= 0 && !is_at(slots_[slot].number, wanted)) {
    slot = next_of_hash((slot + 1) & (slots_.size() - 1), wanted.hash);
  }
  return slot;
}

void KeyTable::make_room(std::size_t keys) {
  while (4 * (keys_.size() + keys) > 3 * slots_.size()) {
    const std::vector<Slot> before = std::exchange(slots_, {});
    reserve_huge(slots_, before.size() * 2);
    slots_.resize(before.size() * 2);
    ++bits_;
    for (const Slot& known : before) {
      if (known.number < 0) continue;
      std::size_t slot = first_slot(known.hash);
      while (slots_[slot].number >= 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = known;
    }
  }
}

/// Where there is room for it.
std::int32_t KeyTable::add(const Wanted& wanted, std::size_t slot) {
  slot = slot_of(wanted, slot);
  if (slots_[slot].number >= 0) return slots_[slot].number;
  if (size() >= std::numeric_limits<std::int32_t>::max() - 1) {
    throw Error(
        Cause::data, "There are more than ", with_commas(size()),
        " distinct keys, and numbers of users and items are 32 bits wide; filter the data first.");
  }
  const auto number = static_cast<std::int32_t>(size());
  Key key = wanted.key;
  if (key.is_long()) {
    key.first = bytes_.size();
    bytes_.insert(bytes_.end(), wanted.text.begin(), wanted.text.end());
  }
  if (keys_.size() == keys_.capacity()) {
    std::vector<Key> more;
    reserve_huge(more, std::max(kFirstSlots, 2 * keys_.size()));
    more.assign(keys_.begin(), keys_.end());
    keys_ = std::move(more);
  }
  keys_.push_back(key);
  slots_[slot] = {wanted.hash, number};
  return number;
}

std::int32_t KeyTable::add(std::string_view text) {
  make_room(1);
  const Wanted wanted(text);
  return add(wanted, first_slot(wanted.hash));
}

void KeyTable::add_together(std::span<const std::string_view> keys, std::int32_t* numbers) {
  make_room(keys.size());  // so that a place stays where it is
  std::array<Wanted, kTogether> wanted;
  std::array<std::size_t, kTogether> slots;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    // In its place, as a copy as a whole would wait for the halves that were just stored.
    std::construct_at(&wanted[i], keys[i]);
    slots[i] = first_slot(wanted[i].hash);
    __builtin_prefetch(&slots_[slots[i]]);
  }
  // Mostly that is the key which is looked for.
  for (std::size_t i = 0; i < keys.size(); ++i) {
    slots[i] = next_of_hash(slots[i], wanted[i].hash);
    const std::int32_t number = slots_[slots[i]].number;
    if (number >= 0) __builtin_prefetch(&keys_[number]);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (!wanted[i].key.is_long()) continue;
    const std::int32_t number = slots_[slots[i]].number;
    if (number >= 0) __builtin_prefetch(bytes_.data() + keys_[number].first);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) numbers[i] = add(wanted[i], slots[i]);
}

std::int32_t KeyTable::find(std::string_view text) const {
  const Wanted wanted(text);
  return slots_[slot_of(wanted, first_slot(wanted.hash))].number;
}

std::vector<std::int32_t> KeyTable::sorted() const {
  // What comes first in the order, beside the number: most keys are told apart by it alone.
  struct Entry {
    std::uint64_t beginning;  // the bytes that follow what all others have in common
    std::uint32_t group;      // digits of a plain number; all others come behind
    std::int32_t number;
  };
  constexpr std::uint32_t kWord = std::numeric_limits<std::uint32_t>::max();
  const std::size_t common = common_beginning();
  std::vector<Entry> entries(keys_.size());
  for (std::int32_t number = 0; number < size(); ++number) {
    const std::string_view whole = key(number);
    const bool is_number = is_plain_number(whole) && whole.size() < kWord;
    const std::string_view rest = is_number ? whole : whole.substr(common);
    entries[number] = {first_bytes(rest),
                       is_number ? static_cast<std::uint32_t>(whole.size()) : kWord, number};
  }
  std::sort(entries.begin(), entries.end(), [this](const Entry& a, const Entry& b) {
    if (a.group != b.group) return a.group < b.group;
    if (a.beginning != b.beginning) return a.beginning < b.beginning;
    return key_less(key(a.number), key(b.number));
  });
  std::vector<std::int32_t> numbers(entries.size());
  std::transform(entries.begin(), entries.end(), numbers.begin(),
                 [](const Entry& entry) { return entry.number; });
  return numbers;
}

/// How many first bytes all keys that are no plain numbers share.
std::size_t KeyTable::common_beginning() const {
  std::optional<std::string_view> common;
  for (std::int32_t number = 0; number < size(); ++number) {
    const std::string_view whole = key(number);
    if (is_plain_number(whole)) continue;
    if (!common) common = whole;
    const auto ends = std::mismatch(common->begin(), common->end(), whole.begin(), whole.end());
    common = common->substr(0, ends.first - common->begin());
  }
  return common ? common->size() : 0;
}

KeyTable number_keys(const std::vector<std::string>& keys) {
  KeyTable table;
  for (const std::string& key : keys) table.add(key);
  return table;
}

std::int64_t words_in_both(const KeyTable& a, const KeyTable& b) {
  std::int64_t both = 0;
  for (std::int32_t number = 0; number < a.size(); ++number) {
    const std::string_view key = a.key(number);
    const bool is_number =
        std::all_of(key.begin(), key.end(), [](char c) { return '0' <= c && c <= '9'; });
    if (!is_number && b.find(key) >= 0) ++both;
  }
  return both;
}

}  // namespace micrec
