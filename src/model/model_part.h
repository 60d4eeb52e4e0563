#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "data/dataset_file.h"
#include "kernels/pattern.h"
#include "model/model_config.h"
#include "model/step/column_sums.h"
#include "model/step/parameter.h"
#include "model/step/shard.h"
#include "model/step/step_context.h"
#include "model/step/step_shape.h"
#include "partition/overlap.h"
#include "partition/planning/step_costs.h"

namespace micrec {

class TemplateEmbedding;
struct SemanticLists;

/// What a part of the model is made of; all of it outlives the part.
///
/// A part is a class with the same few members: a constructor that adds its parameters and buffers
/// to the state, functions that compute its rows or its loss from a StepContext, and
///
///   static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);
///
/// which says what that makes a rank send, hold and do.
struct PartInputs {
  const ModelConfig& config;  // resolved
  const DatasetFile& dataset;
  const Shard& shard;
  const ColumnSums& sums;
  const std::vector<OverlapPair>& overlaps;
  std::uint64_t seed;
  ModelState& state;
  const TemplateEmbedding& embedding;          // made before the terms of the loss
  const std::vector<SemanticLists>& semantic;  // of each modality; for the constructor alone
};

/// Rows of people of a domain who join later, from the owned rows that each has interacted with.
/// Made once, while what it was made from stays as it is; several threads may call it at once.
/// Shapes   items: (users) of owned rows; returns (users, dim).
using RowsOfNew = std::function<at::Tensor(const Pattern& items, int domain)>;

/// A term of the loss. What it needs of others it asks for in two rounds, before anything is
/// computed and once the final rows are. Beside declare() it has the names of the parts that it
/// reports, which logs take over:
///
///   static constexpr const char* kParts[] = {"ranking", "l2"};
class LossTerm {
 public:
  virtual ~LossTerm() = default;
  /// Says whose final rows it needs: StepContext::want(), and what it has drawn: plan(). Another
  /// step may be computed meanwhile.
  virtual void want_rows(StepContext& /*step*/) const {}
  /// Adds what it needs of the batch's items beside their final rows: StepContext::items.
  virtual void want_of_items(StepContext& /*step*/) {}
  /// Adds its share of the loss: StepContext::add_loss(), and reports it: StepContext::report().
  virtual void add_loss(StepContext& step) = 0;
};

}  // namespace micrec
