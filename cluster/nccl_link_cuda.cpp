#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <glog/logging.h>
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/nccl_link.h"
#include "cluster/rank_reduction.h"

namespace micrec {
namespace {

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw Error(Cause::cluster, "CUDA refused ", call, ": ", cudaGetErrorString(code));
}

ReducedType reduced_type(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::ScalarType::Float:
      return ReducedType::float32;
    case c10::ScalarType::Double:
      return ReducedType::float64;
    case c10::ScalarType::Int:
      return ReducedType::int32;
    case c10::ScalarType::Long:
      return ReducedType::int64;
    default:
      LOG(FATAL) << "cannot reduce " << c10::toString(dtype);
  }
}

ncclDataType_t nccl_type(c10::ScalarType dtype) {
  switch (reduced_type(dtype)) {
    case ReducedType::float32:
      return ncclFloat32;
    case ReducedType::float64:
      return ncclFloat64;
    case ReducedType::int32:
      return ncclInt32;
    case ReducedType::int64:
      return ncclInt64;
  }
  LOG(FATAL) << "reduced_type has the same cases";
}

ncclRedOp_t nccl_operation(Reduction reduction) {
  return reduction == Reduction::sum ? ncclSum : reduction == Reduction::min ? ncclMin : ncclMax;
}

// Events that are used again, since making one takes the driver's locks; and tensors that nobody
// waited for. Marks share it with their link, whichever goes last, and from whatever thread.
class Supply {
 public:
  Supply() = default;
  ~Supply() {
    // After a failure of the device this fails too, and there is nothing left to do about it.
    for (const cudaEvent_t event : free_) cudaEventDestroy(event);
  }
  Supply(const Supply&) = delete;
  Supply& operator=(const Supply&) = delete;

  cudaEvent_t take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        const cudaEvent_t event = free_.back();
        free_.pop_back();
        return event;
      }
    }
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
               "cudaEventCreateWithFlags");
    return event;
  }
  void give_back(cudaEvent_t event, std::vector<at::Tensor> unused) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(event);
    for (at::Tensor& tensor : unused) kept_.push_back(std::move(tensor));
  }

 private:
  std::mutex mutex_;
  std::vector<cudaEvent_t> free_;
  std::vector<at::Tensor> kept_;
};

class CudaMark final : public NcclLink::Mark {
 public:
  CudaMark(c10::Device device, cudaStream_t stream, std::shared_ptr<Supply> supply,
           std::vector<at::Tensor> kept)
      : device_(device), supply_(std::move(supply)), kept_(std::move(kept)) {
    event_ = supply_->take();
    const cudaError_t code = cudaEventRecord(event_, stream);
    if (code != cudaSuccess) supply_->give_back(event_, std::move(kept_));
    check_cuda(code, "cudaEventRecord");
  }
  ~CudaMark() override { supply_->give_back(event_, std::move(kept_)); }

  bool has_passed() override {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    check_cuda(code, "work of a collective on the GPU");
    return true;
  }
  void lead_current_stream() override {
    check_cuda(
        cudaStreamWaitEvent(c10::cuda::getCurrentCUDAStream(device_.index()).stream(), event_, 0),
        "cudaStreamWaitEvent");
    kept_.clear();
  }

 private:
  c10::Device device_;
  std::shared_ptr<Supply> supply_;
  cudaEvent_t event_ = nullptr;
  std::vector<at::Tensor> kept_;
};

