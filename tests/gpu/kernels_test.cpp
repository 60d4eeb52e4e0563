// What runs on a GPU against what the CPU gives.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/parallel.h"
#include "cluster/nccl_communicator.h"
#include "cluster/nccl_link.h"
#include "fit_cases.h"
#include "gpu_for_test.h"
#include "graph/operators.h"
#include "kernel_cases.h"
#include "kernels/row_product.h"
#include "kernels/rows.h"
#include "ranking_cases.h"
#include "sum_cases.h"

namespace micrec {
namespace {

// A lone rank's communicator of tensors on the GPU.
std::unique_ptr<Communicator> alone_on_gpu(Communicator& host) {
  return std::make_unique<NcclCommunicator>(dynamic_cast<HostCommunicator&>(host), gpu_for_test(),
                                            nullptr, NcclId{}, CommunicatorOptions{});
}

// The options with their tensors on the GPU; sets and lists stay on the host.
SumOptions there(SumOptions options, c10::Device gpu) {
  for (at::Tensor* tensor :
       {&options.scaling.row, &options.scaling.column, &options.edge_weights,
        &options.horner.addend, &options.horner.scale, &options.horner.addend_of}) {
    if (tensor->defined()) *tensor = tensor->to(gpu);
  }
  return options;
}

TEST(GpuKernels, NeighbourSumHasTheBitsOfTheCpu) {
  MICREC_NEEDS_GPU();
  const c10::Device gpu = gpu_for_test();
  for (const auto& one : sum_cases()) {
    const at::Tensor x = one->x.to(one->x_type).to(gpu);
    at::Tensor out = at::full({one->output_rows(), one->x.size(1)}, SumCase::kUntouched,
                              at::TensorOptions(one->out_type).device(gpu));
    for (int turn = 0; turn < 2; ++turn) {  // the second from the copy of the pattern
      neighbour_sum_into(out, one->pattern, x, there(one->options, gpu));
      EXPECT_TRUE(same_bits(out.cpu(), one->expected())) << one->name << ", turn " << turn;
    }
  }
}

TEST(GpuKernels, NeighbourSumReadsAnXThatBeginsAnywhere) {
  MICREC_NEEDS_GPU();
  const TestGraph graph = bipartite_graph(60, 45, 7);
  const at::Tensor all = random_matrix(1, graph.nodes() * 128 + 3, 4).flatten();
  for (int begin = 0; begin < 4; ++begin) {
    const at::Tensor x = all.slice(0, begin, begin + graph.nodes() * 128).view({-1, 128});
    const at::Tensor moved =
        all.to(gpu_for_test()).slice(0, begin, begin + graph.nodes() * 128).view({-1, 128});
    EXPECT_TRUE(same_bits(neighbour_sum(graph.pattern(), moved, {}).cpu(),
                          neighbour_sum(graph.pattern(), x.contiguous(), {})));
  }
}

TEST(GpuKernels, GathersAndScattersInTheOrderOfTheCpu) {
  MICREC_NEEDS_GPU();
  const c10::Device gpu = gpu_for_test();
  const std::vector<std::int32_t> rows = {5, 0, 0, 9, 5, 5, 2};
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kLong, at::kByte}) {
    const at::Tensor x = random_matrix(10, 33, 1).mul(100).to(dtype);
    const RowList list(rows);
    EXPECT_TRUE(same_bits(gather_rows(x.to(gpu), list).cpu(), gather_rows(x, list)));
  }
  EXPECT_EQ(gather_rows(random_matrix(3, 4, 1).to(gpu), RowList()).size(0), 0);

  const at::Tensor weights = random_matrix(7, 33, 2);
  at::Tensor here = random_matrix(10, 33, 3).requires_grad_(true);
  at::Tensor moved = here.detach().to(gpu).requires_grad_(true);
  (take_rows(here, rows) * weights).sum().backward();
  (take_rows(moved, rows) * weights.to(gpu)).sum().backward();
  EXPECT_TRUE(same_bits(moved.grad().cpu(), here.grad()));
}

