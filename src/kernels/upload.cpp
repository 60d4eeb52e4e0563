#include "kernels/upload.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <cstring>
#include <utility>

namespace micrec {
namespace {

template <typename T>
at::Tensor upload_all(const std::vector<T>& numbers, at::ScalarType type, c10::Device device) {
  const auto bytes = static_cast<std::int64_t>(numbers.size() * sizeof(T));
  return upload(numbers.data(), bytes, device).view(type);
}

}  // namespace

at::Tensor upload(const void* data, std::int64_t bytes, c10::Device device) {
  at::Tensor host =
      at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(device.is_cuda()));
  if (bytes > 0) std::memcpy(host.mutable_data_ptr(), data, static_cast<std::size_t>(bytes));
  return host.to(device, /*non_blocking=*/true);
}

at::Tensor upload(const std::vector<std::int32_t>& numbers, c10::Device device) {
  return upload_all(numbers, at::kInt, device);
}

at::Tensor upload(const std::vector<float>& numbers, c10::Device device) {
  return upload_all(numbers, at::kFloat, device);
}

at::Tensor upload(const std::vector<double>& numbers, c10::Device device) {
  return upload_all(numbers, at::kDouble, device);
}

const at::Tensor& DeviceNumbers::on(c10::Device device, const void* data, std::int64_t bytes) {
  if (!made_.defined() || made_.device() != device) made_ = upload(data, bytes, device);
  CHECK_EQ(made_.size(0), bytes);
  return made_;
}

RowList::RowList(std::vector<std::int32_t> rows)
    : rows_(std::make_shared<const std::vector<std::int32_t>>(std::move(rows))),
      there_(std::make_shared<DeviceNumbers>()) {}

at::Tensor RowList::on(c10::Device device) const {
  const auto bytes = static_cast<std::int64_t>(rows_->size() * sizeof(std::int32_t));
  return there_->on(device, rows_->data(), bytes).view(at::kInt);
}

}  // namespace micrec
