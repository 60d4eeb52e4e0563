#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace micrec {

/// Lists of numbers one after the other, such as the items of each user: list n has
/// values[offsets[n]] .. values[offsets[n + 1] - 1].
struct NumberLists {
  std::vector<std::int64_t> offsets = {0};  // (lists + 1)
  std::vector<std::int32_t> values;

  std::int64_t size() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::span<const std::int32_t> of(std::int64_t list) const {
    return std::span(values).subspan(offsets[list], offsets[list + 1] - offsets[list]);
  }
  void add(std::span<const std::int32_t> list) {
    values.insert(values.end(), list.begin(), list.end());
    offsets.push_back(static_cast<std::int64_t>(values.size()));
  }
};

}  // namespace micrec
