#include "checkpoints/host_copy.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

namespace micrec {

void HostCopy::reserve(const std::vector<CheckpointTensor>& tensors) {
  copies_.resize(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CheckpointTensor& copy = copies_[i];
    copy.name = tensors[i].name;
    copy.sharded = tensors[i].sharded;
    copy.description = tensors[i].description;
    for (const auto& [name, part] : kTensorParts) {
      const at::Tensor& from = tensors[i].*part;
      at::Tensor& to = copy.*part;
      if (!from.defined()) {
        to = at::Tensor();
      } else if (!to.defined() || to.sizes() != from.sizes() ||
                 to.scalar_type() != from.scalar_type()) {
        to = at::empty(from.sizes(), from.scalar_type());
        to.zero_();
      }
    }
  }
}

const std::vector<CheckpointTensor>& HostCopy::take(const std::vector<CheckpointTensor>& tensors) {
  reserve(tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    for (const auto& [name, part] : kTensorParts) {
      const at::Tensor& from = tensors[i].*part;
      if (from.defined()) (copies_[i].*part).copy_(from.detach());
    }
  }
  return copies_;
}

std::int64_t bytes_of(const std::vector<CheckpointTensor>& tensors) {
  std::int64_t bytes = 0;
  for (const CheckpointTensor& tensor : tensors) {
    for (const auto& [name, part] : kTensorParts) {
      if ((tensor.*part).defined()) bytes += static_cast<std::int64_t>((tensor.*part).nbytes());
    }
  }
  return bytes;
}

}  // namespace micrec
