#include "kernels/upload.h"

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <glog/logging.h>

#include <cstring>
#include <utility>

#include "kernels/row_set.h"

namespace micrec {
namespace {

constexpr std::int64_t kAlignment = 64;  // bytes, of a list in a batch
// More in one upload is of what is made once. LibTorch never gives locked memory back, which this
// would be for the rest of the run.
constexpr std::int64_t kMostLockedBytes = std::int64_t{64} << 20;

}  // namespace

at::Tensor locked_bytes(std::int64_t bytes, c10::Device device) {
  const bool is_locked = device.is_cuda() && bytes <= kMostLockedBytes;
  return at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(is_locked));
}

at::Tensor upload(const void* data, std::int64_t bytes, c10::Device device) {
  if (bytes > kMostLockedBytes && !device.is_cpu()) {
    return at::from_blob(const_cast<void*>(data), {bytes}, at::kByte).to(device);
  }
  at::Tensor host = locked_bytes(bytes, device);
  if (bytes > 0) std::memcpy(host.mutable_data_ptr(), data, static_cast<std::size_t>(bytes));
  return host.to(device, /*non_blocking=*/true);
}

const at::Tensor& DeviceNumbers::on(c10::Device device, const void* data, std::int64_t bytes) {
  if (!made_.defined() || made_.device() != device) made_ = upload(data, bytes, device);
  CHECK_EQ(made_.size(0), bytes);
  return made_;
}

void UploadBatch::add(const void* data, std::int64_t bytes,
                      std::function<void(at::Tensor)> arrived) {
  if (device_.is_cpu()) return;
  parts_.push_back({data, bytes, bytes_, {}, std::move(arrived)});
  bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void UploadBatch::add(std::vector<std::byte> data, std::function<void(at::Tensor)> arrived) {
  if (device_.is_cpu()) return;
  add(data.data(), static_cast<std::int64_t>(data.size()), std::move(arrived));
  parts_.back().owned = std::move(data);  // moved, it stays where it is in memory
}

void UploadBatch::add(const std::shared_ptr<DeviceNumbers>& numbers, const void* data,
                      std::int64_t bytes) {
  add(data, bytes, [numbers](at::Tensor there) { numbers->take(std::move(there)); });
}

void UploadBatch::add(const RowSet& set) {
  if (device_.is_cpu()) return;
  set.on_device() = std::make_shared<DeviceNumbers>();
  add(set.on_device(), set.words(),
      set.word_count() * static_cast<std::int64_t>(sizeof(RowSet::Word)));
}

void UploadBatch::pack() {
  if (parts_.empty()) return;
  const c10::DeviceGuard guard(device_);  // of the thread that it is called on
  packed_ = locked_bytes(bytes_, device_);
  auto* const to = static_cast<std::byte*>(packed_.mutable_data_ptr());
  for (Part& part : parts_) {
    if (part.bytes > 0) {
      std::memcpy(to + part.begin, part.data, static_cast<std::size_t>(part.bytes));
    }
    part.owned.clear();
  }
}

void UploadBatch::send() {
  if (parts_.empty()) return;
  CHECK(packed_.defined()) << "a batch is packed before it is sent";
  const at::Tensor there = packed_.to(device_, /*non_blocking=*/true);
  for (const Part& part : parts_) {
    part.arrived(there.slice(0, part.begin, part.begin + part.bytes));
  }
  parts_.clear();
}

}  // namespace micrec
