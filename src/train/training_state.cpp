#include "train/training_state.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace micrec {

std::int64_t epoch_of_last_step(std::int64_t step, std::int64_t steps_per_epoch) {
  return step == 0 ? 0 : (step - 1) / steps_per_epoch;
}

namespace {

constexpr char kStepsPerEpoch[] = "steps_per_epoch";
constexpr char kStepsBefore[] = "steps_before";
constexpr char kEpochsBefore[] = "epochs_before";
constexpr char kValidationsDue[] = "validations_due";

/// A number that a checkpoint has only where it is not 0.
/// Errors   Error(Cause::checkpoint) where it is no whole number from 0.
std::int64_t number_in(const CheckpointInfo& info, const char* name) {
  const auto found = info.extra.find(name);
  if (found == info.extra.end()) return 0;
  const auto number = parse_integer(found->second);
  if (!number || *number < 0) {
    throw Error(Cause::checkpoint, "the checkpoint says ", name, " = '", found->second,
                "', which is no number");
  }
  return *number;
}

/// Fills rows of this rank's nodes that the checkpoint has, and those of new ones with zeros.
void restore_rows(const Checkpoint& checkpoint, const Shard& shard, const NodeOrigins& origins,
                  std::vector<CheckpointTensor>& into, bool with_optimizer_state) {
  std::vector<std::pair<GlobalNode, std::int64_t>> rows;  // node then, whole row now
  for (std::size_t row = 0; row < shard.whole_nodes.size(); ++row) {
    const std::int32_t then = origins.node[value(shard.whole_nodes[row])];
    if (then >= 0) rows.emplace_back(GlobalNode(then), static_cast<std::int64_t>(row));
  }
  std::ranges::sort(rows);
  std::vector<GlobalNode> owned;
  std::vector<std::int64_t> row_numbers;
  for (const auto& [node, row] : rows) {
    owned.push_back(node);
    row_numbers.push_back(row);
  }
  const auto each_part = [](CheckpointTensor& tensor, const auto& use) {
    for (at::Tensor CheckpointTensor::*part :
         {&CheckpointTensor::value, &CheckpointTensor::adam_m, &CheckpointTensor::adam_v}) {
      if ((tensor.*part).defined()) use(part);
    }
  };
  std::vector<CheckpointTensor> known = into;
  for (CheckpointTensor& tensor : known) {
    if (!tensor.sharded) continue;
    each_part(tensor, [&](auto part) {
      std::vector<std::int64_t> shape = (tensor.*part).sizes().vec();
      shape.front() = static_cast<std::int64_t>(owned.size());
      tensor.*part = at::empty(shape, (tensor.*part).options().requires_grad(false));
    });
  }
  checkpoint.restore(owned, known, with_optimizer_state);
  const at::Tensor at_rows = at::tensor(row_numbers, at::kLong);
  for (std::size_t t = 0; t < into.size(); ++t) {
    if (!into[t].sharded) continue;
    each_part(into[t], [&](auto part) {
      at::Tensor& whole = into[t].*part;
      whole.zero_();
      whole.index_copy_(0, at_rows.to(whole.device()), known[t].*part);
    });
  }
}

/// The tensors of a model and its optimizer, each turned by `whole(value, placement)` into what a
/// checkpoint has.
template <typename Whole>
std::vector<CheckpointTensor> each_tensor(Model& model, const Optimizer* optimizer,
                                          const Whole& whole) {
  std::vector<CheckpointTensor> tensors;
  for (const Parameter& parameter : model.parameters()) {
    CheckpointTensor tensor{parameter.name,
                            whole(parameter.value, parameter.placement),
                            {},
                            {},
                            has_row_a_node(parameter.placement),
                            parameter.description};
    if (optimizer != nullptr) {
      const Optimizer::Moments& moments = optimizer->moments()[tensors.size()];
      tensor.adam_m = whole(moments.first, parameter.placement);
      tensor.adam_v = whole(moments.second, parameter.placement);
    }
    tensors.push_back(std::move(tensor));
  }
  for (const Buffer& buffer : model.buffers()) {
    tensors.push_back({buffer.name,
                       whole(buffer.value, buffer.placement),
                       {},
                       {},
                       has_row_a_node(buffer.placement),
                       buffer.description});
  }
  return tensors;
}

}  // namespace

std::vector<CheckpointTensor> checkpoint_tensors(Model& model, const Optimizer& optimizer) {
  return each_tensor(model, &optimizer, [&](const at::Tensor& value, Placement placement) {
    return to_whole(model.shard(), value, placement);
  });
}

TrainingState restore(const Checkpoint& checkpoint, Model& model, Optimizer* optimizer,
                      const NodeOrigins* origins) {
  const c10::NoGradGuard no_gradient;
  const Shard& shard = model.shard();
  std::vector<CheckpointTensor> tensors =
      each_tensor(model, optimizer, [&](const at::Tensor& value, Placement placement) {
        return empty_whole(shard, value, placement);
      });
  if (origins != nullptr) {
    restore_rows(checkpoint, shard, *origins, tensors, optimizer != nullptr);
  } else {
    checkpoint.restore(shard.whole_nodes, tensors, optimizer != nullptr);
  }
  std::size_t next = 0;
  for (const Parameter& parameter : model.parameters()) {
    const CheckpointTensor& whole = tensors[next];
    from_whole(shard, whole.value, parameter.placement, parameter.value);
    if (optimizer != nullptr) {
      const Optimizer::Moments& moments = optimizer->moments()[next];
      from_whole(shard, whole.adam_m, parameter.placement, moments.first);
      from_whole(shard, whole.adam_v, parameter.placement, moments.second);
    }
    ++next;
  }
  for (const Buffer& buffer : model.buffers()) {
    from_whole(shard, tensors[next++].value, buffer.placement, buffer.value);
  }
  model.refresh();
  const CheckpointInfo& info = checkpoint.info();
  return {info.step,
          info.best_metric,
          info.best_step,
          info.validations_without_improvement,
          number_in(info, kValidationsDue) > 0,
          number_in(info, kStepsBefore),
          number_in(info, kEpochsBefore)};
}

std::int64_t annealing_epoch(const CheckpointInfo& info) {
  const auto found = info.extra.find(kStepsPerEpoch);
  const auto steps = found == info.extra.end() ? std::nullopt : parse_integer(found->second);
  if (!steps || *steps < 1) {
    throw Error(Cause::checkpoint, "the checkpoint does not say how many steps an epoch has");
  }
  return number_in(info, kEpochsBefore) + epoch_of_last_step(info.step, *steps);
}

void put_state(const TrainingState& state, std::int64_t steps_per_epoch, CheckpointInfo& info) {
  info.step = state.step;
  info.epoch = state.step / steps_per_epoch;
  info.best_metric = state.best_metric;
  info.best_step = state.best_step;
  info.validations_without_improvement = state.validations_without_improvement;
  info.extra[kStepsPerEpoch] = std::to_string(steps_per_epoch);
  if (state.is_validation_due) info.extra[kValidationsDue] = "1";
  if (state.steps_before > 0) info.extra[kStepsBefore] = std::to_string(state.steps_before);
  if (state.epochs_before > 0) info.extra[kEpochsBefore] = std::to_string(state.epochs_before);
}

}  // namespace micrec
