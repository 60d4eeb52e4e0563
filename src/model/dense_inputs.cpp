#include "model/dense_inputs.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include "graph/linear_operator.h"

namespace micrec {

at::Tensor DenseInputs::add(const at::Tensor& value, Parameter* parameter,
                            const at::Tensor& scalars) {
  std::vector<std::int64_t> shape = value.sizes().vec();
  shape.insert(shape.begin(), groups_);
  // All copies are one in memory.
  at::Tensor leaf = value.detach().unsqueeze(0).expand(shape);
  if (!c10::GradMode::is_enabled()) return leaf;
  leaf.requires_grad_(true);
  inputs_.push_back({leaf, parameter, scalars, value.numel()});
  return leaf;
}

at::Tensor DenseInputs::parameter(Parameter& parameter) {
  for (const Input& input : inputs_) {
    if (input.parameter == &parameter) return input.leaf;
  }
  const at::Tensor& value = parameter.value;
  CHECK_EQ(value.size(-1), width_) << parameter.name;
  return add(value.dim() == 1 ? value.detach().unsqueeze(0) : value, &parameter, {});
}

at::Tensor DenseInputs::table(const at::Tensor& scalars) {
  return add(scalars.detach().unsqueeze(1).expand({scalars.size(0), width_}), nullptr, scalars);
}

// A row a group: gradients of all inputs, then the numbers of the group, then (in the first) of the
// rank.
at::Tensor DenseInputs::summands(std::int64_t size, const Extra& extra) const {
  const c10::NoGradGuard no_gradient;
  const std::int64_t of_groups = extra.of_groups.size(1);
  at::Tensor parts = at::zeros({groups_, size + of_groups + extra.of_ranks.size(0)}, at::kDouble);
  if (!inputs_.empty()) {
    std::vector<at::Tensor> gradients;
    for (const Input& input : inputs_) {
      const at::Tensor& gradient = input.leaf.grad();
      gradients.push_back(gradient.defined()
                              ? gradient.reshape({groups_, -1})
                              : at::zeros({groups_, input.size}, input.leaf.options()));
    }
    parts.slice(1, 0, size).copy_(at::cat(gradients, 1));  // from a GPU all in one
  }
  parts.slice(1, size, size + of_groups).copy_(extra.of_groups);
  parts[0].slice(0, size + of_groups).copy_(extra.of_ranks);
  return parts;
}

void DenseInputs::finish(const Shard& shard, const ColumnSums& sums, Extra& extra) {
  std::int64_t size = 0;
  for (const Input& input : inputs_) size += input.size;
  const std::int64_t of_groups = extra.of_groups.size(1);
  at::Tensor parts = summands(size, extra);
  Communicator& rows = *shard.communicator;
  at::Tensor total;
  if (shard.reproducible) {
    total = tree_sum(rows.all_gather("step.dense", parts, shard.summands_of_part));
  } else {
    CHECK_EQ(groups_, 1);
    rows.all_reduce("step.dense", parts);
    total = parts[0];
  }

  // Of tables the sums over columns are left, and of the ranks' numbers those of the column group.
  std::vector<double> partial;
  const double* const values = total.const_data_ptr<double>();
  std::int64_t at = 0;
  for (const Input& input : inputs_) {
    if (input.parameter == nullptr) {
      for (std::int64_t entry = 0; entry < input.size; entry += width_) {
        partial.push_back(sums.sum(values + at + entry));
      }
    }
    at += input.size;
  }
  const auto entries = static_cast<std::int64_t>(partial.size());
  partial.insert(partial.end(), values + size + of_groups, values + total.numel());
  const at::Tensor finished =
      sums.finish("step.columns", at::tensor(partial, at::TensorOptions(at::kDouble)));
  extra.of_groups = total.slice(0, size, size + of_groups).clone();
  extra.of_ranks.copy_(finished.slice(0, entries));
  if (!inputs_.empty()) give_gradients(total, finished);
  inputs_.clear();
}

// Gradients of all inputs one after the other, and to a GPU all in one.
void DenseInputs::give_gradients(const at::Tensor& total, const at::Tensor& finished) const {
  std::vector<at::Tensor> parts_of_all;
  std::int64_t at = 0;
  std::int64_t entry = 0;
  for (const Input& input : inputs_) {
    if (input.parameter != nullptr) {
      parts_of_all.push_back(total.slice(0, at, at + input.size));
    } else {
      const std::int64_t count = input.size / width_;
      parts_of_all.push_back(finished.slice(0, entry, entry + count));
      entry += count;
    }
    at += input.size;
  }
  const c10::Device device = inputs_.front().leaf.device();
  const at::Tensor all = at::cat(parts_of_all).to(at::kFloat).to(device);
  std::vector<at::Tensor> tables, gradients;
  at = 0;
  for (const Input& input : inputs_) {
    const std::int64_t count = input.parameter != nullptr ? input.size : input.size / width_;
    const at::Tensor gradient = all.slice(0, at, at + count);
    if (input.parameter != nullptr) {
      at::Tensor& value = input.parameter->value;
      value.mutable_grad() = gradient.reshape(value.sizes());
    } else if (input.scalars.requires_grad()) {
      tables.push_back(input.scalars);
      gradients.push_back(gradient);
    }
    at += count;
  }
  if (!tables.empty()) run_backward(tables, gradients);
}

void DenseInputs::declare(const RankPlace& at, StepCosts& costs, double of_groups,
                          double of_ranks) {
  of_ranks += 2;  // votes: whether to stop, whether a save is done
  costs.exchange("step.dense", Group::rows, 2, at.summed_bytes(Group::rows, of_groups + of_ranks));
  costs.exchange("step.columns", Group::columns, 1, at.gathered_bytes(Group::columns, of_ranks));
}

void DenseInputs::declare_parameter(const RankPlace& at, double rows, StepCosts& costs) {
  costs.joins("step.dense", at.summed_bytes(Group::rows, rows * at.columns));
}

// Gradients of a table travel by column until these are summed.
void DenseInputs::declare_table(const RankPlace& at, double entries, StepCosts& costs) {
  declare_parameter(at, entries, costs);
  costs.joins("step.columns", at.gathered_bytes(Group::columns, entries));
}

}  // namespace micrec
