#include <ATen/Context.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <glog/logging.h>
#include <nccl.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/text.h"
#include "cluster/device.h"

namespace micrec {

VisibleGpus find_gpus() {
  VisibleGpus gpus;
  gpus.has_driver = nvidia_driver_is_loaded();
  if (ncclGetVersion(&gpus.nccl_version) != ncclSuccess) gpus.nccl_version = 0;
  const char* const sharing = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  gpus.sharing_asked_for = sharing != nullptr && std::string_view(sharing) == "1";

  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // CUDA would report it again from a later call.
    gpus.why_none = cudaGetErrorString(code);
    if (code == cudaErrorInsufficientDriver) {
      int driver = 0;
      cudaDriverGetVersion(&driver);
      gpus.why_none = driver == 0 ? "no NVIDIA driver is loaded"
                                  : text("the NVIDIA driver serves CUDA up to ", driver / 1000, ".",
                                         driver % 1000 / 10, " and this program was built with ",
                                         CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10);
    }
    return gpus;
  }
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    if (const cudaError_t failure = cudaGetDeviceProperties(&properties, device);
        failure != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      gpus.identities.clear();
      gpus.why_none =
          text("GPU ", device, " cannot be asked what it is (", cudaGetErrorString(failure), ")");
      return gpus;
    }
    VisibleGpus::Identity identity{};
    static_assert(sizeof properties.uuid.bytes == sizeof identity);
    std::memcpy(identity.data(), properties.uuid.bytes, sizeof identity);
    gpus.identities.push_back(identity);
  }
  if (count == 0) gpus.why_none = "CUDA_VISIBLE_DEVICES hides them all";
  return gpus;
}

void use_device(c10::Device device) {
  if (device.is_cpu()) return;
  CHECK(device.is_cuda() && device.has_index()) << device;
  // cuBLAS reads it when it starts; with another than these two it may share the sum of a product
  // among streams, and LibTorch refuses to multiply.
  const char* const given = std::getenv("CUBLAS_WORKSPACE_CONFIG");
  const std::string workspace = given == nullptr ? "" : given;
  if (workspace != ":4096:8" && workspace != ":16:8") {
    LOG_IF(WARNING, !workspace.empty())
        << "CUBLAS_WORKSPACE_CONFIG=" << workspace
        << " would let products differ from run to run; :4096:8 is taken";
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/1);
  }
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  c10::cuda::set_device(device.index());
}

}  // namespace micrec
