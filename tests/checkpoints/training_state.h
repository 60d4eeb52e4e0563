#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "base/random.h"
#include "checkpoints/checkpoint.h"
#include "tests/support/temporary_folder.h"

namespace micrec {

/// A training state as a function of (tensor, global row, column): every rank can say what any
/// element must be. Floating values are any 32 or 64 bits, NaNs and infinities among them.
template <typename T>
T expected_element(std::uint64_t tensor, std::int64_t row, std::int64_t column) {
  const auto bits = Random(tensor, Purpose::synthetic)
                        .bits(static_cast<std::uint64_t>(row), static_cast<std::uint32_t>(column));
  T element;
  std::memcpy(&element, bits.data(), sizeof element);
  return element;
}

inline void fill_expected(at::Tensor& tensor, std::uint64_t number,
                          const std::vector<std::int64_t>& rows) {
  const std::int64_t columns =
      rows.empty() ? 0 : tensor.numel() / static_cast<std::int64_t>(rows.size());
  const auto fill = [&]<typename T>(T) {
    T* out = tensor.mutable_data_ptr<T>();
    for (const std::int64_t row : rows) {
      for (std::int64_t c = 0; c < columns; ++c) *out++ = expected_element<T>(number, row, c);
    }
  };
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return fill(double{});
    case at::kLong:
      return fill(std::int64_t{});
    case at::kInt:
      return fill(std::int32_t{});
    case at::kByte:
      return fill(std::uint8_t{});
    default:
      return fill(float{});
  }
}

/// The nodes of a rank: scattered, and none at all for every fourth rank of more than three.
inline std::vector<GlobalNode> nodes_of_rank(std::int64_t nodes, int rank, int ranks) {
  std::vector<int> working;
  for (int r = 0; r < ranks; ++r) {
    if (ranks <= 3 || r % 4 != 1) working.push_back(r);
  }
  std::vector<GlobalNode> owned;
  for (std::int64_t node = 0; node < nodes; ++node) {
    const std::uint32_t hash = mix(static_cast<std::uint32_t>(node));
    if (working[hash % working.size()] == rank) {
      owned.push_back(GlobalNode{static_cast<std::int32_t>(node)});
    }
  }
  return owned;
}

/// The tensors of a rank with the values expected of them, or with zeros to be restored into.
inline std::vector<CheckpointTensor> state_tensors(const std::vector<GlobalNode>& owned,
                                                   bool filled = true) {
  std::vector<std::int64_t> rows;
  for (const GlobalNode node : owned) rows.push_back(value(node));
  const auto n = static_cast<std::int64_t>(rows.size());
  std::uint64_t number = 0;
  const auto make = [&](std::vector<std::int64_t> shape, at::ScalarType type, bool sharded) {
    at::Tensor tensor = at::empty(shape, type);
    if (sharded) {
      fill_expected(tensor, ++number, rows);
    } else {
      fill_expected(tensor, ++number, {0});
    }
    return filled ? tensor : at::zeros_like(tensor);
  };
  const auto tensor = [&](const char* name, std::vector<std::int64_t> shape, at::ScalarType type,
                          bool sharded, bool trained) {
    CheckpointTensor t;
    t.name = name;
    t.value = make(shape, type, sharded);
    if (trained) t.adam_m = make(shape, type, sharded);
    if (trained) t.adam_v = make(shape, type, sharded);
    t.sharded = sharded;
    t.description = std::string("the tensor ") + name;
    return t;
  };
  std::vector<CheckpointTensor> tensors;
  tensors.push_back(tensor("templates", {n, 5}, at::kFloat, true, true));
  tensors.push_back(tensor("gates", {n}, at::kDouble, true, true));
  tensors.push_back(tensor("last_seen", {n}, at::kLong, true, false));
  tensors.push_back(tensor("flags", {n, 2, 3}, at::kByte, true, false));
  tensors.push_back(tensor("projection.text", {7, 4}, at::kFloat, false, true));
  tensors.push_back(tensor("scale", {}, at::kFloat, false, true));
  tensors.push_back(tensor("counts", {3}, at::kInt, false, false));
  tensors.push_back(tensor("nothing", {0, 4}, at::kDouble, false, false));
  return tensors;
}

inline bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         (a.numel() == 0 ||
          std::memcmp(a.const_data_ptr(), b.const_data_ptr(),
                      static_cast<std::size_t>(a.numel()) * a.element_size()) == 0);
}

inline void expect_same_bytes(const std::vector<CheckpointTensor>& got,
                              const std::vector<CheckpointTensor>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(same_bytes(got[i].value, expected[i].value)) << got[i].name;
    ASSERT_EQ(got[i].adam_m.defined(), expected[i].adam_m.defined()) << got[i].name;
    if (!got[i].adam_m.defined()) continue;
    EXPECT_TRUE(same_bytes(got[i].adam_m, expected[i].adam_m)) << got[i].name;
    EXPECT_TRUE(same_bytes(got[i].adam_v, expected[i].adam_v)) << got[i].name;
  }
}

inline CheckpointInfo state_info(std::int64_t step) {
  CheckpointInfo info;
  info.step = step;
  info.epoch = step / 10;
  info.best_metric = 0.04715263;
  info.best_step = step / 2;
  info.validations_without_improvement = 3;
  info.config = "--model=micrec\n--dim=64\n";
  info.dataset_path = "food_kitchen.h5";
  info.dataset_fingerprint = "0123456789abcdef0123456789abcdef";
  info.grid = "1x1";
  info.extra = {{"annealing", "0.99"}, {"seed", "7"}};
  return info;
}

}  // namespace micrec
