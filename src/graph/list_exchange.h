#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/number_lists.h"
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

}  // namespace micrec
