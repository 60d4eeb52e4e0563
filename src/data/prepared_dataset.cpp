#include "data/prepared_dataset.h"

#include <algorithm>

#include "base/random.h"

namespace micrec {
namespace {

template <typename T>
void keep_only(const std::vector<std::uint8_t>& keep, PackedColumn<T>& column) {
  PackedColumn<T> kept;
  typename PackedColumn<T>::Block room;
  for (std::size_t at = 0; at < column.size(); at += room.size()) {
    column.give_back_before(at);
    const std::span<const T> values = column.block(at, room);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (keep[at + i] != 0) kept.push_back(values[i]);
    }
  }
  column = std::move(kept);
}

}  // namespace

void InteractionRows::keep_only(const std::vector<std::uint8_t>& keep) {
  micrec::keep_only(keep, user);
  micrec::keep_only(keep, item);
  micrec::keep_only(keep, timestamp);
  micrec::keep_only(keep, billionths);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < split.size(); ++i) {
    if (keep[i] != 0) split[kept++] = split[i];
  }
  split.resize(kept);
}

std::int64_t PreparedDomain::interactions(Split wanted) const {
  return std::ranges::count(split, wanted);
}

std::uint32_t PreparedDomain::random_stream() const {
  std::uint32_t hash = 0;
  for (const char c : name) hash = mix(hash ^ static_cast<std::uint8_t>(c));
  return hash & 0xFFFFU;
}

}  // namespace micrec
