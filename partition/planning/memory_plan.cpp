#include "partition/planning/memory_plan.h"

#include <glog/logging.h>

#include <algorithm>
#include <numeric>

namespace micrec {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;
// LibTorch, MPI and HDF5 as they are resident before any data, and their heaps.
constexpr double kProgramBytes = 190 * kMiB;
constexpr double kFloat = 4;
constexpr double kNumber = 4;  // a node's
constexpr double kOffset = 8;
constexpr double kFeatureBlockRows = 4096;
constexpr double kEvaluationBlockBytes = 512 * kMiB;

double graph_bytes(const StepShape& shape, const DatasetShape& dataset, const RankLoad& load,
                   double user_nonzeros, double received, double sent) {
  const auto rows = static_cast<double>(load.users + load.items);
  const double local = rows + received;
  const auto nonzeros = static_cast<double>(load.nonzeros);
  double bytes = kOffset * rows + kNumber * nonzeros;    // pattern
  bytes += kNumber * (2 * rows + 2 * received + sent);   // owned, halo, lists of both
  bytes += 2 * kFloat * local;                           // degrees
  bytes += kFloat * rows * (1 + 3 * shape.domains);      // one-hot kinds
  if (shape.has_templates) bytes += 3 * kFloat * local;  // mask, counts, scale
  // Of all nodes on every rank: owner, row, degree; persons of users.
  bytes += kNumber * (3 * static_cast<double>(dataset.nodes) + static_cast<double>(dataset.users));
  // Sampling: user, item, number and order of each own interaction; what evaluation masks.
  bytes += user_nonzeros * (3 * kNumber + kOffset);
  if (dataset.has_evaluation) bytes += user_nonzeros * kNumber;
  // Semantic neighbours and their transpose: item and weight.
  bytes +=
      2.0 * shape.semantic_modalities *
      (static_cast<double>(load.items) * shape.semantic_neighbours * 2 * kNumber + rows * kOffset);
  return bytes;
}

}  // namespace

const char* name_of(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::program:
      return "program";
    case MemoryKind::graph:
      return "graph";
    case MemoryKind::embeddings:
      return "embeddings";
    case MemoryKind::optimizer:
      return "optimizer";
    case MemoryKind::features:
      return "features";
    case MemoryKind::checkpoint_copy:
      return "checkpoint copy";
    case MemoryKind::loading:
      return "loading";
    case MemoryKind::activations:
      return "activations";
    case MemoryKind::halo_buffers:
      return "halo buffers";
    case MemoryKind::evaluation:
      return "evaluation";
  }
  return "unknown";
}

double RankMemory::peak() const {
  const RankMemory& self = *this;
  const double always = self[MemoryKind::program] + self[MemoryKind::graph] +
                        self[MemoryKind::embeddings] + self[MemoryKind::optimizer] +
                        self[MemoryKind::features];
  const double step = self[MemoryKind::activations] + self[MemoryKind::halo_buffers] +
                      self[MemoryKind::checkpoint_copy];
  const double evaluation = self[MemoryKind::evaluation] + self[MemoryKind::checkpoint_copy];
  return always + std::max({self[MemoryKind::loading], step, evaluation});
}

