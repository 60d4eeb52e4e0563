#include "kernels/device_loops.h"
#include "kernels/gpu_launch.h"
#include "kernels/mixed_rows_element.h"

namespace micrec {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr int kWarps = kThreads / kWarpLanes;

__global__ void __launch_bounds__(kThreads) mixed_rows(const __grid_constant__ MixedRows call) {
  by_warps<kThreads>(call.rows,
                     [&](const DeviceWarp& warp, std::int64_t row) { mix_row(warp, call, row); });
}

__global__ void __launch_bounds__(kThreads) along(const __grid_constant__ MixedRowsGradient call) {
  by_warps<kThreads>(call.of.sorts * call.of.rows,
                     [&](const DeviceWarp& warp, std::int64_t n) { along_of_row(warp, call, n); });
}

__global__ void __launch_bounds__(kThreads) of_x(const __grid_constant__ MixedRowsGradient call) {
  by_warps<kThreads>(call.of.sorts * call.of.rows, [&](const DeviceWarp& warp, std::int64_t n) {
    gradient_of_mixed(warp, call, n);
  });
}

/// A block an entry.
__global__ void __launch_bounds__(kEntryThreads)
    of_tables(const __grid_constant__ MixedRowsGradient call) {
  const auto thread = static_cast<int>(threadIdx.x);
  const double sum = sum_of_block<kEntryThreads>(entry_of_thread(call, blockIdx.x, thread));
  if (thread == 0) call.of_tables[blockIdx.x] = static_cast<float>(sum);
}

__global__ void __launch_bounds__(kThreads)
    modality_tables(const __grid_constant__ ModalityTables call) {
  by_threads<kThreads>(call.entries(), [&](std::int64_t i) { fill_tables(call, i); });
}

__global__ void __launch_bounds__(kThreads)
    of_modality_tables(const __grid_constant__ ModalityTablesGradient call) {
  by_threads<kThreads>(call.of.sorts + (call.of_gains == nullptr ? 0 : call.of.groups),
                       [&](std::int64_t i) { gradient_of_tables(call, i); });
}

}  // namespace

cudaError_t launch_mixed_rows(const MixedRows& call, cudaStream_t stream) {
  return launch<kThreads>(mixed_rows, call, call.rows, kWarps, stream);
}

cudaError_t launch_along(const MixedRowsGradient& call, cudaStream_t stream) {
  return launch<kThreads>(along, call, call.of.sorts * call.of.rows, kWarps, stream);
}

cudaError_t launch_of_mixed(const MixedRowsGradient& call, cudaStream_t stream) {
  return launch<kThreads>(of_x, call, call.of.sorts * call.of.rows, kWarps, stream);
}

cudaError_t launch_of_tables(const MixedRowsGradient& call, cudaStream_t stream) {
  of_tables<<<static_cast<unsigned>(call.of.sorts * call.entries), kEntryThreads, 0, stream>>>(
      call);
  return cudaGetLastError();
}

cudaError_t launch_modality_tables(const ModalityTables& call, cudaStream_t stream) {
  return launch<kThreads>(modality_tables, call, call.entries(), kThreads, stream);
}

cudaError_t launch_of_modality_tables(const ModalityTablesGradient& call, cudaStream_t stream) {
  return launch<kThreads>(of_modality_tables, call, call.of.sorts + call.of.groups, kThreads,
                          stream);
}

}  // namespace micrec
