// Times the products that a training step is made of against LibTorch's own, in one run:
//   benchmark_graph [threads] [dim] [interactions.txt]
// The graph is a file of lines "user item item ..." (as LightGCN publishes gowalla), or a made-up
// skewed one of gowalla's size.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "base/timer.h"
#include "graph/nearest_neighbours.h"
#include "graph/operators.h"
#include "kernels/dispatch.h"
#include "kernels/row_product.h"
#include "sum_over_graph.h"

namespace micrec {
namespace {

double median_seconds(const std::function<void()>& body, int repeats = 15) {
  std::vector<double> seconds;
  body();
  for (int i = 0; i < repeats; ++i) {
    const Timer timer;
    body();
    seconds.push_back(timer.seconds());
  }
  std::nth_element(seconds.begin(), seconds.begin() + repeats / 2, seconds.end());
  return seconds[repeats / 2];
}

void report(const char* what, double seconds, double bytes) {
  std::printf("%-58s %8.3f ms %8.1f GB/s\n", what, seconds * 1e3, bytes / seconds * 1e-9);
}

void run(int threads, std::int64_t dim, const char* path) {
  const ComputeThreads scope(threads);
  SumOverGraph sum(path);
  const ShardedGraph& graph = sum.graph();
  const Pattern& pattern = sum.pattern();
  const std::int64_t nodes = sum.nodes();
  std::printf("%lld nodes, %lld nonzeros, dim %lld, %d threads, kernels %s\n",
              static_cast<long long>(nodes), static_cast<long long>(pattern.nonzeros()),
              static_cast<long long>(dim), threads, kernels().instruction_set);
  at::set_num_threads(threads);

  const at::Tensor x = at::randn({nodes, dim});
  const at::Tensor degree = at::empty({nodes});
  for (std::int64_t i = 0; i < nodes; ++i) {
    degree.mutable_data_ptr<float>()[i] = static_cast<float>(pattern.degree(i));
  }
  const at::Tensor scale = degree.clamp_min(1).pow(-0.5);
  const double bytes = sum.bytes(dim);
  const at::Tensor csr = sum.torch_csr(at::kCPU);
  report("torch sparse CSR times dense", median_seconds([&] { at::mm(csr, x); }), bytes);
  report("neighbour_sum", median_seconds([&] { neighbour_sum(pattern, x, {}); }), bytes);
  at::Tensor out = at::empty_like(x);
  report("neighbour_sum into a tensor that is there",
         median_seconds([&] { neighbour_sum_into(out, pattern, x, {}); }), bytes);
  SumOptions scaled;
  scaled.scaling = {scale, scale};
  report("neighbour_sum with row and column scales",
         median_seconds([&] { neighbour_sum(pattern, x, scaled); }), bytes);
  SumOptions dropped;
  dropped.dropout = {0.3F, 7, false};
  report("neighbour_sum with dropout 0.3 (bytes as if without)",
         median_seconds([&] { neighbour_sum(pattern, x, dropped); }), bytes);

  const Random random(2, Purpose::synthetic);
  std::vector<std::int32_t> rows;
  for (std::uint64_t i = 0; i < 6144; ++i) {
    rows.push_back(static_cast<std::int32_t>(random.index(nodes, i)));
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  at::Tensor e = x.clone().set_requires_grad(true);
  report("propagate, 3 layers, all rows",
         median_seconds([&] { propagate(graph, e, scale, 3, nullptr); }), 3 * bytes);
  at::Tensor z;
  report("propagate, 3 layers, rows of a batch of 2048", median_seconds([&] {
           const auto wanted = graph.plan_active("benchmark.active", select_rows(nodes, rows));
           z = propagate(graph, e, scale, 3, wanted);
         }),
         3 * bytes);
  const at::Tensor gradient = at::ones_like(z);
  report("its backward", median_seconds([&] {
           e.mutable_grad() = at::Tensor();
           z.backward(gradient, true);
         }),
         3 * bytes);

  std::vector<GlobalNode> needed;
  for (std::uint64_t i = 0; i < 24576; ++i) {
    needed.push_back(GlobalNode(static_cast<std::int32_t>(random.index(nodes, i, 1))));
  }
  report("RowExchange of 24,576 entries (no bytes)", median_seconds([&] {
           RowExchange(sum.ownership(), graph.owned(), needed, sum.communicator());
         }),
         0);

  const std::int64_t items = 8192;
  const std::int64_t width = 384;
  const at::Tensor features = at::randn({items, width});
  const at::Tensor weight = at::randn({width, 64});
  const double product_seconds = median_seconds([&] { row_product(features, weight); });
  const double torch_seconds = median_seconds([&] { at::mm(features, weight); });
  const double operations = 2.0 * items * width * 64;
  std::printf("%-58s %8.3f ms %8.1f GFLOP/s (torch %.1f)\n", "row_product (8192, 384) (384, 64)",
              product_seconds * 1e3, operations / product_seconds * 1e-9,
              operations / torch_seconds * 1e-9);
  const at::Tensor y_gradient = at::ones({items, 64});
  const double gradient_seconds =
      median_seconds([&] { row_product_gradient(features, y_gradient); });
  std::printf("%-58s %8.3f ms %8.1f GFLOP/s\n", "  gradient of the weight", gradient_seconds * 1e3,
              operations / gradient_seconds * 1e-9);
  std::vector<std::int64_t> queries(items);
  for (std::int64_t i = 0; i < items; ++i) queries[i] = i;
  const FeatureSource source{items, width, [&](std::int64_t begin, std::int64_t end, float* to) {
                               std::copy_n(features.const_data_ptr<float>() + begin * width,
                                           (end - begin) * width, to);
                             }};
  const double knn_seconds = median_seconds(
      [&] {
        nearest_neighbours(queries, features, source, std::vector<std::uint8_t>(items, 1), 10);
      },
      1);
  std::printf("%-58s %8.3f ms %8.1f GFLOP/s\n", "nearest_neighbours 8192 x 8192 x 384",
              knn_seconds * 1e3, 2.0 * items * items * width / knn_seconds * 1e-9);
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  micrec::run(argc > 1 ? std::atoi(argv[1]) : 2, argc > 2 ? std::atoi(argv[2]) : 64,
              argc > 3 ? argv[3] : nullptr);
}
