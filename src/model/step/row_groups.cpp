#include "model/step/row_groups.h"

#include <glog/logging.h>

#include <iterator>

namespace micrec {

RowGroups group_rows(const std::vector<std::int32_t>& group_of_row, std::int64_t groups,
                     int repeats) {
  CHECK_GE(groups, 1);
  const auto rows = static_cast<std::int64_t>(group_of_row.size());
  RowGroups result{repeats * rows, groups, nullptr};
  if (groups == 1) return result;
  std::vector<std::vector<std::int32_t>> of_group(groups);
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (std::int64_t row = 0; row < rows; ++row) {
      of_group[group_of_row[row]].push_back(static_cast<std::int32_t>(repeat * rows + row));
    }
  }
  result.of_group = std::make_shared<const std::vector<RowList>>(
      std::make_move_iterator(of_group.begin()), std::make_move_iterator(of_group.end()));
  return result;
}

}  // namespace micrec
