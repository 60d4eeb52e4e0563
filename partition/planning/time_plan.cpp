#include "partition/planning/time_plan.h"

#include <glog/logging.h>

#include <algorithm>
#include <numeric>

namespace micrec {
namespace {

constexpr double kFloat = 4;
constexpr double kColumnNumber = 4;  // bytes that a product reads of every nonzero
// Of a neighbour's row a product reads whole lines of the cache, so narrow columns save nothing.
constexpr double kCacheLine = 64;

}  // namespace

std::vector<StepSeconds> plan_time(const StepShape& shape, ProcessGrid grid,
                                   const std::vector<RankLoad>& loads, const StepNeeds& needs,
                                   const BytePlan& bytes, const MachineRates& rates) {
  CHECK_EQ(static_cast<int>(loads.size()), grid.rows);
  CHECK_EQ(needs.parts(), grid.rows);
  std::vector<double> sent = bytes.bytes_of_ranks();
  sent.resize(static_cast<std::size_t>(grid.ranks()));
  double messages = 0;
  for (const CollectiveBytes& collective : bytes.collectives) messages += collective.messages;
  const double feature_columns =
      std::accumulate(shape.content_columns.begin(), shape.content_columns.end(), 0.0);

  std::vector<StepSeconds> times(static_cast<std::size_t>(grid.ranks()));
  for (int row = 0; row < grid.rows; ++row) {
    const auto nonzeros = static_cast<double>(loads[row].nonzeros);
    const auto rows = static_cast<double>(loads[row].users + loads[row].items);
    const auto items = static_cast<double>(loads[row].items);
    for (int column = 0; column < grid.columns; ++column) {
      const auto columns =
          static_cast<double>(columns_of(grid, static_cast<int>(shape.dim), column).size());
      StepSeconds& time = times[grid.rank_of(row, column)];

      // Products over all nonzeros, and those that only the wanted rows take part in: the last
      // layer forward, the first one backward.
      double whole = 0;
      double wanted = 0;
      if (shape.has_templates) whole += 2;
      if (shape.layers > 0) {
        whole += 2.0 * shape.layers - (shape.has_cold_simulation ? 0 : 2);
        wanted += shape.has_cold_simulation ? 0 : 2;
      }
      const double nonzero_bytes = std::max(columns * kFloat, kCacheLine) + kColumnNumber;
      const double semantic_nonzeros =
          2.0 * shape.semantic_products() * items * shape.semantic_neighbours;
      time.products =
          ((whole * nonzeros + semantic_nonzeros) * nonzero_bytes +
           wanted * (needs.wanted_nonzeros[row] * nonzero_bytes + nonzeros * kColumnNumber)) /
          rates.neighbour_bytes_per_second;

      // Features of a batch's users and of the items asked for, forward and back to the weights.
      const double projected = needs.triples[row] + needs.requested_items[row];
      double operations = 2 * 2 * projected * feature_columns * columns;
      if (shape.has_templates) operations += 2 * 2 * rows * 2 * shape.domains * columns;
      for (const OverlapCounts& pair : needs.overlaps) {
        const double own = pair.chosen * static_cast<double>(pair.people_of_part[row]) /
                           static_cast<double>(pair.people) / grid.columns;
        operations += 2 * 6 * own * pair.chosen * static_cast<double>(shape.dim);
      }
      time.matrices = operations / rates.matrix_operations_per_second;

      // Adam reads four numbers and writes three; the other passes are those of plan_memory's rows.
      const double matrix = rows * columns * kFloat;
      double passes = 3.5;
      if (shape.has_templates) passes += 3;
      passes += 1.5 * shape.semantic_products() + (shape.has_cold_simulation ? 4 : 0);
      const double batch = needs.triples[row] * columns * kFloat *
                           (8 + 14.0 * shape.content_modalities + (shape.has_self_loss ? 4 : 0));
      time.passes = (passes * matrix + batch) / rates.copy_bytes_per_second;

      time.network = sent[grid.rank_of(row, column)] / rates.network_bytes_per_second +
                     messages * rates.message_seconds;
    }
  }
  return times;
}

}  // namespace micrec
