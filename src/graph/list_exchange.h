#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <type_traits>
#include <vector>

#include "base/number_lists.h"
#include "base/pages.h"
#include "cluster/communicator.h"

namespace micrec {

/// Fetches lists from the ranks that have them, such as the users of items.
///
/// `wanted`: numbers of lists; `owner`: of each list, wanted by anyone or not; `own`: the list of a
/// number that this rank owns, as long as the call lasts. Returns the wanted lists in their order.
/// Ranks    collective; three exchanges where there are several.
NumberLists fetch_lists(Communicator& communicator, const char* name,
                        std::span<const std::int32_t> wanted,
                        const std::function<int(std::int32_t number)>& owner,
                        const std::function<std::span<const std::int32_t>(std::int32_t)>& own);

/// The values of all ranks, rank 0's first. Ranks: collective; two exchanges where there are
/// several.
template <typename T>
std::vector<T> gather_lists(Communicator& communicator, const char* name, std::vector<T> own) {
  static_assert(std::is_trivially_copyable_v<T>, "its bytes travel");
  if (communicator.size() == 1) return own;
  const auto size = static_cast<std::int64_t>(own.size());
  constexpr std::int64_t kBytes = sizeof(T);
  at::Tensor bytes = at::empty({size, kBytes}, at::kByte);
  std::copy_n(own.data(), size, static_cast<T*>(bytes.mutable_data_ptr()));
  const at::Tensor all =
      communicator.all_gather(name, bytes, gather_counts(communicator, name, size));
  const auto* const values = static_cast<const T*>(all.const_data_ptr());
  reserve_huge(own, all.size(0));
  own.assign(values, values + all.size(0));
  return own;
}

}  // namespace micrec
