// Times neighbour_sum on a device against a copy of the device's memory and LibTorch's own product
// of a sparse matrix:
//
//   benchmark_gpu cuda|cpu [interactions.txt] [WIDTH,WIDTH...]
//
// The graph is a file of lines "user item item ..." or a made-up skewed one of gowalla's size.
// Prints a JSON object a line.
#include "kernels/neighbour_sum.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/device.h"
#include "sum_over_graph.h"

namespace micrec {
namespace {

constexpr int kBatches = 7;  // the median of them is told
constexpr double kBatchSeconds = 0.05;

class Stopwatch {
 public:
  explicit Stopwatch(c10::Device device) : device_(device), driver_(device.type()) {}

  /// Seconds a call, the calls of a batch queued behind each other as in a training step.
  double seconds(const std::function<void()>& call) const {
    const auto batch = [&](int calls) {
      synchronize();
      const Timer timer;
      for (int i = 0; i < calls; ++i) call();
      synchronize();
      return timer.seconds() / calls;
    };
    batch(1);  // copies of the pattern, handles and memory
    const int calls = std::clamp(static_cast<int>(std::ceil(kBatchSeconds / batch(2))), 1, 1000);
    std::vector<double> seconds;
    for (int i = 0; i < kBatches; ++i) seconds.push_back(batch(calls));
    std::nth_element(seconds.begin(), seconds.begin() + kBatches / 2, seconds.end());
    return seconds[kBatches / 2];
  }

 private:
  void synchronize() const {
    if (!device_.is_cpu()) driver_.synchronizeDevice(device_.index());
  }

  c10::Device device_;
  c10::impl::VirtualGuardImpl driver_;
};

void report(const char* what, std::int64_t width, double seconds, double bytes) {
  std::printf("{\"what\": \"%s\", \"width\": %lld, \"ms\": %.6g, \"gb_per_s\": %.5g}\n", what,
              static_cast<long long>(width), seconds * 1e3, bytes / seconds * 1e-9);
  std::fflush(stdout);
}

void run(c10::Device device, const char* path, const std::vector<std::int64_t>& widths) {
  use_device(device);
  const SumOverGraph sum(path);
  const Pattern& pattern = sum.pattern();
  const std::int64_t nodes = sum.nodes();
  const Stopwatch stopwatch(device);
  const ComputeThreads threads(at::get_num_threads());
  std::printf("{\"what\": \"graph\", \"nodes\": %lld, \"nonzeros\": %lld}\n",
              static_cast<long long>(nodes), static_cast<long long>(pattern.nonzeros()));

  const at::Tensor there = at::ones({std::int64_t{1} << (device.is_cpu() ? 24 : 28)}, device);
  at::Tensor copy = at::empty_like(there);
  report("copy", 0, stopwatch.seconds([&] { copy.copy_(there); }),
         2.0 * static_cast<double>(there.nbytes()));
  copy.reset();

  const at::Tensor csr = sum.torch_csr(device);
  for (const std::int64_t width : widths) {
    const at::Tensor x = at::randn({nodes, width}, device);
    at::Tensor out = at::empty_like(x);
    const double bytes = sum.bytes(width);
    neighbour_sum_into(out, pattern, x, {});
    const at::Tensor expected = at::mm(csr, x);
    const double apart = (out - expected).abs().max().item<double>();
    if (!(apart <= 1e-4 * expected.abs().max().item<double>())) {
      std::printf("{\"what\": \"wrong\", \"width\": %lld, \"apart\": %g}\n",
                  static_cast<long long>(width), apart);
      std::exit(1);
    }
    report("neighbour_sum", width,
           stopwatch.seconds([&] { neighbour_sum_into(out, pattern, x, {}); }), bytes);
    report("torch CSR product", width, stopwatch.seconds([&] { at::mm(csr, x); }), bytes);
  }
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  using namespace micrec;
  const std::string device = argc > 1 ? argv[1] : "";
  if (device != "cuda" && device != "cpu") {
    std::fprintf(stderr, "usage: benchmark_gpu cuda|cpu [interactions.txt] [WIDTH,WIDTH...]\n");
    return 2;
  }
  std::vector<std::int64_t> widths;
  for (const std::string& word : split(argc > 3 ? argv[3] : "32,64,128,256", ',')) {
    widths.push_back(parse_integer(word).value_or(64));
  }
  if (device == "cuda" && find_gpus().identities.empty()) {
    std::fprintf(stderr, "benchmark_gpu: %s\n", find_gpus().why_none.c_str());
    return 5;
  }
  try {
    run(device == "cuda" ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU),
        argc > 2 && *argv[2] != '\0' ? argv[2] : nullptr, widths);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "benchmark_gpu: %s\n", error.what());
    return 1;
  }
}
