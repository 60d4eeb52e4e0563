#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// Lists of numbers by name: list n has values[offsets[n]] .. values[offsets[n + 1] - 1].
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

/// Fetches lists from the ranks that have them, such as the users of items.
///
/// `wanted`: numbers of lists; `owner`: of each list, wanted by anyone or not; `own`: the list of a
/// number that this rank owns, as long as the call lasts. Returns the wanted lists in their order.
/// Ranks    collective; three exchanges where there are several.
NumberLists fetch_lists(Communicator& communicator, const char* name,
                        std::span<const std::int32_t> wanted,
                        const std::function<int(std::int32_t number)>& owner,
                        const std::function<std::span<const std::int32_t>(std::int32_t)>& own);

}  // namespace micrec
