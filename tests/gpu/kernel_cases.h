#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "cluster/communicator.h"
#include "cluster/thread_communicator.h"
#include "graph/linear_operator.h"
#include "kernels/adam.h"
#include "kernels/adam_element.h"
#include "model/contrastive_share.h"
#include "model/step/row_functions.h"
#include "tests/support/test_graphs.h"

// What a device other than the CPU must do as the CPU does, whether it is a GPU or one that is
// played.
namespace micrec {

/// More tensors than one launch takes, of a few numbers, of a chunk and of several; steps that are
/// taken and some that are not.
inline void expect_adam_of_the_cpu(c10::Device device) {
  std::vector<AdamTensors> here, moved;
  for (int tensor = 0; tensor < kAdamTensors + 3; ++tensor) {
    const at::Tensor value = random_matrix(tensor == 4 ? 1001 : tensor, 17, tensor);
    const at::Tensor zero = at::zeros_like(value);
    here.push_back({value, zero.clone(), zero.clone(), {}});
    moved.push_back({value.to(device), zero.to(device), zero.to(device), {}});
  }
  const at::Tensor taken = at::ones({}, at::kDouble).to(device);
  const at::Tensor not_taken = at::zeros({}, at::kDouble).to(device);
  const ComputeThreads threads(2);
  for (std::int64_t time = 1; time <= 20; ++time) {
    for (std::size_t n = 0; n < here.size(); ++n) {
      here[n].gradient = moved[n].gradient = at::Tensor();
      if (time % 5 == 0) continue;
      here[n].gradient = random_matrix(here[n].value.size(0), 17, 10 + time).mul(1e-3);
      moved[n].gradient = here[n].gradient.to(device);
    }
    adam_step(here, {}, 1e-2, time);
    adam_step(moved, {}, 1e-2, time, not_taken);
    adam_step(moved, {}, 1e-2, time, taken);
  }
  for (std::size_t n = 0; n < here.size(); ++n) {
    EXPECT_TRUE(same_bits(moved[n].value.cpu(), here[n].value)) << n;
    EXPECT_TRUE(same_bits(moved[n].first_moment.cpu(), here[n].first_moment)) << n;
    EXPECT_TRUE(same_bits(moved[n].second_moment.cpu(), here[n].second_moment)) << n;
  }
}

/// The ranking of triples whose rows are on the device, against the CPU's and autograd: `triples`
/// of them, more than a chunk where there are many.
inline void expect_triple_loss_of_the_cpu(c10::Device device, std::int64_t triples,
                                          std::int64_t width) {
  const ColumnSums sums({1, 1}, static_cast<int>(width), nullptr);
  const ComputeThreads threads(2);
  const RowGroups groups{triples, 1, nullptr};
  const at::Tensor weight = at::arange(triples).remainder(7).to(at::kDouble) * 0.01;
  for (const bool has_squares : {false, true}) {
    std::vector<std::pair<int, int>> pairs = {{0, 1}, {0, 2}};
    if (has_squares) pairs.insert(pairs.end(), {{0, 0}, {1, 1}, {2, 2}});
    const at::Tensor rows = random_matrix(3 * triples, width, 3) * 2;
    const at::Tensor x = rows.clone().requires_grad_(true);
    const at::Tensor moved = rows.to(device).requires_grad_(true);
    TripleSums expected, actual;
    const at::Tensor dots = block_dots("test.dots", x, 3, pairs, sums);
    const at::Tensor moved_dots = block_dots("test.dots", moved, 3, pairs, sums);
    EXPECT_TRUE(at::allclose(moved_dots.detach().cpu(), dots.detach(), 1e-12, 1e-12));
    const at::Tensor loss = triple_loss(dots, weight, 0.3, groups, expected) * 2;
    const at::Tensor moved_loss =
        triple_loss(moved_dots, weight.to(device), 0.3, groups, actual) * 2;
    run_backward({loss}, {{}});
    run_backward({moved_loss}, {{}});
    const auto expect_near = [](const at::Tensor& got, const at::Tensor& wanted) {
      const double value = wanted.item<double>();
      EXPECT_NEAR(got.cpu().item<double>(), value, 1e-12 * std::abs(value));
    };
    expect_near(moved_loss.detach(), loss.detach());
    expect_near(actual.ranking, expected.ranking);
    expect_near(actual.squares, expected.squares);
    EXPECT_LT(relative_error(moved.grad().cpu(), x.grad()), 1e-6);
    // Both could be wrong alike.
    const at::Tensor z = rows.to(at::kDouble).requires_grad_(true);
    const at::Tensor block = z.view({3, triples, width});
    at::Tensor plain = weight * at::softplus((block[0] * (block[2] - block[1])).sum(1), 1, 100);
    if (has_squares) plain = plain + weight * 0.3 * block.square().sum(2).sum(0);
    run_backward({plain.sum() * 2}, {{}});
    expect_near(moved_loss.detach(), plain.detach().sum() * 2);
    EXPECT_LT(relative_error(moved.grad().cpu(), z.grad().to(at::kFloat)), 1e-6);
  }
}

/// The contrastive loss of rows that are on the device against the CPU's, on so many ranks; `over`
/// makes the device's communicator over one of the host.
inline void expect_contrastive_loss_of_the_cpu(
    c10::Device device, const std::vector<std::vector<std::int64_t>>& divisions,
    const std::function<std::unique_ptr<Communicator>(Communicator&)>& over) {
  const auto leaf = [](const at::Tensor& values, c10::Device where) {
    return values.to(where).clone().requires_grad_(true);
  };
  const at::Tensor first = random_matrix(23, 8, 1);
  at::Tensor second = random_matrix(23, 8, 2);
  second[4].zero_();
  struct Run {
    double loss;
    at::Tensor of_first, of_second;
  };
  Run expected;
  run_ranks(1, [&](Communicator& alone) {
    std::vector<std::int32_t> positions(23);
    for (int n = 0; n < 23; ++n) positions[n] = n;
    const at::Tensor a = leaf(first, at::kCPU), b = leaf(second, at::kCPU);
    const at::Tensor loss = contrastive_share(a, b, {23}, positions, 0.2, alone);
    (loss * 3).backward();
    expected = {loss.item<double>(), a.grad(), b.grad()};
  });
  for (const std::vector<std::int64_t>& rows_per_rank : divisions) {
    for (const std::int64_t tile_numbers :
         {std::int64_t{1}, std::int64_t{50}, std::int64_t{4096}}) {
      const auto ranks = static_cast<int>(rows_per_rank.size());
      std::vector<double> losses(ranks);
      std::vector<at::Tensor> of_first(ranks), of_second(ranks);
      run_ranks(ranks, [&](Communicator& host) {
        const std::unique_ptr<Communicator> there = over(host);
        Communicator& group = *there;
        std::int64_t begin = 0;
        for (int q = 0; q < group.rank(); ++q) begin += rows_per_rank[q];
        const std::int64_t end = begin + rows_per_rank[group.rank()];
        const at::Tensor a = leaf(first.slice(0, begin, end), device);
        const at::Tensor b = leaf(second.slice(0, begin, end), device);
        const at::Tensor loss =
            contrastive_on_device(a, b, rows_per_rank, 0.2, group, 0.5, tile_numbers);
        run_backward({loss * 6}, {{}});
        losses[group.rank()] = loss.detach().cpu().item<double>();
        of_first[group.rank()] = a.grad().cpu();
        of_second[group.rank()] = b.grad().cpu();
      });
      double loss = 0;
      for (const double share : losses) loss += share;
      EXPECT_NEAR(loss, 0.5 * expected.loss, 1e-5 * std::abs(expected.loss)) << ranks;
      // The gradient of the row of zeros is divided by its smallest norm.
      const auto close = [](const at::Tensor& actual, const at::Tensor& wanted) {
        return relative_error(actual.slice(0, 5), wanted.slice(0, 5)) < 1e-5 &&
               relative_error(actual.slice(0, 0, 4), wanted.slice(0, 0, 4)) < 1e-5 &&
               relative_error(actual.slice(0, 4, 5), wanted.slice(0, 4, 5)) < 1e-5;
      };
      EXPECT_TRUE(close(at::cat(of_first), expected.of_first)) << ranks;
      EXPECT_TRUE(close(at::cat(of_second), expected.of_second)) << ranks;
    }
  }
}

}  // namespace micrec
