#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace micrec {

/// Rows in groups that are summed apart; within a group by rising number.
struct RowGroups {
  std::int64_t rows = 0;
  std::int64_t groups = 1;
  /// (groups) the rows of each; null: one group of all rows.
  std::shared_ptr<const std::vector<std::vector<std::int32_t>>> of_group;
};

/// Groups from the group of each row. `repeats`: the list is `group_of_row` so many times over.
RowGroups group_rows(const std::vector<std::int32_t>& group_of_row, std::int64_t groups,
                     int repeats = 1);

}  // namespace micrec
