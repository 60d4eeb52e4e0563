#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ranges>
#include <utility>
#include <vector>

namespace micrec {

class RowSet;

/// Memory of the host, (bytes) uint8, that the device can read while the host goes on; more than 64
/// MiB at once are not locked, and copying them is waited for.
at::Tensor locked_bytes(std::int64_t bytes, c10::Device device);

/// Takes numbers of the host to a device; every upload of a step is one of these. To a GPU they go
/// from locked memory, which LibTorch keeps until the stream has read it: nothing waits. Only more
/// than 64 MiB at once go without it and are waited for.
///
/// Shapes   returns (bytes) uint8.
/// Cost     a call of the driver and a copy, however little it is: what does not change is kept by
///          its owner (see DeviceNumbers), and what is wanted together goes in one.
at::Tensor upload(const void* data, std::int64_t bytes, c10::Device device);

/// The same of a list. Shapes: returns (numbers) of their type, or what tensors have no type for as
/// its (bytes) uint8.
template <std::ranges::contiguous_range List>
at::Tensor upload(const List& list, c10::Device device) {
  using Number = std::ranges::range_value_t<List>;
  const auto bytes = static_cast<std::int64_t>(std::ranges::size(list) * sizeof(Number));
  const at::Tensor there = upload(std::ranges::data(list), bytes, device);
  if constexpr (requires { c10::CppTypeToScalarType<Number>::value; }) {
    return there.view(c10::CppTypeToScalarType<Number>::value);
  } else {
    return there;
  }
}

/// The numbers of a tensor, wherever it is. Errors: CHECK: they are of this type.
template <typename Number>
std::vector<Number> download(const at::Tensor& tensor) {
  const at::Tensor here = tensor.cpu().contiguous();
  return {here.const_data_ptr<Number>(), here.const_data_ptr<Number>() + here.numel()};
}

/// What is on a device of numbers of the host that never change: copied there when it is first
/// asked for. Their owner holds a pointer to it, and copies of the owner share it.
class DeviceNumbers {
 public:
  /// `data` and `bytes`: the same in every call. Shapes: returns (bytes) uint8.
  const at::Tensor& on(c10::Device device, const void* data, std::int64_t bytes);
  /// They have been copied: see UploadBatch.
  void take(at::Tensor made) { made_ = std::move(made); }

 private:
  at::Tensor made_;
};

/// Such numbers with what is on the device, which copies share.
template <typename Number>
class KeptNumbers {
 public:
  explicit KeptNumbers(std::vector<Number> numbers)
      : here_(std::make_shared<const std::vector<Number>>(std::move(numbers))),
        there_(std::make_shared<DeviceNumbers>()) {}

  const std::vector<Number>& here() const { return *here_; }
  std::int64_t size() const { return static_cast<std::int64_t>(here_->size()); }
  std::int64_t bytes() const { return size() * static_cast<std::int64_t>(sizeof(Number)); }
  const std::shared_ptr<DeviceNumbers>& there() const { return there_; }
  /// Shapes: returns (numbers) of their type.
  at::Tensor on(c10::Device device) const {
    return there_->on(device, here_->data(), bytes()).view(c10::CppTypeToScalarType<Number>::value);
  }

 private:
  std::shared_ptr<const std::vector<Number>> here_;
  std::shared_ptr<DeviceNumbers> there_;
};

/// Rows that are gathered again and again.
class RowList : public KeptNumbers<std::int32_t> {
 public:
  RowList() : KeptNumbers({}) {}
  explicit RowList(std::vector<std::int32_t> rows) : KeptNumbers(std::move(rows)) {}
  const std::vector<std::int32_t>& rows() const { return here(); }
};

/// Lists of the host that go to a device in one copy, so that each is there when it is asked for.
/// To a CPU nothing goes.
class UploadBatch {
 public:
  explicit UploadBatch(c10::Device device) : device_(device) {}

  c10::Device device() const { return device_; }
  /// `arrived` is given their place on the device, (bytes) uint8. `data` stays until pack().
  void add(const void* data, std::int64_t bytes, std::function<void(at::Tensor there)> arrived);
  void add(std::vector<std::byte> data, std::function<void(at::Tensor there)> arrived);
  void add(const std::shared_ptr<DeviceNumbers>& numbers, const void* data, std::int64_t bytes);
  template <typename Number>
  void add(const KeptNumbers<Number>& numbers) {
    add(numbers.there(), numbers.here().data(), numbers.bytes());
  }
  void add(const RowSet& set);

  /// Puts all of them together, in memory that the device reads while the host goes on. On any
  /// thread.
  void pack();
  /// The copy; on the thread whose stream reads them, after pack().
  void send();

 private:
  struct Part {
    const void* data;
    std::int64_t bytes;
    std::int64_t begin;  // in the copy
    std::vector<std::byte> owned;
    std::function<void(at::Tensor)> arrived;
  };
  c10::Device device_;
  std::vector<Part> parts_;
  std::int64_t bytes_ = 0;
  at::Tensor packed_;
};

}  // namespace micrec
