#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "partition/node_space.h"

namespace micrec {

/// Which nodes of a data set those of another were, on which a model was trained.
struct NodeOrigins {
  NodeSpace then;                  // of the data set trained on
  std::vector<std::int32_t> node;  // (nodes now) its number then, -1 where it is new

  bool is_new(std::int64_t node_now) const { return node[node_now] < 0; }
};

/// Of a data set that says that it extends the one with this fingerprint; nothing where it does
/// not, or has the same contents.
std::optional<NodeOrigins> origins_by_record(const DatasetFile& now,
                                             const std::string& fingerprint);

/// By the keys of both. Errors: Error(Cause::data) where their domains are not the same.
NodeOrigins origins_by_keys(const DatasetFile& now, const DatasetFile& then);

/// Shapes   returns (items now, of all domains), 1 where it is new.
std::vector<std::uint8_t> new_items(const NodeOrigins& origins, const NodeSpace& now);

/// The numbers then, over all domains, of those of these items of now that are not new.
std::vector<std::int32_t> items_then(const NodeOrigins& origins, const NodeSpace& now,
                                     const std::vector<std::int32_t>& items);

/// The items that a list over all domains of then was about, numbered now. Shapes   returns (items
/// then), -1 where an item is gone.
std::vector<std::int32_t> items_now(const NodeOrigins& origins, const NodeSpace& now);

}  // namespace micrec
