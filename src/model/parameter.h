#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace micrec {

/// A trained tensor with its gradient sink and the optimizer's two moments.
struct Parameter {
  std::string name;
  at::Tensor value;         // a leaf that requires a gradient
  at::Tensor adam_m;        // as value
  at::Tensor adam_v;        // as value
  bool sharded = false;     ///< a row a node, on the node's row part; otherwise every part has it
  bool by_columns = false;  ///< the last dimension has this rank's columns; otherwise it is whole
  std::string description;
};

/// A tensor that is part of the model's state but not trained: templates chosen, feature
/// statistics, ridge maps.
struct Buffer {
  std::string name;
  at::Tensor value;
  bool sharded = false;
  std::string description;
};

}  // namespace micrec
