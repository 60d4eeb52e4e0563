#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/upload.h"

namespace micrec {

/// Rows in groups that are summed apart; within a group by rising number.
struct RowGroups {
  std::int64_t rows = 0;
  std::int64_t groups = 1;
  /// (groups) the rows of each; null: one group of all rows.
  std::shared_ptr<const std::vector<RowList>> of_group;

  /// How many a group has, and the n-th of them.
  std::int64_t size(std::int64_t group) const {
    return of_group ? (*of_group)[group].size() : rows;
  }
  std::int64_t row(std::int64_t group, std::int64_t n) const {
    return of_group ? (*of_group)[group].rows()[n] : n;
  }
};

/// Groups from the group of each row. `repeats`: the list is `group_of_row` so many times over.
RowGroups group_rows(const std::vector<std::int32_t>& group_of_row, std::int64_t groups,
                     int repeats = 1);

}  // namespace micrec
