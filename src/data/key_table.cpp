#include "data/key_table.h"

#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

bool is_plain_number(std::string_view key) {
  if (key.empty() || (key.size() > 1 && key[0] == '0')) return false;
  return std::all_of(key.begin(), key.end(), [](char c) { return '0' <= c && c <= '9'; });
}

std::uint64_t hash_of(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

}  // namespace

bool key_less(std::string_view a, std::string_view b) {
  const bool a_number = is_plain_number(a);
  const bool b_number = is_plain_number(b);
  if (a_number != b_number) return a_number;
  if (a_number && a.size() != b.size()) return a.size() < b.size();
  return a < b;
}

std::size_t KeyTable::slot_of(std::string_view wanted, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  while (slots_[slot] >= 0 && key(slots_[slot]) != wanted) slot = (slot + 1) & mask;
  return slot;
}

void KeyTable::grow() {
  slots_.assign(slots_.size() * 2, -1);
  for (std::int32_t number = 0; number < size(); ++number) {
    slots_[slot_of(key(number), hash_of(key(number)))] = number;
  }
}

std::int32_t KeyTable::add(std::string_view wanted) {
  const std::uint64_t hash = hash_of(wanted);
  std::size_t slot = slot_of(wanted, hash);
  if (slots_[slot] >= 0) return slots_[slot];
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
  slots_[slot] = number;
  return number;
}

std::int32_t KeyTable::find(std::string_view wanted) const {
  return slots_[slot_of(wanted, hash_of(wanted))];
}

std::vector<std::int32_t> KeyTable::sorted() const {
  std::vector<std::int32_t> numbers(end_.size());
  std::iota(numbers.begin(), numbers.end(), 0);
  std::sort(numbers.begin(), numbers.end(),
            [this](std::int32_t a, std::int32_t b) { return key_less(key(a), key(b)); });
  return numbers;
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
