#include "kernels/adam.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/optim/adam.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "kernels/adam_element.h"
#include "kernels/dispatch.h"
#include "tests/support/on_threads.h"

namespace micrec {
namespace {

at::Tensor normal(std::int64_t rows, std::int64_t columns, std::uint32_t stream, double scale) {
  const Random random(4, Purpose::synthetic, stream);
  at::Tensor result = at::empty({rows, columns}, at::kFloat);
  for (std::int64_t n = 0; n < rows * columns; ++n) {
    result.data_ptr<float>()[n] = static_cast<float>(scale * random.normal(n)[0]);
  }
  return result;
}

struct Table {
  at::Tensor value;
  at::Tensor adam_m;
  at::Tensor adam_v;
};

Table make_table(const at::Tensor& value) {
  return {value.clone(), at::zeros_like(value), at::zeros_like(value)};
}

void adam_step(const Table& table, const at::Tensor& gradient, const AdamConfig& config,
               double learning_rate, std::int64_t step) {
  adam_step({{table.value, table.adam_m, table.adam_v, gradient}}, config, learning_rate, step);
}

// Gradients of all sizes, some rows always zero, some only at times: what a table of embeddings
// meets.
at::Tensor gradient_of_step(std::int64_t rows, std::int64_t columns, std::int64_t step) {
  at::Tensor gradient = normal(rows, columns, 10 + static_cast<std::uint32_t>(step), 1);
  for (std::int64_t row = 0; row < rows; ++row) {
    const double scale = row % 5 == 0                    ? 0
                         : row % 5 == 1 && step % 3 != 0 ? 0
                                                         : std::pow(10, -row % 7);
    gradient[row].mul_(scale);
  }
  return gradient;
}

TEST(AdamStep, IsThatOfTorch) {
  constexpr std::int64_t kRows = 40, kColumns = 17;
  for (const double epsilon : {1e-8, 1e-3}) {
    AdamConfig config;
    config.epsilon = epsilon;
    Table parameter = make_table(normal(kRows, kColumns, 1, 0.1));
    at::Tensor theirs = parameter.value.clone().requires_grad_(true);
    torch::optim::Adam optimizer({theirs},
                                 torch::optim::AdamOptions(0.01).betas({0.9, 0.999}).eps(epsilon));
    for (std::int64_t step = 1; step <= 50; ++step) {
      const double learning_rate = step <= 25 ? 0.01 : 0.003;
      const at::Tensor gradient = gradient_of_step(kRows, kColumns, step);
      theirs.mutable_grad() = gradient.clone();
      static_cast<torch::optim::AdamOptions&>(optimizer.param_groups()[0].options())
          .lr(learning_rate);
      optimizer.step();
      adam_step(parameter, gradient, config, learning_rate, step);
      const double largest = (parameter.value - theirs.detach()).abs().max().item<double>();
      ASSERT_LT(largest, 1e-6) << "step " << step;
    }
    EXPECT_GT((parameter.value - normal(kRows, kColumns, 1, 0.1)).abs().max().item<double>(), 0.05);
  }
}

TEST(AdamStep, HasTheSameBitsWithEveryInstructionSet) {
  constexpr std::int64_t kNumbers = 1003;  // no multiple of a vector's
  const at::Tensor gradient = normal(1, kNumbers, 2, 1);
  const AdamFactors factors{0.01F, 1.5F, 1e-8F, 0.9F, 0.999F, 0.1F, 0.001F};
  const auto after_steps = [&](auto&& step) {
    std::vector<at::Tensor> numbers = {normal(1, kNumbers, 1, 0.1), at::zeros({1, kNumbers}),
                                       at::zeros({1, kNumbers})};
    for (const float* const slopes :
         {gradient.const_data_ptr<float>(), gradient.const_data_ptr<float>(),
          static_cast<const float*>(nullptr)}) {
      step(AdamNumbers{slopes, numbers[0].data_ptr<float>(), numbers[1].data_ptr<float>(),
                       numbers[2].data_ptr<float>(), kNumbers, 0});
    }
    return at::cat(numbers);
  };
  const at::Tensor plainly = after_steps([&](const AdamNumbers& of) {
    supported_kernels().front()->adam_numbers(factors, of, 0, of.count);
  });
  for (const Kernels* const kernel : supported_kernels()) {
    const at::Tensor all = after_steps([&](const AdamNumbers& of) {
      kernel->adam_numbers(factors, of, 0, 500);
      kernel->adam_numbers(factors, of, 500, of.count);
    });
    EXPECT_TRUE(at::equal(all, plainly)) << kernel->instruction_set;
  }
}

TEST(AdamStep, HasTheSameBitsAtAnyNumberOfThreads) {
  constexpr std::int64_t kRows = 1500, kColumns = 64;  // three chunks
  Table one = make_table(normal(kRows, kColumns, 1, 0.1));
  Table many = make_table(one.value);
  for (std::int64_t step = 1; step <= 3; ++step) {
    const at::Tensor gradient = normal(kRows, kColumns, 50 + static_cast<std::uint32_t>(step), 1);
    adam_step(one, gradient, {}, 0.01, step);
    on_threads(4, [&] { adam_step(many, gradient, {}, 0.01, step); });
  }
  EXPECT_TRUE(at::equal(one.value, many.value));
  EXPECT_TRUE(at::equal(one.adam_m, many.adam_m));
  EXPECT_TRUE(at::equal(one.adam_v, many.adam_v));
}

TEST(AdamStep, TakesNoGradientForAGradientOfZeros) {
  Table undefined = make_table(normal(9, 5, 1, 0.1));
  Table zeros = make_table(undefined.value);
  for (std::int64_t step = 1; step <= 4; ++step) {
    const at::Tensor gradient = step <= 2 ? normal(9, 5, 60, 1) : at::zeros({9, 5});
    adam_step(zeros, gradient, {}, 0.01, step);
    adam_step(undefined, step <= 2 ? gradient : at::Tensor(), {}, 0.01, step);
  }
  EXPECT_TRUE(at::equal(undefined.value, zeros.value));
  EXPECT_TRUE(at::equal(undefined.adam_m, zeros.adam_m));
  EXPECT_TRUE(at::equal(undefined.adam_v, zeros.adam_v));
}

TEST(AdamStep, LeavesARowThatNeverHadAGradient) {
  Table parameter = make_table(normal(6, 4, 1, 0.1));
  const at::Tensor before = parameter.value.clone();
  at::Tensor gradient = normal(6, 4, 2, 1);
  gradient[3].zero_();
  for (std::int64_t step = 1; step <= 10; ++step) adam_step(parameter, gradient, {}, 0.1, step);
  EXPECT_TRUE(at::equal(parameter.value[3], before[3]));
  EXPECT_FALSE(at::equal(parameter.value[2], before[2]));
}

TEST(AdamStep, IsNotTakenWhereTheFlagIsZero) {
  Table parameter = make_table(normal(6, 4, 1, 0.1));
  const at::Tensor before = parameter.value.clone();
  const std::vector<AdamTensors> all = {
      {parameter.value, parameter.adam_m, parameter.adam_v, normal(6, 4, 2, 1)}};
  adam_step(all, {}, 0.1, 1, at::zeros({}, at::kDouble));
  EXPECT_TRUE(at::equal(parameter.value, before));
  EXPECT_EQ(at::count_nonzero(parameter.adam_v).item<std::int64_t>(), 0);
  adam_step(all, {}, 0.1, 1, at::ones({}, at::kDouble));
  EXPECT_FALSE(at::equal(parameter.value, before));
}

}  // namespace
}  // namespace micrec