std::vector<RankMemory> plan_memory(const StepShape& shape, const DatasetShape& dataset,
                                    ProcessGrid grid, const std::vector<RankLoad>& loads,
                                    const std::vector<std::int64_t>& user_nonzeros,
                                    const StepNeeds& needs,
                                    const std::vector<SemanticHalo>& semantic) {
  CHECK_EQ(static_cast<int>(loads.size()), grid.rows);
  CHECK_EQ(static_cast<int>(user_nonzeros.size()), grid.rows);
  CHECK_EQ(needs.parts(), grid.rows);
  CHECK_EQ(static_cast<int>(semantic.size()), shape.semantic_modalities);
  const bool has_semantic = shape.semantic_modalities > 0;
  const double feature_columns =
      std::accumulate(shape.content_columns.begin(), shape.content_columns.end(), 0.0);
  std::vector<RankMemory> memory(static_cast<std::size_t>(grid.ranks()));
  for (int row = 0; row < grid.rows; ++row) {
    const RankLoad& load = loads[row];
    const auto rows = static_cast<double>(load.users + load.items);
    const auto received = static_cast<double>(needs.halo.received[row]);
    const auto sent = static_cast<double>(needs.halo.sent[row]);
    double semantic_received = 0;
    double semantic_sent = 0;
    for (const SemanticHalo& modality : semantic) {
      for (const HaloCounts* counts : {&modality.forward, &modality.backward}) {
        semantic_received = std::max(semantic_received, static_cast<double>(counts->received[row]));
        semantic_sent = std::max(semantic_sent, static_cast<double>(counts->sent[row]));
      }
    }
    for (int column = 0; column < grid.columns; ++column) {
      const auto columns =
          static_cast<double>(columns_of(grid, static_cast<int>(shape.dim), column).size());
      const double matrix = rows * columns * kFloat;
      RankMemory& rank = memory[grid.rank_of(row, column)];
      rank[MemoryKind::program] = kProgramBytes;
      rank[MemoryKind::graph] = graph_bytes(
          shape, dataset, load, static_cast<double>(user_nonzeros[row]), received, sent);
      rank[MemoryKind::embeddings] = matrix;
      rank[MemoryKind::optimizer] = 2 * matrix;
      rank[MemoryKind::features] = rows * (feature_columns + shape.content_modalities) * kFloat;
      rank[MemoryKind::checkpoint_copy] = 3 * matrix;

      for (std::size_t m = 0; m < shape.content_columns.size(); ++m) {
        const auto kept = static_cast<double>(shape.content_columns[m]);
        const double width = static_cast<double>(dataset.feature_width[m]);
        rank[MemoryKind::loading] =
            std::max(rank[MemoryKind::loading], (3 * rows + received) * kept * kFloat +
                                                    2 * kFeatureBlockRows * width * kFloat);
      }

      // A step at its fullest holds, of all owned rows: the base rows, the two that propagation
      // goes back and forth between, the gradient of the self loss; with semantic neighbours the
      // refined rows and each modality's sum, kept for the backward pass.
      double whole_rows = shape.layers > 0 ? 3 : 1;
      if (shape.has_templates) whole_rows += 1;
      if (has_semantic) whole_rows += 1 + shape.semantic_modalities;
      if (shape.has_cold_simulation) whole_rows += 3;
      const double part_width =
          columns * (1 + shape.content_modalities + (shape.has_self_loss ? 1 : 0));
      const double batch = needs.triples[row] * 2 * part_width * 4 * kFloat +
                           needs.requested_items[row] * part_width * 3 * kFloat +
                           needs.wanted_rows[row] * columns * 4 * kFloat;
      double contrastive = 0;
      for (const OverlapCounts& pair : needs.overlaps) {
        contrastive += pair.chosen * 2 * static_cast<double>(shape.dim) * kFloat;
      }
      rank[MemoryKind::activations] = whole_rows * matrix + batch + 2 * contrastive;
      rank[MemoryKind::halo_buffers] = columns * kFloat *
                                       std::max((shape.layers > 0 ? 3 : 2) * received + sent,
                                                2 * semantic_received + semantic_sent);

      if (dataset.has_evaluation) {
        double most_items = 0;
        for (const std::int64_t items : dataset.items_of_domain) {
          most_items = std::max(most_items, static_cast<double>(items));
        }
        const double items =
            std::min(most_items * static_cast<double>(shape.dim) * kFloat, kEvaluationBlockBytes);
        rank[MemoryKind::evaluation] =
            (4 + (has_semantic ? 2 : 0) + 2 * shape.content_modalities) * matrix + 2 * items +
            2 * received * columns * kFloat;
      }
    }
  }
  return memory;
}

}  // namespace micrec
