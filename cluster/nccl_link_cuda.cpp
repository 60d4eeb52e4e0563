#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <glog/logging.h>
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/nccl_link.h"
#include "cluster/rank_reduction_launch.h"

namespace micrec {
namespace {

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw Error(Cause::cluster, text("CUDA refused ", call, ": ", cudaGetErrorString(code)));
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

class Event {
 public:
  Event() {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming),
               "cudaEventCreateWithFlags");
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) {
    check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  void hold_back(cudaStream_t stream) {
    check_cuda(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
  }
  bool has_passed() {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    check_cuda(code, "work of a collective on the GPU");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaMark final : public NcclLink::Mark {
 public:
  CudaMark(c10::Device device, cudaStream_t stream) : device_(device) { event_.record(stream); }

  bool has_passed() override { return event_.has_passed(); }
  void lead_current_stream() override {
    const c10::cuda::CUDAGuard guard(device_);
    event_.hold_back(c10::cuda::getCurrentCUDAStream(device_.index()));
  }

 private:
  c10::Device device_;
  Event event_;
};

class CudaNcclLink final : public NcclLink {
 public:
  explicit CudaNcclLink(c10::Device device)
      : device_(device),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())) {}
  ~CudaNcclLink() override { abort(); }

  c10::Device device() const override { return device_; }

  Versions versions() const override {
    Versions versions;
    versions.header = NCCL_VERSION_CODE;
    check(ncclGetVersion(&versions.library), "ncclGetVersion");
    return versions;
  }

  std::unique_ptr<NcclLink> another() const override { return make_nccl_link(device_); }

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
    ncclUniqueId joined;
    std::memcpy(joined.internal, id.data(), id.size());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(ncclCommInitRankConfig(&communicator_, size, joined, rank, &config),
          "ncclCommInitRankConfig");
  }

  Progress progress() override {
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(communicator_, &state), "ncclCommGetAsyncError");
    if (state == ncclSuccess) return {};
    if (state == ncclInProgress) return {State::in_progress, ""};
    return {State::failed, describe(state)};
  }

  void follow_current_stream() override {
    const c10::cuda::CUDAGuard guard(device_);
    before_.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    before_.hold_back(stream_);
  }

  void keep(const at::Tensor& tensor) override {
    c10::cuda::CUDACachingAllocator::recordStream(tensor.storage().data_ptr(), stream_);
  }

  void begin_group() override { check(ncclGroupStart(), "ncclGroupStart"); }
  void send(const std::byte* from, std::int64_t bytes, int peer) override {
    check(ncclSend(from, static_cast<std::size_t>(bytes), ncclInt8, peer, communicator_, stream_),
          "ncclSend");
  }
  void receive(std::byte* to, std::int64_t bytes, int peer) override {
    check(ncclRecv(to, static_cast<std::size_t>(bytes), ncclInt8, peer, communicator_, stream_),
          "ncclRecv");
  }
  void end_group() override {
    const c10::cuda::CUDAGuard guard(device_);
    check(ncclGroupEnd(), "ncclGroupEnd");
  }

  void copy(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    const c10::cuda::CUDAGuard guard(device_);
    check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice,
                               stream_),
               "cudaMemcpyAsync");
  }

  void reduce(c10::ScalarType dtype, Reduction reduction, std::byte* into, const std::byte* parts,
              std::int64_t count, int ranks) override {
    const c10::cuda::CUDAGuard guard(device_);
    check_cuda(launch_rank_reduction(reduced_type(dtype), static_cast<int>(reduction), into, parts,
                                     count, ranks, stream_),
               "the kernel that reduces over ranks");
  }

  std::unique_ptr<Mark> mark() override {
    const c10::cuda::CUDAGuard guard(device_);
    return std::make_unique<CudaMark>(device_, stream_);
  }

  void abort() noexcept override {
    if (communicator_ == nullptr) return;
    ncclCommAbort(communicator_);  // There is nothing left to do about a failure of it.
    communicator_ = nullptr;
  }

  void leave(double seconds) noexcept override {
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
      return abort();
    }
    ncclCommDestroy(communicator_);
    communicator_ = nullptr;
  }

 private:
  std::string describe(ncclResult_t code) const {
    const char* const last = ncclGetLastError(communicator_);
    const bool says_more = last != nullptr && *last != '\0';
    return text(ncclGetErrorString(code), says_more ? text(" (", last, ")") : "");
  }

  // A call may go on in the background; progress() tells how it ended.
  void check(ncclResult_t code, const char* call) const {
    if (code == ncclSuccess || code == ncclInProgress) return;
    throw Error(Cause::cluster, text("NCCL refused ", call, ": ", describe(code)));
  }

  c10::Device device_;
  c10::cuda::CUDAStream stream_;
  ncclComm_t communicator_ = nullptr;
  Event before_;  // what LibTorch's stream had been given when the collective began
};

}  // namespace

std::unique_ptr<NcclLink> make_nccl_link(c10::Device device) {
  CHECK(device.is_cuda() && device.has_index()) << device;
  const c10::cuda::CUDAGuard guard(device);  // Events belong to the device that is current.
  return std::make_unique<CudaNcclLink>(device);
}

}  // namespace micrec
