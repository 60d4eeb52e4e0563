#pragma once

#include <ATen/ops/empty.h>

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"

namespace micrec {

/// The type of such a name, float32 for all that is no other.
inline at::ScalarType element_type_of(const std::string& name) {
  if (name == "float64") return at::kDouble;
  if (name == "int64") return at::kLong;
  if (name == "int32") return at::kInt;
  if (name == "uint8") return at::kByte;
  return at::kFloat;
}

/// A tensor whole, on the host: of a sharded one row r is global row r, (rows, ...).
inline at::Tensor read_whole(const Checkpoint& checkpoint, const std::string& name) {
  std::vector<CheckpointTensor> into(1);
  into[0].name = name;
  std::vector<GlobalNode> owned;
  for (const StoredTensor& stored : checkpoint.tensors()) {
    if (stored.name != name) continue;
    into[0].value = at::empty(stored.shape, element_type_of(stored.type));
    into[0].sharded = stored.sharded;
    if (!stored.sharded) continue;
    for (std::int64_t row = 0; row < checkpoint.rows(); ++row)
      owned.push_back(GlobalNode{static_cast<std::int32_t>(row)});
  }
  checkpoint.restore(owned, into, /*with_optimizer_state=*/false);
  return into[0].value;
}

}  // namespace micrec
