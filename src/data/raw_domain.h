#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/dataset_file.h"
#include "data/key_table.h"
#include "data/packed_column.h"
#include "data/time_unit.h"

namespace micrec {

/// The interactions of one domain as they came: repeated pairs and all, keys numbered in the order
/// of their first appearance.
struct RawDomain {
  std::string name;
  KeyTable users;
  KeyTable items;
  PackedColumn<std::int32_t> user;        // (n) numbers in `users`
  PackedColumn<std::int32_t> item;        // (n) numbers in `items`
  PackedColumn<std::int64_t> timestamp;   // (n), or empty where the source has none
  PackedColumn<std::int32_t> billionths;  // (n) below the timestamp, or empty where all are zero
  std::optional<TimeScale> time_scale;    // of the timestamps, where it is known
  PackedColumn<Split> given_split;        // (n) where the files are a split, else empty
};

}  // namespace micrec
