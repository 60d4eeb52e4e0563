#include "model/contrastive_loss.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <utility>

#include "base/number_lists.h"
#include "base/random.h"
#include "model/contrastive_share.h"

namespace micrec {

ContrastiveBatch choose_people(const OverlapPair& pair, const Shard& shard, std::int64_t batch_size,
                               std::uint64_t seed, std::int64_t step) {
  const auto people = static_cast<std::int64_t>(pair.first.size());
  const bool all = batch_size <= 0 || batch_size >= people;
  const std::int64_t chosen = all ? people : batch_size;
  const Permutation permutation(people, seed, Purpose::contrastive_batch,
                                static_cast<std::uint32_t>(step));
  ContrastiveBatch batch;
  batch.rows_per_rank.assign(shard.whole.ranks, 0);
  std::vector<std::int32_t> owners(chosen);
  for (std::int64_t position = 0; position < chosen; ++position) {
    const auto person = all ? position : static_cast<std::int64_t>(permutation.at(position));
    const std::int32_t first = value(pair.first[person]);
    const std::int32_t second = value(pair.second[person]);
    const std::int32_t owner = shard.whole.owner[first];
    DCHECK_EQ(owner, shard.whole.owner[second]) << "a person's nodes have one owner";
    owners[position] = owner;
    ++batch.rows_per_rank[owner];
    if (shard.row_of[first] < 0) continue;
    batch.first_rows.push_back(shard.row_of[first]);
    batch.second_rows.push_back(shard.row_of[second]);
  }
  batch.positions = places_by_number(owners, shard.whole.ranks).values;
  return batch;
}

ContrastiveLoss::ContrastiveLoss(const PartInputs& inputs)
    : config_(inputs.config), shard_(inputs.shard), overlaps_(inputs.overlaps) {}

void ContrastiveLoss::want_rows(StepContext& step) const {
  if (config_.contrastive_weight <= 0) return;
  for (const OverlapPair& pair : overlaps_) {
    ContrastiveBatch people =
        choose_people(pair, shard_, config_.contrastive_batch, step.seed, step.time.step);
    // Logits need whole rows: every rank of the row part takes those of some of its people.
    std::vector<std::int32_t> part_of_person;
    for (const std::int32_t row : people.first_rows) {
      part_of_person.push_back(
          shard_.grid.column_part(shard_.whole.owner[value(shard_.owned()[row])]));
    }
    const auto first = step.want(people.first_rows);
    const auto second = step.want(people.second_rows);
    step.people.push_back(
        {std::move(people), ColumnExchange(part_of_person, shard_.columns), first, second});
  }
}

void ContrastiveLoss::add_loss(StepContext& step) {
  for (const StepContext::People& people : step.people) {
    const at::Tensor term = loss_of(step, people);
    step.report_of_rank("contrastive", term);
    step.add_loss(term);
  }
}

at::Tensor ContrastiveLoss::loss_of(const StepContext& step,
                                    const StepContext::People& people) const {
  const auto whole_rows = [&](StepContext::Wanted which) {
    return people.columns.to_whole("contrastive.columns", step.rows_of(step.z, which));
  };
  const at::Tensor first = whole_rows(people.first);
  const at::Tensor second = whole_rows(people.second);
  return contrastive_share(first, second, people.batch.rows_per_rank, people.batch.positions,
                           config_.temperature, *shard_.world, config_.contrastive_weight);
}

// The rows of a pair's people, whole ones, go to all ranks, and then five numbers a person: the
// sums of both softmaxes. With column parts each rank first gets some people's whole rows from the
// others of its row part, and returns their gradients.
void ContrastiveLoss::declare(const ModelShape& /*shape*/, const RankPlace& at, StepCosts& costs) {
  constexpr double kSoftmaxSums = 5;  // numbers a person
  const double parts = at.grid.columns;
  const double peers = at.grid.ranks() - 1;
  for (const OverlapCounts& pair : at.needs().overlaps) {
    const double of_row_part = pair.chosen * static_cast<double>(pair.people_of_part[at.row]) /
                               static_cast<double>(pair.people);
    const double own = of_row_part / parts;
    costs.exchange("contrastive.columns", Group::columns, 4,
                   2 * of_row_part * (parts - 1) / parts * 2 * at.row_bytes());
    costs.exchange("contrastive.rows", Group::world, 1, own * 2 * at.dim * kFloatBytes * peers);
    costs.exchange("contrastive.sums", Group::world, 1, own * kSoftmaxSums * kFloatBytes * peers);
    costs.memory(MemoryKind::activations, 2 * pair.chosen * 2 * at.dim * kFloatBytes);
    costs.matrix_operations(2 * 6 * own * pair.chosen * at.dim);
  }
}

}  // namespace micrec
