#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/row_set.h"
#include "kernels/upload.h"

namespace micrec {

/// Some rows of many: as a set that is asked, and as a rising list. Copies share what is on a
/// device.
struct SelectedRows {
  RowSet set;
  RowList list;

  /// `rows`: any order, repeats allowed, each in [0, universe).
  SelectedRows(std::int64_t universe, const std::vector<std::int32_t>& rows)
      : set(universe, rows), list(set.members()) {}
};

inline std::shared_ptr<const SelectedRows> select_rows(std::int64_t universe,
                                                       const std::vector<std::int32_t>& rows) {
  return std::make_shared<const SelectedRows>(universe, rows);
}

}  // namespace micrec
