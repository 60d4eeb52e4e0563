#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace micrec {

/// Takes numbers of the host to a device; every upload of a step is one of these. To a GPU they go
/// from locked memory, which LibTorch keeps until the stream has read it: nothing waits.
///
/// Shapes   returns (bytes) uint8, or (numbers) of the numbers' type.
/// Cost     a call of the driver and a copy, however little it is: what does not change is kept by
///          its owner (see DeviceNumbers), and what is wanted together goes in one.
at::Tensor upload(const void* data, std::int64_t bytes, c10::Device device);
at::Tensor upload(const std::vector<std::int32_t>& numbers, c10::Device device);
at::Tensor upload(const std::vector<float>& numbers, c10::Device device);
at::Tensor upload(const std::vector<double>& numbers, c10::Device device);

/// What is on a device of numbers of the host that never change: copied there when it is first
/// asked for. Their owner holds a pointer to it, and copies of the owner share it.
class DeviceNumbers {
 public:
  /// `data` and `bytes`: the same in every call. Shapes: returns (bytes) uint8.
  const at::Tensor& on(c10::Device device, const void* data, std::int64_t bytes);

 private:
  at::Tensor made_;
};

/// Rows that are gathered again and again. Copies share what is on the device.
class RowList {
 public:
  RowList() : RowList(std::vector<std::int32_t>{}) {}
  explicit RowList(std::vector<std::int32_t> rows);

  const std::vector<std::int32_t>& rows() const { return *rows_; }
  /// Shapes: returns (rows) int32.
  at::Tensor on(c10::Device device) const;

 private:
  std::shared_ptr<const std::vector<std::int32_t>> rows_;
  std::shared_ptr<DeviceNumbers> there_;
};

}  // namespace micrec