TEST(GpuKernels, RowProductAndItsGradientsAgreeWithTheCpu) {
  MICREC_NEEDS_GPU();
  const c10::Device gpu = gpu_for_test();
  const at::Tensor x = random_matrix(777, 130, 1);
  const at::Tensor w = random_matrix(130, 64, 2);
  const at::Tensor moved_x = x.to(gpu);
  const at::Tensor moved_w = w.to(gpu);
  const at::Tensor g = random_matrix(777, 64, 3);
  const ComputeThreads threads(2);
  const at::Tensor y = row_product(x, w);
  const at::Tensor moved_y = row_product(moved_x, moved_w);
  EXPECT_LT(relative_error(moved_y.cpu(), y), 1e-5);
  EXPECT_LT(relative_error(row_product_transposed(g.to(gpu), moved_w).cpu(),
                           row_product_transposed(g, w)),
            1e-5);
  EXPECT_LT(
      relative_error(row_product_gradient(moved_x, g.to(gpu)).cpu(), row_product_gradient(x, g)),
      1e-5);
  EXPECT_TRUE(same_bits(row_product(moved_x, moved_w).cpu(), moved_y.cpu())) << "every time";
}

TEST(GpuKernels, AdamHasTheBitsOfTheCpu) {
  MICREC_NEEDS_GPU();
  expect_adam_of_the_cpu(gpu_for_test());
}

TEST(GpuKernels, TheLossOfTriplesIsTheCpus) {
  MICREC_NEEDS_GPU();
  for (const std::int64_t triples : {0, 1, 200, 2048, 20'000}) {
    for (const std::int64_t width : {1, 16, 64}) {
      expect_triple_loss_of_the_cpu(gpu_for_test(), triples, width);
    }
  }
}

TEST(GpuKernels, TheContrastiveLossIsTheCpus) {
  MICREC_NEEDS_GPU();
  expect_contrastive_loss_of_the_cpu(gpu_for_test(), {{23}}, alone_on_gpu);
}

TEST(GpuKernels, CountsOfARankingAreTheCpus) {
  MICREC_NEEDS_GPU();
  expect_counts_of_the_cpu(gpu_for_test());
}

TEST(GpuKernels, CountsOfMixedScoresAreTheCpus) {
  MICREC_NEEDS_GPU();
  expect_mixed_counts_of_the_cpu(gpu_for_test());
  expect_long_histories_of_the_cpu(gpu_for_test());
}

TEST(GpuKernels, AFitOfItemRegressionIsTheCpus) {
  MICREC_NEEDS_GPU();
  expect_fit_of_the_cpu(gpu_for_test(), alone_on_gpu, {1});
}

TEST(GpuKernels, ReducesOverRanksInTheirOrder) {
  MICREC_NEEDS_GPU();
  const c10::Device gpu = gpu_for_test();
  const std::unique_ptr<NcclLink> link = make_nccl_link(gpu);
  constexpr int kRanks = 5;
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kInt, at::kLong}) {
    const at::Tensor parts = random_matrix(kRanks, 10'007, 3).mul(1000).to(dtype);
    for (const Reduction reduction : {Reduction::sum, Reduction::min, Reduction::max}) {
      at::Tensor expected = parts[0].clone();
      for (int q = 1; q < kRanks; ++q) {
        if (reduction == Reduction::sum) expected += parts[q];
        if (reduction == Reduction::min) expected = at::minimum(expected, parts[q]);
        if (reduction == Reduction::max) expected = at::maximum(expected, parts[q]);
      }
      const at::Tensor moved = parts.to(gpu);
      at::Tensor result = at::empty({10'007}, moved.options());
      link->follow_current_stream();
      link->reduce(dtype, reduction, static_cast<std::byte*>(result.mutable_data_ptr()),
                   static_cast<const std::byte*>(moved.const_data_ptr()), 10'007, kRanks);
      link->mark()->lead_current_stream();
      EXPECT_TRUE(same_bits(result.cpu(), expected)) << dtype;
    }
  }
}

}  // namespace
}  // namespace micrec
