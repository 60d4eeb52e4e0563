#include "train/training_state.h"

#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace micrec {

std::int64_t epoch_of_last_step(std::int64_t step, std::int64_t steps_per_epoch) {
  return step == 0 ? 0 : (step - 1) / steps_per_epoch;
}

std::int64_t annealing_epoch(const CheckpointInfo& info) {
  const auto found = info.extra.find("steps_per_epoch");
  const auto steps = found == info.extra.end() ? std::nullopt : parse_integer(found->second);
  if (!steps || *steps < 1) {
    throw Error(Cause::checkpoint, "the checkpoint does not say how many steps an epoch has");
  }
  return epoch_of_last_step(info.step, *steps);
}

namespace {

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

TrainingState restore(const Checkpoint& checkpoint, Model& model, Optimizer* optimizer) {
  const Shard& shard = model.shard();
  std::vector<CheckpointTensor> tensors =
      each_tensor(model, optimizer, [&](const at::Tensor& value, Placement placement) {
        return empty_whole(shard, value, placement);
      });
  checkpoint.restore(shard.whole_nodes, tensors, optimizer != nullptr);
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
  return {info.step, info.best_metric, info.best_step, info.validations_without_improvement};
}

}  // namespace micrec