class CudaNcclLink final : public NcclLink {
 public:
  explicit CudaNcclLink(c10::Device device)
      : device_(device),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())),
        supply_(std::make_shared<Supply>()) {}
  ~CudaNcclLink() override { abort(); }

  c10::Device device() const override { return device_; }

  Versions versions() const override {
    Versions versions;
    versions.header = NCCL_VERSION_CODE;
    check(ncclGetVersion(&versions.library), "ncclGetVersion");
    return versions;
  }

  std::unique_ptr<NcclLink> another() const override { return make_nccl_link(device_); }

  void use_in_this_thread() override {
    check_cuda(cudaSetDevice(device_.index()), "cudaSetDevice");
  }

  NcclId make_id() override {
    ncclUniqueId made;
    check(ncclGetUniqueId(&made), "ncclGetUniqueId");
    NcclId id;
    static_assert(sizeof made.internal == sizeof id);
    std::memcpy(id.data(), made.internal, id.size());
    return id;
  }

  void begin_join(const NcclId& id, int rank, int size) override {
    const c10::cuda::CUDAGuard guard(device_);
    const std::lock_guard<std::mutex> lock(mutex_);
    ncclUniqueId joined;
    std::memcpy(joined.internal, id.data(), id.size());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(ncclCommInitRankConfig(&communicator_, size, joined, rank, &config),
          "ncclCommInitRankConfig");
  }

  Progress progress() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(communicator("ncclCommGetAsyncError"), &state),
          "ncclCommGetAsyncError");
    if (state == ncclSuccess) return {};
    if (state == ncclInProgress) return {State::in_progress, ""};
    return {State::failed, describe(state)};
  }

  void follow_current_stream() override {
    const c10::cuda::CUDAGuard guard(device_);  // an event belongs to the device that is current
    const cudaEvent_t before = supply_->take();
    cudaError_t code =
        cudaEventRecord(before, c10::cuda::getCurrentCUDAStream(device_.index()).stream());
    if (code == cudaSuccess) code = cudaStreamWaitEvent(stream_.stream(), before, 0);
    supply_->give_back(before, {});
    check_cuda(code, "a stream's wait for the current one");
  }

  void keep(const at::Tensor& tensor) override { kept_.push_back(tensor); }

  void exchange(const std::vector<Message>& sends, const std::vector<Message>& receives) override {
    give("a group of sends and receives", [&](ncclComm_t all) {
      // The lock is held until the group has ended: NCCL would find a communicator gone in it.
      ncclResult_t code = ncclGroupStart();
      for (const Message& message : receives) {
        if (code != ncclSuccess) break;
        code = ncclRecv(message.data, static_cast<std::size_t>(message.bytes), ncclInt8,
                        message.peer, all, stream_.stream());
        if (code == ncclInProgress) code = ncclSuccess;
      }
      for (const Message& message : sends) {
        if (code != ncclSuccess) break;
        code = ncclSend(message.data, static_cast<std::size_t>(message.bytes), ncclInt8,
                        message.peer, all, stream_.stream());
        if (code == ncclInProgress) code = ncclSuccess;
      }
      // In any case: a group that was not ended would take in whatever this thread does next.
      const ncclResult_t ended = ncclGroupEnd();
      return code == ncclSuccess ? ended : code;
    });
  }
  void all_gather(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    give("ncclAllGather", [&](ncclComm_t all) {
      return ncclAllGather(from, to, static_cast<std::size_t>(bytes), ncclInt8, all,
                           stream_.stream());
    });
  }
  void all_reduce(c10::ScalarType dtype, Reduction reduction, std::byte* values,
                  std::int64_t count) override {
    give("ncclAllReduce", [&](ncclComm_t all) {
      return ncclAllReduce(values, values, static_cast<std::size_t>(count), nccl_type(dtype),
                           nccl_operation(reduction), all, stream_.stream());
    });
  }
  void broadcast(std::byte* data, std::int64_t bytes, int root) override {
    give("ncclBroadcast", [&](ncclComm_t all) {
      return ncclBroadcast(data, data, static_cast<std::size_t>(bytes), ncclInt8, root, all,
                           stream_.stream());
    });
  }

  void copy(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    const c10::cuda::CUDAGuard guard(device_);
    check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                               stream_.stream()),
               "cudaMemcpyAsync");
  }

  void reduce(c10::ScalarType dtype, Reduction reduction, std::byte* into, const std::byte* parts,
              std::int64_t count, int ranks) override {
    const c10::cuda::CUDAGuard guard(device_);
    const int code = launch_rank_reduction(reduced_type(dtype), static_cast<int>(reduction), into,
                                           parts, count, ranks, stream_.stream());
    check_cuda(static_cast<cudaError_t>(code), "the kernel that reduces over ranks");
  }

  std::shared_ptr<Mark> mark() override {
    const c10::cuda::CUDAGuard guard(device_);
    return std::make_shared<CudaMark>(device_, stream_.stream(), supply_, std::exchange(kept_, {}));
  }

  void abort() noexcept override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (communicator_ == nullptr) return;
    // On a device that has failed nothing runs any more, and NCCL might wait for it for ever.
    const cudaError_t device = cudaStreamQuery(stream_.stream());
    if (device == cudaSuccess || device == cudaErrorNotReady) {
      ncclCommAbort(communicator_);  // There is nothing left to do about a failure of it.
    }
    static_cast<void>(cudaGetLastError());
    communicator_ = nullptr;
  }

  void leave(double seconds) noexcept override {
    std::unique_lock<std::mutex> lock(mutex_);
    if (communicator_ == nullptr) return;
    const Timer timer;
    ncclResult_t state = ncclCommFinalize(communicator_);
    while (state == ncclInProgress && timer.seconds() < seconds) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      if (ncclCommGetAsyncError(communicator_, &state) != ncclSuccess) break;
    }
    if (state != ncclSuccess) {
      LOG(WARNING) << "NCCL did not leave its communicator in " << timer.seconds() << " s ("
                   << ncclGetErrorString(state) << "); it is aborted";
      lock.unlock();
      return abort();
    }
    ncclCommDestroy(communicator_);
    communicator_ = nullptr;
  }

 private:
  // Under the lock, as the next two.
  ncclComm_t communicator(const char* call) const {
    if (communicator_ == nullptr) {
      throw Error(Cause::cluster, "NCCL refused ", call,
                  ": its communicator is not connected, or was aborted");
    }
    return communicator_;
  }

  std::string describe(ncclResult_t code) const {
    const char* const last = ncclGetLastError(communicator_);
    const bool says_more = last != nullptr && *last != '\0';
    return text(ncclGetErrorString(code), says_more ? text(" (", last, ")") : "");
  }

  // A call may go on in the background; progress() tells how it ended.
  void check(ncclResult_t code, const char* call) const {
    if (code == ncclSuccess || code == ncclInProgress) return;
    throw Error(Cause::cluster, "NCCL refused ", call, ": ", describe(code));
  }

  template <typename Call>
  void give(const char* name, const Call& call) {
    const c10::cuda::CUDAGuard guard(device_);
    const std::lock_guard<std::mutex> lock(mutex_);
    check(call(communicator(name)), name);
  }

  c10::Device device_;
  c10::cuda::CUDAStream stream_;
  std::shared_ptr<Supply> supply_;
  std::vector<at::Tensor> kept_;  // for the next mark
  // Of the communicator: what watches it may end it while the rank's thread gives it work.
  std::mutex mutex_;
  ncclComm_t communicator_ = nullptr;
};

}  // namespace

std::unique_ptr<NcclLink> make_nccl_link(c10::Device device) {
  CHECK(device.is_cuda() && device.has_index()) << device;
  const c10::cuda::CUDAGuard guard(device);  // Events belong to the device that is current.
  return std::make_unique<CudaNcclLink>(device);
}

}  // namespace micrec
