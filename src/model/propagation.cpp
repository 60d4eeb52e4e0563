#include "model/propagation.h"

#include <ATen/ATen.h>

#include "graph/operators.h"
#include "kernels/neighbour_sum.h"
#include "kernels/upload.h"

namespace micrec {

Propagation::Propagation(const PartInputs& inputs, SemanticNeighbours& semantic)
    : config_(inputs.config),
      shard_(inputs.shard),
      semantic_(semantic),
      inverse_degree_(config_.layers > 1
                          ? at::mul(shard_.inverse_sqrt_degree, shard_.inverse_sqrt_degree)
                          : at::Tensor()) {}

at::Tensor Propagation::refine(StepContext& context, const at::Tensor& e) {
  return is_refined(SemanticPlace::before) ? e + semantic_.sum(context, e) : e;
}

bool Propagation::takes_wanted() const {
  return config_.layers == 0 || is_refined(SemanticPlace::after);
}

at::Tensor Propagation::wanted_rows(StepContext& context, const at::Tensor& e) {
  const at::Tensor refined = refine(context, e);
  const at::Tensor z = config_.layers == 0
                           ? context.wanted_of(refined)
                           : propagate(*shard_.graph, refined, shard_.inverse_sqrt_degree,
                                       config_.layers, context.active_rows(), inverse_degree_);
  if (!is_refined(SemanticPlace::after)) return z;
  return z + context.wanted_of(semantic_.sum(context, e));
}

at::Tensor Propagation::rows(StepContext& context, const at::Tensor& e) {
  const at::Tensor z = propagate(*shard_.graph, refine(context, e), shard_.inverse_sqrt_degree,
                                 config_.layers, nullptr, inverse_degree_);
  return is_refined(SemanticPlace::after) ? z + semantic_.sum(context, e) : z;
}

at::Tensor Propagation::read_by_new(StepContext& context, const at::Tensor& e) {
  return propagate_before_last(*shard_.graph, refine(context, e), shard_.inverse_sqrt_degree,
                               config_.layers);
}

at::Tensor Propagation::rows_of_new(const Pattern& items, const at::Tensor& e,
                                    const at::Tensor& read) const {
  std::vector<float> degree(items.rows());
  for (std::int64_t user = 0; user < items.rows(); ++user) {
    degree[user] = static_cast<float>(items.degree(user));
  }
  SumOptions options;
  options.scaling = {inverse_sqrt(upload(degree, shard_.device)), shard_.inverse_sqrt_degree};
  options.horner.addend = e;
  options.horner.factor = 1.0F / static_cast<float>(config_.layers + 1);
  return neighbour_sum(items, read, options);
}

at::Tensor Propagation::shares_of_new(const at::Tensor& rows, const at::Tensor& e,
                                      const at::Tensor& read) const {
  const std::int64_t count = rows.size(0);
  const at::Tensor degree = at::full({1}, static_cast<float>(count), read.options());
  at::Tensor shares = e.clone();
  shares.slice(0, 0, count)
      .add_(read.index_select(0, rows) *
            (inverse_sqrt(degree) * shard_.inverse_sqrt_degree.index_select(0, rows)).unsqueeze(1));
  return shares / static_cast<double>(config_.layers + 1);
}

void Propagation::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  const int layers = shape.config.layers;
  if (layers == 0) return;
  // Backward begins with the wanted rows alone, unless all final rows were computed.
  const bool all = shape.simulates_cold();
  const int whole = 2 * layers - (all ? 0 : 1);
  const StepNeeds& needs = at.needs();
  costs.exchange("halo.propagate", Group::rows, whole, whole * at.halo_sent() * at.row_bytes());
  if (!all) {
    constexpr double kFlagBytes = 1;
    costs.exchange("halo.propagate.active", Group::rows, 2,
                   at.halo_sent() * kFlagBytes + needs.active_sent[at.row] * at.row_bytes());
  }
  const double local_rows = at.rows() + at.halo_received();
  costs.memory(MemoryKind::graph, kFloatBytes * local_rows);  // inverse degrees
  if (!at.on_gpu && is_stored_for_sums(local_rows, at.columns)) {
    costs.memory(MemoryKind::graph, 2 * kNodeBytes * at.rows());  // places of rows, rows of places
  }
  // The two matrices that it goes back and forth between.
  costs.memory(MemoryKind::activations, 2 * at.matrix_bytes());
  costs.memory_in_turn(MemoryKind::halo_buffers,
                       at.row_bytes() * (3 * at.halo_received() + at.halo_sent()));
  // The last layer forward and the first one backward are of the wanted rows alone.
  const int products = 2 * layers - (all ? 0 : 2);
  costs.neighbour_bytes(products * at.nonzeros() * at.nonzero_bytes());
  if (all) return;
  const double wanted = needs.wanted_nonzeros[at.row];
  costs.neighbour_bytes(2 * wanted * at.nonzero_bytes());
  if (!at.on_gpu && at.grid.rows == 1 && layers > 1 && is_worth_turning(wanted, at.nonzeros())) {
    constexpr double kTurnedRowBytes = 12;  // where its list begins, and goes on
    costs.memory(MemoryKind::activations, at.rows() * kTurnedRowBytes + wanted * kNodeBytes);
    costs.neighbour_bytes(2 * wanted * kNodeBytes);  // counted, and turned
  } else {
    costs.neighbour_bytes(at.nonzeros() * kNodeBytes);  // whose row is wanted
  }
}

}  // namespace micrec
