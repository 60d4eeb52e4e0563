#include "model/step/dense_inputs.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include "graph/linear_operator.h"

namespace micrec {

at::Tensor DenseInputs::add(const at::Tensor& value, Parameter* parameter,
                            const at::Tensor& scalars) {
  std::vector<std::int64_t> shape = value.sizes().vec();
  shape.insert(shape.begin(), shard_.summands());
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
  CHECK_EQ(value.size(-1), sums_.width()) << parameter.name;
  return add(value.dim() == 1 ? value.detach().unsqueeze(0) : value, &parameter, {});
}

at::Tensor DenseInputs::table(const at::Tensor& scalars) {
  const std::int64_t width = scalars.is_cpu() ? sums_.width() : 1;
  return add(scalars.detach().unsqueeze(1).expand({scalars.size(0), width}), nullptr, scalars);
}

// A row a group: gradients of all inputs, then the numbers of the group, then (in the first) of the
// rank.
at::Tensor DenseInputs::summands(const Extra& extra) const {
  const c10::NoGradGuard no_gradient;
  std::int64_t size = 0;
  for (const Input& input : inputs_) size += input.size;
  const std::int64_t of_groups = extra.of_groups.size(1);
  at::Tensor parts =
      at::zeros({shard_.summands(), size + of_groups + extra.of_ranks.size(0)}, at::kDouble);
  if (!inputs_.empty()) {
    std::vector<at::Tensor> gradients;
    for (const Input& input : inputs_) {
      const at::Tensor& gradient = input.leaf.grad();
      gradients.push_back(gradient.defined()
                              ? gradient.reshape({shard_.summands(), -1})
                              : at::zeros({shard_.summands(), input.size}, input.leaf.options()));
    }
    parts.slice(1, 0, size).copy_(at::cat(gradients, 1));
  }
  parts.slice(1, size, size + of_groups).copy_(extra.of_groups);
  parts[0].slice(0, size + of_groups).copy_(extra.of_ranks);
  return parts;
}

void DenseInputs::finish(Extra& extra) {
  Totals totals = extra.of_groups.device().is_cpu() ? summed_here(extra) : summed_on_device(extra);
  if (shard_.columns != nullptr) finish_columns(totals);
  extra = totals.extra;
  give(totals.of_inputs);
  inputs_.clear();
}

// What was put together: the inputs one after the other, then the numbers beside them.
DenseInputs::Totals DenseInputs::taken_apart(const at::Tensor& all, const Extra& extra) const {
  std::vector<std::int64_t> sizes;
  for (const Input& input : inputs_) sizes.push_back(input.size);
  sizes.insert(sizes.end(), {extra.of_groups.size(1), extra.of_ranks.size(0)});
  const std::vector<at::Tensor> parts = at::split_with_sizes(all, sizes);
  const auto beside = parts.end() - 2;
  return {{parts.begin(), beside}, {beside[0], beside[1]}};
}

DenseInputs::Totals DenseInputs::summed_here(const Extra& extra) const {
  at::Tensor parts = summands(extra);
  Communicator& rows = *shard_.communicator;
  at::Tensor total;
  if (shard_.reproducible) {
    total = tree_sum(rows.all_gather("step.dense", parts, shard_.summands_of_part));
  } else {
    CHECK_EQ(shard_.summands(), 1);
    rows.all_reduce("step.dense", parts);
    total = parts[0];
  }
  Totals totals = taken_apart(total, extra);
  for (std::size_t n = 0; n < inputs_.size(); ++n) {
    if (inputs_[n].parameter != nullptr) continue;
    const double* const values = totals.of_inputs[n].const_data_ptr<double>();
    std::vector<double> entries;
    for (std::int64_t entry = 0; entry < inputs_[n].size; entry += sums_.width()) {
      entries.push_back(sums_.sum(values + entry));
    }
    totals.of_inputs[n] = at::tensor(entries, at::TensorOptions(at::kDouble));
  }
  return totals;
}

// Of each input what is summed over all ranks, and of tables over columns: any floating type.
void DenseInputs::give(const std::vector<at::Tensor>& of_inputs) const {
  std::vector<at::Tensor> tables, gradients;
  for (std::size_t n = 0; n < inputs_.size(); ++n) {
    const Input& input = inputs_[n];
    const at::Tensor gradient = of_inputs[n].to(at::kFloat);
    if (input.parameter != nullptr) {
      at::Tensor& value = input.parameter->value;
      value.mutable_grad() = gradient.reshape(value.sizes());
    } else if (input.scalars.requires_grad()) {
      tables.push_back(input.scalars);
      gradients.push_back(gradient);
    }
  }
  if (!tables.empty()) run_backward(tables, gradients);
}

// With one row part everything is summed already and nothing is put together.
DenseInputs::Totals DenseInputs::summed_on_device(const Extra& extra) const {
  CHECK_EQ(shard_.summands(), 1);
  Totals totals{{}, {extra.of_groups[0], extra.of_ranks}};
  for (const Input& input : inputs_) {
    const at::Tensor& gradient = input.leaf.grad();
    totals.of_inputs.push_back(gradient.defined() ? gradient.reshape({-1})
                                                  : at::zeros({input.size}, input.leaf.options()));
  }
  if (shard_.communicator->size() == 1) return totals;
  std::vector<at::Tensor> pieces;
  if (!inputs_.empty()) pieces.push_back(at::cat(totals.of_inputs).to(at::kDouble));
  pieces.insert(pieces.end(), {totals.extra.of_groups, totals.extra.of_ranks});
  at::Tensor all = at::cat(pieces);
  shard_.communicator->all_reduce("step.dense", all);
  return taken_apart(all, extra);
}

// Of tables the sums over columns are left, and of the ranks' numbers those of the column group.
void DenseInputs::finish_columns(Totals& totals) const {
  std::vector<at::Tensor*> partial;
  for (std::size_t n = 0; n < inputs_.size(); ++n) {
    if (inputs_[n].parameter == nullptr) partial.push_back(&totals.of_inputs[n]);
  }
  partial.push_back(&totals.extra.of_ranks);
  std::vector<at::Tensor> numbers;
  std::vector<std::int64_t> sizes;
  for (const at::Tensor* const one : partial) {
    numbers.push_back(*one);
    sizes.push_back(one->size(0));
  }
  const std::vector<at::Tensor> finished =
      at::split_with_sizes(sums_.finish("step.columns", at::cat(numbers)), sizes);
  for (std::size_t n = 0; n < partial.size(); ++n) *partial[n] = finished[n];
}

void DenseInputs::declare(const RankPlace& at, StepCosts& costs, double of_groups,
                          double of_ranks) {
  constexpr double kVotes = 2;  // whether to stop, whether a save is done
  if (at.on_gpu) {
    costs.exchange("step.votes", Group::world, 1, at.summed_bytes(Group::world, kVotes));
  } else {
    of_ranks += kVotes;
  }
  costs.exchange("step.dense", Group::rows, 2, at.summed_bytes(Group::rows, of_groups + of_ranks));
  costs.exchange("step.columns", Group::columns, 1, at.gathered_bytes(Group::columns, of_ranks));
}

void DenseInputs::declare_parameter(const RankPlace& at, double rows, StepCosts& costs) {
  costs.joins("step.dense", at.summed_bytes(Group::rows, rows * at.columns));
}

// Gradients of a table travel by column until these are summed; from a GPU they come summed.
void DenseInputs::declare_table(const RankPlace& at, double entries, StepCosts& costs) {
  costs.joins("step.dense", at.summed_bytes(Group::rows, entries * (at.on_gpu ? 1 : at.columns)));
  costs.joins("step.columns", at.gathered_bytes(Group::columns, entries));
}

}  // namespace micrec
