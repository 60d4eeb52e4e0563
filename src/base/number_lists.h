#pragma once

#include <glog/logging.h>

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace micrec {

/// Lists one after the other, such as the items of each user: list n has values[offsets[n]] ..
/// values[offsets[n + 1] - 1].
template <typename T>
struct Lists {
  std::vector<std::int64_t> offsets = {0};  // (lists + 1)
  std::vector<T> values;

  std::int64_t size() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::span<const T> of(std::int64_t list) const {
    return std::span(values).subspan(offsets[list], offsets[list + 1] - offsets[list]);
  }
  void add(std::span<const T> list) {
    values.insert(values.end(), list.begin(), list.end());
    offsets.push_back(static_cast<std::int64_t>(values.size()));
  }
};
using NumberLists = Lists<std::int32_t>;

/// So many lists, each in the order in which its values come. for_each(use) calls use(list, value)
/// for all values; it is called twice and does the same both times. CHECK: so many values to each
/// list.
template <typename T, typename ForEach>
Lists<T> lists_of(std::int64_t lists, const ForEach& for_each) {
  Lists<T> made;
  made.offsets.assign(lists + 1, 0);
  for_each([&](std::int64_t list, const T&) { ++made.offsets[list + 1]; });
  std::partial_sum(made.offsets.begin(), made.offsets.end(), made.offsets.begin());
  made.values.resize(made.offsets.back());
  std::vector<std::int64_t> next(made.offsets.begin(), made.offsets.end() - 1);
  for_each([&](std::int64_t list, const T& value) {
    CHECK_LT(next[list], made.offsets.back()) << "the second pass saw more than the first";
    made.values[next[list]++] = value;
  });
  for (std::int64_t list = 0; list < lists; ++list) {
    CHECK_EQ(next[list], made.offsets[list + 1]) << "the passes differ in list " << list;
  }
  return made;
}

/// The places at which each number below `count` stands, rising.
inline NumberLists places_by_number(std::span<const std::int32_t> numbers, std::int64_t count) {
  return lists_of<std::int32_t>(count, [&](const auto& use) {
    for (std::size_t n = 0; n < numbers.size(); ++n) use(numbers[n], static_cast<std::int32_t>(n));
  });
}

}  // namespace micrec
