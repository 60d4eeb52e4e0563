#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/model_part.h"
#include "partition/overlap.h"

namespace micrec {

/// The people of a step: all of them, or `batch_size` (if that is fewer) chosen by the step's
/// permutation.
///
/// Ranks    local, every rank computes the same choice.
/// Cost     a few memory accesses a person chosen, however many there are to choose from.
ContrastiveBatch choose_people(const OverlapPair& pair, const Shard& shard, std::int64_t batch_size,
                               std::uint64_t seed, std::int64_t step);

/// The cross-domain loss: of every pair of domains the contrastive loss of the graph rows of people
/// who are trained on in both; see contrastive_share().
class ContrastiveLoss : public LossTerm {
 public:
  static constexpr const char* kParts[] = {"contrastive"};

  explicit ContrastiveLoss(const PartInputs& inputs);
  void want_rows(StepContext& step) const override;
  void add_loss(StepContext& step) override;
  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  at::Tensor loss_of(const StepContext& step, const StepContext::People& people) const;

  const ModelConfig& config_;
  const Shard& shard_;
  const std::vector<OverlapPair>& overlaps_;
};

}  // namespace micrec
