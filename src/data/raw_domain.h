#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/key_table.h"
#include "data/time_unit.h"

namespace micrec {

/// The interactions of one domain as they came: repeated pairs and all, keys numbered in the order
/// of their first appearance.
struct RawDomain {
  std::string name;
  KeyTable users;
  KeyTable items;
  std::vector<std::int32_t> user;        // (n) numbers in `users`
  std::vector<std::int32_t> item;        // (n) numbers in `items`
  std::vector<std::int64_t> timestamp;   // (n), or empty where the source has none
  std::vector<std::int32_t> billionths;  // (n) below the timestamp, or empty where all are zero
  std::optional<TimeScale> time_scale;   // of the timestamps, where it is known
  std::vector<Split> given_split;        // (n) where the files are a split, else empty
};

}  // namespace micrec
