#pragma once

#include <cstdint>
#include <vector>

#include "checkpoints/checkpoint.h"

namespace micrec {

/// A copy of a rank's tensors in host memory, taken again and again into the same memory, so that
/// they can be written while they change.
class HostCopy {
 public:
  /// Takes the memory for tensors of these shapes, if it has not, and touches it: pages that are
  /// met for the first time would make the first copy several times slower.
  void reserve(const std::vector<CheckpointTensor>& tensors);

  /// Copies all values and moments. The result is valid until the next take.
  /// Cost     One read of the tensors and one write, on the threads that LibTorch may use.
  const std::vector<CheckpointTensor>& take(const std::vector<CheckpointTensor>& tensors);

 private:
  std::vector<CheckpointTensor> copies_;
};

/// Bytes of the values and moments. Shapes: any.
std::int64_t bytes_of(const std::vector<CheckpointTensor>& tensors);

}  // namespace micrec
