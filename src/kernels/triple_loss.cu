#include "kernels/block_dots_warp.h"
#include "kernels/device_loops.h"
#include "kernels/gpu_launch.h"
#include "kernels/triple_element.h"

namespace micrec {
namespace {

constexpr int kThreads = 256;  // of a block
constexpr int kWarps = kThreads / kWarpLanes;

__global__ void __launch_bounds__(kThreads) block_dots(const __grid_constant__ BlockDotsCall call) {
  by_warps<kThreads>(
      call.n, [&](const DeviceWarp& warp, std::int64_t t) { block_dots_of_row(warp, call, t); });
}

__global__ void __launch_bounds__(kThreads)
    block_slopes(const __grid_constant__ BlockSlopesCall call) {
  by_threads<kThreads>(call.blocks * call.n * call.width,
                       [&](std::int64_t i) { block_slope(call, i); });
}

/// A block a chunk.
__global__ void __launch_bounds__(kTripleThreads)
    triple_loss(const __grid_constant__ TripleCall call) {
  const auto thread = static_cast<int>(threadIdx.x);
  const TriplePair sum = sum_of_block<kTripleThreads>(triples_of_thread(call, blockIdx.x, thread));
  if (thread != 0) return;
  if (gridDim.x == 1) {
    finish_triples(call, sum);
  } else {
    call.partial[2 * blockIdx.x] = sum.ranking;
    call.partial[2 * blockIdx.x + 1] = sum.squares;
  }
}

__global__ void add_chunks(const __grid_constant__ TripleCall call) { add_triple_chunks(call); }

}  // namespace

cudaError_t launch_block_dots(const BlockDotsCall& call, cudaStream_t stream) {
  return launch<kThreads>(block_dots, call, call.pairs.count == 0 ? 0 : call.n, kWarps, stream);
}

cudaError_t launch_block_slopes(const BlockSlopesCall& call, cudaStream_t stream) {
  return launch<kThreads>(block_slopes, call, call.blocks * call.n * call.width, kThreads, stream);
}

cudaError_t launch_triple_loss(const TripleCall& call, cudaStream_t stream) {
  const std::int64_t chunks = triple_chunks(call.n);
  triple_loss<<<static_cast<unsigned>(chunks), kTripleThreads, 0, stream>>>(call);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  if (chunks == 1) return cudaSuccess;
  add_chunks<<<1, 1, 0, stream>>>(call);
  return cudaGetLastError();
}

}  // namespace micrec
