#include "data/key_table.h"

#define XXH_INLINE_ALL  // A call costs more than the hash of a short key.
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "base/error.h"
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

std::uint32_t hash_of(std::string_view key) {
  return static_cast<std::uint32_t>(XXH3_64bits(key.data(), key.size()) >> 32);
}

/// Keys that are looked for together: while memory brings what one of them needs, others go on.
constexpr std::size_t kTogether = 32;

}  // namespace

bool key_less(std::string_view a, std::string_view b) {
  const bool a_number = is_plain_number(a);
  const bool b_number = is_plain_number(b);
  if (a_number != b_number) return a_number;
  if (a_number && a.size() != b.size()) return a.size() < b.size();
  return a < b;
}

std::size_t KeyTable::slot_of(std::string_view wanted, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = first_slot(hash);
  while (slots_[slot].number >= 0 &&
         (slots_[slot].hash != hash || key(slots_[slot].number) != wanted)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void KeyTable::grow() {
  const std::vector<Slot> before = std::move(slots_);
  slots_ = std::vector<Slot>(before.size() * 2);
  ++bits_;
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& known : before) {
    if (known.number < 0) continue;
    std::size_t slot = first_slot(known.hash);
    while (slots_[slot].number >= 0) slot = (slot + 1) & mask;
    slots_[slot] = known;
  }
}

std::int32_t KeyTable::add(std::string_view wanted, std::uint32_t hash) {
  std::size_t slot = slot_of(wanted, hash);
  if (slots_[slot].number >= 0) return slots_[slot].number;
  if (size() >= std::numeric_limits<std::int32_t>::max() - 1) {
    throw Error(Cause::data, text("There are more than ", with_commas(size()),
                                  " distinct keys, and numbers of users and items are 32 bits wide"
                                  "; filter the data first."));
  }
  if (2 * (end_.size() + 1) > slots_.size()) {
    grow();
    slot = slot_of(wanted, hash);
  }
  const auto number = static_cast<std::int32_t>(size());
  bytes_.insert(bytes_.end(), wanted.begin(), wanted.end());
  end_.push_back(bytes_.size());
  slots_[slot] = {hash, number};
  return number;
}

std::int32_t KeyTable::add(std::string_view wanted) { return add(wanted, hash_of(wanted)); }

/// Asks memory for the end of the key that has this hash, mostly the wanted one.
void KeyTable::prefetch_likely(std::uint32_t hash) const {
  const Slot& slot = slots_[first_slot(hash)];
  if (slot.number > 0) __builtin_prefetch(&end_[slot.number - 1]);
}

void KeyTable::add_all(std::span<const std::string_view> keys, std::span<std::int32_t> numbers) {
  std::array<std::uint32_t, kTogether> hashes;
  for (std::size_t begin = 0; begin < keys.size(); begin += kTogether) {
    const std::size_t count = std::min(kTogether, keys.size() - begin);
    for (std::size_t i = 0; i < count; ++i) {
      hashes[i] = hash_of(keys[begin + i]);
      __builtin_prefetch(&slots_[first_slot(hashes[i])]);
    }
    for (std::size_t i = 0; i < count; ++i) prefetch_likely(hashes[i]);
    for (std::size_t i = 0; i < count; ++i) {
      const std::int32_t number = slots_[first_slot(hashes[i])].number;
      if (number > 0) __builtin_prefetch(bytes_.data() + end_[number - 1]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      numbers[begin + i] = add(keys[begin + i], hashes[i]);
    }
  }
}

std::int32_t KeyTable::find(std::string_view wanted) const {
  return slots_[slot_of(wanted, hash_of(wanted))].number;
}

std::vector<std::int32_t> KeyTable::sorted() const {
  // What comes first in the order, beside the number: most keys are told apart by it alone.
  struct Entry {
    std::uint32_t group;      // digits of a plain number; all others come behind
    std::uint64_t beginning;  // the bytes that follow what all others have in common
    std::int32_t number;
  };
  constexpr std::uint32_t kWord = std::numeric_limits<std::uint32_t>::max();
  const std::size_t common = common_beginning();
  std::vector<Entry> entries(end_.size());
  for (std::int32_t number = 0; number < size(); ++number) {
    const std::string_view whole = key(number);
    const bool is_number = is_plain_number(whole) && whole.size() < kWord;
    const std::string_view rest = is_number ? whole : whole.substr(common);
    entries[number] = {is_number ? static_cast<std::uint32_t>(whole.size()) : kWord,
                       first_bytes(rest), number};
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
