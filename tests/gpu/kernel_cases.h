#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/adam.h"
#include "kernels/adam_element.h"
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
  for (std::int64_t time = 1; time <= 20; ++time) {
    for (std::size_t n = 0; n < here.size(); ++n) {
      here[n].gradient = moved[n].gradient = at::Tensor();
      if (time % 5 == 0) continue;
      here[n].gradient = random_matrix(here[n].value.size(0), 17, 10 + time).mul(1e-3);
      moved[n].gradient = here[n].gradient.to(device);
    }
    adam_step(here, {}, 1e-2, time, 2);
    adam_step(moved, {}, 1e-2, time, 2, not_taken);
    adam_step(moved, {}, 1e-2, time, 2, taken);
  }
  for (std::size_t n = 0; n < here.size(); ++n) {
    EXPECT_TRUE(same_bits(moved[n].value.cpu(), here[n].value)) << n;
    EXPECT_TRUE(same_bits(moved[n].first_moment.cpu(), here[n].first_moment)) << n;
    EXPECT_TRUE(same_bits(moved[n].second_moment.cpu(), here[n].second_moment)) << n;
  }
}

}  // namespace micrec
