#include "model/content_term.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "kernels/neighbour_sum.h"
#include "kernels/row_product.h"
#include "model/step/row_functions.h"

namespace micrec {

ContentTerm::ContentTerm(const PartInputs& inputs)
    : config_(inputs.config), dataset_(inputs.dataset), shard_(inputs.shard), seed_(inputs.seed) {
  for (const std::string& name : config_.modalities) modality_width(dataset_, name);
  if (!is_on()) return;
  ModelState& state = inputs.state;
  const std::int64_t width = inputs.sums.width();
  for (const std::string& name : config_.modalities) {
    FeatureStatistics statistics = empty_statistics(dataset_, name, config_.feature_dim);
    const std::string features = "features." + name;
    state.add_buffer(features + ".mean", statistics.mean, Placement::everywhere,
                     "centre of the features");
    if (statistics.components.defined()) {
      state.add_buffer(features + ".components", statistics.components, Placement::everywhere,
                       "principal directions (width, columns)");
    }
    state.add_buffer(features + ".scale", statistics.scale, Placement::everywhere, "overall scale");
    Parameter* const projection = state.add_parameter(
        "content.projection." + name, at::zeros({statistics.columns(), width}), shard_.device,
        Placement::columns, "W of the content term (columns, dim)");
    modalities_.push_back({std::move(statistics), projection, {}});
  }
  const auto count = static_cast<std::int64_t>(modalities_.size());
  scale_ = state.add_parameter("content.scale", at::ones({1}), shard_.device, Placement::everywhere,
                               "scale of the content term");
  logits_ = state.add_parameter("content.logits", at::zeros({count}), shard_.device,
                                Placement::everywhere, "shares of the modalities");
  every_set_ = every_modality_set(count).to(shard_.device);
}

void ContentTerm::initialise() {
  std::uint32_t number = 0;
  for (Modality& modality : modalities_) {
    const double std = 1 / std::sqrt(static_cast<double>(modality.projection->value.size(0)));
    draw_normal(*modality.projection, shard_, std, seed_, InitialStream::projection, number++);
  }
  for (Modality& modality : modalities_) {
    const FeatureStatistics fitted =
        fit_statistics(dataset_, *shard_.summary, modality.statistics.modality, config_.feature_dim,
                       *shard_.world);
    modality.statistics.mean.copy_(fitted.mean);
    if (fitted.components.defined()) modality.statistics.components.copy_(fitted.components);
    modality.statistics.scale.copy_(fitted.scale);
  }
}

void ContentTerm::refresh() {
  if (!is_on()) return;
  set_of_item_.assign(shard_.space().items(), 0);
  items_with_.clear();
  for (std::size_t m = 0; m < modalities_.size(); ++m) {
    Modality& modality = modalities_[m];
    const std::vector<std::uint8_t> present = items_with(dataset_, modality.statistics.modality);
    modality.inputs = load_content(dataset_, shard_, modality.statistics, present);
    for (std::size_t item = 0; item < present.size(); ++item) {
      if (present[item] != 0) set_of_item_[item] |= static_cast<std::uint16_t>(1U << m);
    }
    items_with_.push_back(modality.inputs.count.cpu());
  }
}

void ContentTerm::plan(StepContext& step) const {
  if (!is_on()) return;
  const TripleBatch& batch = step.batch();
  const auto set_of = [&](GlobalNode item) {
    return std::int32_t{set_of_item_[value(item) - shard_.space().users()]};
  };
  std::vector<std::int32_t> sets(batch.size(), 0);
  for (std::size_t m = 0; m < items_with_.size(); ++m) {
    const float* const count = items_with_[m].const_data_ptr<float>();
    for (std::int64_t t = 0; t < batch.size(); ++t) {
      const std::int32_t left_out = set_of(batch.positive[t]) >> m & 1;
      const bool has_others =
          count[shard_.row_of[value(batch.user[t])]] > static_cast<float>(left_out);
      sets[t] |= static_cast<std::int32_t>(has_others) << m;
    }
  }
  for (const GlobalNode item : batch.positive) sets.push_back(set_of(item));
  for (const GlobalNode item : batch.negative) sets.push_back(set_of(item));
  step.modality_sets = step.plan(std::move(sets));
}

void ContentTerm::want_of_items(StepContext& step) {
  if (!is_on()) return;
  const RowGroups groups = step.groups_of_requested();
  for (Modality& modality : modalities_) {
    modality.projected =
        step.items.add(grouped_row_product(step.owned_of_requested(modality.inputs.sum),
                                           step.dense.parameter(*modality.projection), groups));
  }
}

at::Tensor ContentTerm::rows(StepContext& step) {
  const std::int64_t n = step.triples();
  const RowGroups groups = step.groups_of_triples();
  std::vector<at::Tensor> projections;
  for (const Modality& modality : modalities_) {
    const at::Tensor& of_items = step.items.of(modality.projected);
    projections.push_back(grouped_row_product(step.owned_of_users(modality.inputs.sum),
                                              step.dense.parameter(*modality.projection), groups) -
                          of_items.slice(0, 0, n));
    projections.push_back(of_items);
  }
  const at::Tensor projected =
      at::cat(projections)
          .view({static_cast<std::int64_t>(modalities_.size()), 3 * n, step.sums.width()});
  return content_rows(projected, step.planned(step.modality_sets), tables(step),
                      step.groups_of_triples(3), step.sums);
}

// Of every modality the coefficient of each set of modalities: scale * c^m.
std::vector<at::Tensor> ContentTerm::tables(StepContext& context) const {
  std::vector<at::Tensor> tables = modality_tables(logits_->value, every_set_, scale_->value);
  for (at::Tensor& table : tables) table = context.dense.table(table);
  return tables;
}

// Without gradient. Rows are taken in blocks, as there is a projection for each modality.
at::Tensor ContentTerm::rows_of(StepContext& context, const std::vector<at::Tensor>& sums,
                                const std::vector<at::Tensor>& counts) const {
  constexpr std::int64_t kBlock = 1 << 16;
  const std::int64_t rows = sums.front().size(0);
  const at::Tensor sets = modality_sets(counts);
  const std::vector<at::Tensor> tables = this->tables(context);
  at::Tensor content = at::empty({rows, context.sums.width()}, sums.front().options());
  for (std::int64_t begin = 0; begin < rows; begin += kBlock) {
    const std::int64_t end = std::min(rows, begin + kBlock);
    std::vector<at::Tensor> projections;
    for (std::size_t m = 0; m < modalities_.size(); ++m) {
      projections.push_back(
          row_product(sums[m].slice(0, begin, end), modalities_[m].projection->value));
    }
    content.slice(0, begin, end)
        .copy_(content_rows(at::stack(projections), sets.slice(0, begin, end), tables,
                            RowGroups{end - begin, 1, nullptr}, context.sums));
  }
  return content;
}

at::Tensor ContentTerm::all_rows(StepContext& context) const {
  std::vector<at::Tensor> sums, counts;
  for (const Modality& modality : modalities_) {
    sums.push_back(modality.inputs.sum);
    counts.push_back(modality.inputs.count);
  }
  return rows_of(context, sums, counts);
}

at::Tensor ContentTerm::rows_of_new(StepContext& context, const Pattern& items) const {
  std::vector<at::Tensor> sums, counts;
  for (const Modality& modality : modalities_) {
    sums.push_back(neighbour_sum(items, modality.inputs.sum, {}));
    counts.push_back(neighbour_sum(items, modality.inputs.count, {}));
  }
  return rows_of(context, sums, counts);
}

// Linear in the items but for the norm, which is that of the whole sum.
at::Tensor ContentTerm::shares_of_new(const at::Tensor& rows) const {
  std::vector<at::Tensor> counts;
  for (const Modality& modality : modalities_) {
    counts.push_back(modality.inputs.count.index_select(0, rows).sum(0, /*keepdim=*/true));
  }
  const at::Tensor coefficients = (modality_shares(logits_->value, every_set_) * scale_->value)
                                      .index_select(0, modality_sets(counts))[0];  // (modalities)
  at::Tensor shares = at::zeros({rows.size(0), modalities_.front().projection->value.size(1)},
                                coefficients.options());
  for (std::size_t m = 0; m < modalities_.size(); ++m) {
    const at::Tensor projected = row_product(modalities_[m].inputs.sum.index_select(0, rows),
                                             modalities_[m].projection->value);
    const double norm = projected.sum(0).to(at::kDouble).norm().item<double>();
    shares.add_(projected * (coefficients[static_cast<std::int64_t>(m)] /
                             std::max(norm, kSmallestContentNorm)));
  }
  return shares;
}

void ContentTerm::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  constexpr double kFeatureBlockRows = 4096;
  const int modalities = shape.content_modalities();
  if (modalities == 0) return;
  double all_columns = 0;
  for (std::size_t m = 0; m < shape.content_columns.size(); ++m) {
    const auto kept = static_cast<double>(shape.content_columns[m]);
    all_columns += kept;
    DenseInputs::declare_parameter(at, kept, costs);
    if (m >= at.of.dataset.feature_width.size()) continue;
    const auto width = static_cast<double>(at.of.dataset.feature_width[m]);
    costs.memory_in_turn(MemoryKind::loading,
                         (3 * at.rows() + at.halo_received()) * kept * kFloatBytes +
                             2 * kFeatureBlockRows * width * kFloatBytes);
  }
  DenseInputs::declare_table(at, static_cast<double>(modalities * (std::int64_t{1} << modalities)),
                             costs);
  BatchItems::declare_added(at, modalities, costs);
  const double norms = 3 * at.triples() * modalities;
  costs.exchange("content.norms", Group::columns, 1, at.gathered_bytes(Group::columns, norms));
  costs.exchange("content.backward", Group::columns, 1, at.gathered_bytes(Group::columns, norms));
  costs.memory(MemoryKind::features, at.rows() * (all_columns + 2 * modalities) * kFloatBytes);
  const DatasetShape& dataset = at.of.dataset;
  costs.memory(MemoryKind::graph, 2 * static_cast<double>(dataset.nodes - dataset.users));
  costs.memory(MemoryKind::evaluation, 2 * modalities * at.matrix_bytes());
  // Features of a batch's users and of the items asked for, forward and back to the weights.
  const double projected = at.triples() + at.needs().requested_items[at.row];
  costs.matrix_operations(2 * 2 * projected * all_columns * at.columns);
  costs.copied_bytes(14.0 * modalities * at.triples() * at.row_bytes());
}

}  // namespace micrec
