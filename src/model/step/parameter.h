#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <string>

#include "model/step/placement.h"
#include "model/step/shard.h"

namespace micrec {

/// A tensor of a model's state, by the name that it has in checkpoints.
struct StateTensor {
  std::string name;
  at::Tensor value;
  Placement placement = Placement::everywhere;
  std::string description;
};

/// Trained: its value is a leaf that requires a gradient.
using Parameter = StateTensor;
/// Not trained: templates chosen, feature statistics, ridge maps.
using Buffer = StateTensor;

/// What the parts of a model have in its checkpoints, in the order in which they add it. Tensors
/// stay where they are, so a part keeps pointers to its own.
struct ModelState {
  std::deque<Parameter> parameters;
  std::deque<Buffer> buffers;

  /// `value`: taken to `device` and trained there.
  Parameter* add_parameter(std::string name, const at::Tensor& value, c10::Device device,
                           Placement placement, std::string description);
  Buffer* add_buffer(std::string name, const at::Tensor& value, Placement placement,
                     std::string description);
};

/// Streams of initial values: one a tensor, so that a tensor's values do not depend on which others
/// there are.
enum class InitialStream : std::uint32_t { embedding = 0, tokens = 1, projection = 16 };

/// Fills a parameter with normal numbers of this deviation, each a function of its column and of
/// its row's number: the node's where it has a row a node. `number`: of a stream that several
/// tensors share.
void draw_normal(Parameter& parameter, const Shard& shard, double deviation, std::uint64_t seed,
                 InitialStream stream, std::uint32_t number = 0);

}  // namespace micrec
