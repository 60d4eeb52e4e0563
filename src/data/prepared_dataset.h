#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/packed_column.h"

namespace micrec {

/// One modality of a domain's items, read in pieces so that it need not fit into memory.
struct FeatureTable {
  std::string modality;
  std::int64_t width = 0;
  std::vector<std::uint8_t> present;  // (items)
  /// Rows [begin, end), row by row, zeros where absent. out: ((end - begin) * width) float32.
  std::function<void(std::int64_t begin, std::int64_t end, float* out)> read;
};

/// Interactions by the numbers of users and items, sorted by (user, item), each pair once.
struct InteractionRows {
  PackedColumn<std::int32_t> user;        // (n)
  PackedColumn<std::int32_t> item;        // (n)
  PackedColumn<std::int64_t> timestamp;   // (n), or empty where the raw data had none
  PackedColumn<std::int32_t> billionths;  // (n) below the timestamp, for its order alone; or empty
  std::vector<Split> split;               // (n), or empty where none is given yet

  std::size_t size() const { return user.size(); }
  /// Drops the others. keep: (n).
  void keep_only(const std::vector<std::uint8_t>& keep);
};

/// A domain in memory, as the dataset file will hold it.
struct PreparedDomain : InteractionRows {
  std::string name;
  std::vector<std::string> user_keys;  // (users) by key_less, in each part (see ExtendedDataset)
  std::vector<std::string> item_keys;  // (items) likewise

  std::vector<std::uint8_t> kept;  // (n) 1: of the data set that this one extends; or empty

  std::vector<std::uint8_t> new_users;   // (users)
  std::vector<std::uint8_t> new_items;   // (items)
  std::vector<std::uint8_t> cold_items;  // (items)
  std::vector<FeatureTable> features;    // by name of the modality

  bool is_kept(std::int64_t i) const { return !kept.empty() && kept[i] != 0; }
  std::int64_t users() const { return std::ssize(user_keys); }
  std::int64_t items() const { return std::ssize(item_keys); }
  std::int64_t interactions() const { return std::ssize(user); }
  std::int64_t interactions(Split wanted) const;
  /// Tells the random numbers of domains apart (as `draw` of base/random.h). It comes from the
  /// name, so that another order of the domains changes nothing.
  std::uint32_t random_stream() const;
};

/// A data set in memory: what preparation makes and write_dataset() writes.
struct PreparedDataset : DatasetOrigin {
  std::vector<PreparedDomain> domains;
  std::vector<std::string> person_keys;                   // (people) by key_less, in each part
  std::vector<std::vector<std::int32_t>> person_of_user;  // [domain] (users)

  std::int64_t people() const { return std::ssize(person_keys); }
};

}  // namespace micrec
