#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset_file.h"
#include "data/prepared_dataset.h"

namespace micrec {

/// A data set small enough for dense matrices, with a node of every kind that the model treats in
/// its own way.
///
/// Each domain has people of its own and shared ones (with three domains or more not all of them in
/// every domain), items without some modality, and
///   - a user with test interactions alone, whom no domain knows;
///   - with two domains or more, people with training interactions in another domain alone;
///   - an item without any interaction and without features;
/// and with hold_outs new people, new items, strictly cold items and interactions observed later.
/// The last of three domains or more lacks every modality but the first.
struct SmallWorld {
  int domains = 2;
  std::int64_t users = 26;  // of each domain
  std::int64_t items = 20;
  std::vector<std::pair<std::string, std::int64_t>> modalities = {{"image", 5}, {"text", 7}};
  double missing = 0.3;  // share of items that lack a modality
  bool hold_outs = true;
  bool later_interactions = true;     // false: those held out are not in the file at all
  std::set<std::string> masked = {};  // modalities that are in the file but that no item has
  std::set<int> flat_columns = {};    // feature columns with the same number for all items
  double unit = 1;                    // what all feature values are multiplied by
  bool times = false;                 // some of a person's are equal
  std::uint64_t seed = 1;
};

PreparedDataset make_small_world(const SmallWorld& world);

/// Writes it to `path` and opens it.
DatasetFile write_small_world(const SmallWorld& world, const std::string& path);

}  // namespace micrec
