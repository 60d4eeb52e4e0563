#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "base/error.h"
#include "base/text.h"
#include "kernels/row_sum_call.h"
#include "kernels/row_sum_launch.h"

namespace micrec {

void neighbour_sum_on_gpu(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                          const SumOptions& options) {
  const c10::cuda::CUDAGuard guard(x.device());
  // Its copies go back to LibTorch's memory of the current stream, in whose order they are used
  // again: the kernel still finds them.
  const RowSumCall call = prepare_row_sum(out, pattern, x, options);
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(x.device().index());
  const cudaError_t code =
      call.x_is_bfloat16
          ? launch_row_sum(call.typed<Bfloat16Bits>(), call.hubs, call.output_rows, stream)
          : launch_row_sum(call.typed<float>(), call.hubs, call.output_rows, stream);
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw Error(Cause::cluster,
              text("CUDA refused to start the sum of neighbours: ", cudaGetErrorString(code)));
}

}  // namespace micrec
