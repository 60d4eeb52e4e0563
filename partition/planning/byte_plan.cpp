#include "partition/planning/byte_plan.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace micrec {
namespace {

constexpr double kFloat = 4;  // bytes
constexpr double kDouble = 8;
constexpr double kNodeNumber = 4;  // of a node in a list of wanted rows
constexpr double kListLength = 8;  // before a list, to each peer
constexpr double kFlag = 1;
constexpr double kSoftmaxSums = 5;  // numbers a person
constexpr double kStepSums = 6;     // parts of the loss, whether to stop, whether a save is done
constexpr double kRankSums = 3;     // of these, the ones that differ in a row part

/// Gives collectives their bytes, rank by rank.
class Writer {
 public:
  Writer(ProcessGrid grid, std::int64_t dim, BytePlan& plan)
      : grid_(grid), dim_(dim), plan_(plan) {}

  /// `bytes_of(row part, columns of the column part)`; a collective of nobody is left out.
  template <typename BytesOf>
  void add(const char* name, double calls, double peers, const BytesOf& bytes_of) {
    if (calls <= 0 || peers <= 0) return;
    CollectiveBytes* collective = nullptr;
    for (CollectiveBytes& known : plan_.collectives) {
      if (known.name == name) collective = &known;
    }
    if (collective == nullptr) {
      plan_.collectives.push_back(
          {name, 0, 0, std::vector<double>(static_cast<std::size_t>(grid_.ranks()))});
      collective = &plan_.collectives.back();
    }
    collective->calls += calls;
    collective->messages += calls * peers;
    for (int row = 0; row < grid_.rows; ++row) {
      for (int column = 0; column < grid_.columns; ++column) {
        const auto columns =
            static_cast<double>(columns_of(grid_, static_cast<int>(dim_), column).size());
        collective->bytes[grid_.rank_of(row, column)] += bytes_of(row, columns);
      }
    }
  }

  double row_peers() const { return grid_.rows - 1; }
  double column_peers() const { return grid_.columns - 1; }

 private:
  ProcessGrid grid_;
  std::int64_t dim_;
  BytePlan& plan_;
};

}  // namespace

std::int64_t StepShape::dense_by_column() const {
  std::int64_t rows = dense_scalars();
  if (has_templates) rows += 2 * domains;  // tokens
  if (has_self_loss) rows += 1;
  for (const std::int64_t columns : content_columns) rows += columns;
  return rows * dim;
}

std::int64_t StepShape::dense_scalars() const {
  const auto of_each_set = [](std::int64_t modalities) {
    return modalities * (std::int64_t{1} << modalities);
  };
  std::int64_t numbers = 0;
  if (content_modalities > 0) numbers += of_each_set(content_modalities);
  if (semantic_modalities > 0) {
    numbers += of_each_set(semantic_modalities) * (domains + (has_cold_simulation ? 1 : 0));
  }
  return numbers;
}

int StepShape::semantic_products() const {
  if (semantic_modalities == 0) return 0;
  return semantic_modalities * (has_cold_simulation ? 2 : 1);
}

SemanticHalo expected_semantic_halo(const NodeSpace& space, const Adjacency& graph,
                                    const std::vector<std::uint8_t>& present,
                                    const Ownership& ownership, int neighbours) {
  CHECK_EQ(static_cast<std::int64_t>(present.size()), space.nodes() - space.users());
  const int parts = ownership.ranks;
  std::vector<double> forward_sent(parts), forward_received(parts);
  std::vector<double> backward_sent(parts), backward_received(parts);
  for (int domain = 0; domain < space.domains(); ++domain) {
    std::vector<double> readers(parts), targets(parts);
    const Range items = space.items_of(domain);
    for (std::int64_t item = items.begin; item < items.end; ++item) {
      if (present[item - space.users()] == 0) continue;
      ++readers[ownership.owner[item]];
      if (graph.degree(item) > 0) ++targets[ownership.owner[item]];
    }
    const double all = std::accumulate(targets.begin(), targets.end(), 0.0);
    if (all < 2) continue;
    const double k = std::min<double>(neighbours, all - 1);
    // A target is read by a part unless none of the part's items chose it; a reader's gradient is
    // needed by a part unless none of its choices is there.
    std::vector<double> is_read(parts), has_target(parts);
    for (int part = 0; part < parts; ++part) {
      is_read[part] = 1 - std::pow(1 - k / all, readers[part]);
      has_target[part] = 1 - std::pow(1 - targets[part] / all, k);
    }
    const double read_by_all = std::accumulate(is_read.begin(), is_read.end(), 0.0);
    const double has_of_all = std::accumulate(has_target.begin(), has_target.end(), 0.0);
    const double all_readers = std::accumulate(readers.begin(), readers.end(), 0.0);
    for (int part = 0; part < parts; ++part) {
      forward_sent[part] += targets[part] * (read_by_all - is_read[part]);
      forward_received[part] += is_read[part] * (all - targets[part]);
      backward_sent[part] += readers[part] * (has_of_all - has_target[part]);
      backward_received[part] += has_target[part] * (all_readers - readers[part]);
    }
  }
  const auto rounded = [](const std::vector<double>& rows) {
    std::vector<std::int64_t> whole;
    for (const double count : rows) whole.push_back(std::llround(count));
    return whole;
  };
  return {{rounded(forward_sent), rounded(forward_received)},
          {rounded(backward_sent), rounded(backward_received)}};
}

double CollectiveBytes::total() const { return std::accumulate(bytes.begin(), bytes.end(), 0.0); }

double CollectiveBytes::most() const {
  return bytes.empty() ? 0 : *std::max_element(bytes.begin(), bytes.end());
}

double BytePlan::total() const {
  double sum = 0;
  for (const CollectiveBytes& collective : collectives) sum += collective.total();
  return sum;
}

std::vector<double> BytePlan::bytes_of_ranks() const {
  std::vector<double> sums;
  for (const CollectiveBytes& collective : collectives) {
    sums.resize(collective.bytes.size());
    for (std::size_t rank = 0; rank < sums.size(); ++rank) sums[rank] += collective.bytes[rank];
  }
  return sums;
}

double BytePlan::most() const {
  const std::vector<double> sums = bytes_of_ranks();
  return sums.empty() ? 0 : *std::max_element(sums.begin(), sums.end());
}

const CollectiveBytes* BytePlan::find(const std::string& name) const {
  for (const CollectiveBytes& collective : collectives) {
    if (collective.name == name) return &collective;
  }
  return nullptr;
}

BytePlan plan_bytes(const StepShape& shape, ProcessGrid grid, const StepNeeds& needs,
                    const std::vector<SemanticHalo>& semantic) {
  CHECK_EQ(needs.parts(), grid.rows);
  CHECK_EQ(static_cast<int>(semantic.size()), shape.semantic_modalities);
  BytePlan plan;
  Writer writer(grid, shape.dim, plan);
  const double peers = writer.row_peers();
  const auto halo = [&](int row, double columns) {
    return static_cast<double>(needs.halo.sent[row]) * columns * kFloat;
  };

  // Who needs which items, before anything is computed.
  writer.add("batch.plan", 2, peers, [&](int row, double) {
    return peers * kListLength + needs.items_received[row] * kNodeNumber;
  });

  if (shape.has_templates) {
    writer.add("halo.template", 1, peers, halo);
    writer.add("halo.template.backward", 1, peers, halo);
  }
  const int calls_of_modality = shape.has_cold_simulation ? 2 : 1;
  for (const SemanticHalo& modality : semantic) {
    const auto rows_of = [&](const HaloCounts& counts) {
      return [&, calls_of_modality](int row, double columns) {
        return calls_of_modality * static_cast<double>(counts.sent[row]) * columns * kFloat;
      };
    };
    writer.add("halo.weighted", calls_of_modality, peers, rows_of(modality.forward));
    writer.add("halo.weighted.backward", calls_of_modality, peers, rows_of(modality.backward));
  }
  if (shape.layers > 0) {
    // Backward begins with the wanted rows alone, unless all final rows were computed.
    const int whole = shape.has_cold_simulation ? 2 * shape.layers : 2 * shape.layers - 1;
    writer.add("halo.propagate", whole, peers,
               [&](int row, double columns) { return whole * halo(row, columns); });
    if (!shape.has_cold_simulation) {
      writer.add("halo.propagate.active", 2, peers, [&](int row, double columns) {
        return static_cast<double>(needs.halo.sent[row]) * kFlag +
               needs.active_sent[row] * columns * kFloat;
      });
    }
  }

  // Final rows of the batch's items, with their projected features and template rows, and the
  // gradients home.
  writer.add("batch.items", 2, peers, [&](int row, double columns) {
    const double rows = 1 + shape.content_modalities + (shape.has_self_loss ? 1 : 0);
    const double flags = shape.content_modalities + (shape.has_self_loss ? 1 : 0);
    return (needs.items_sent[row] + needs.items_received[row]) * (rows * columns + flags) * kFloat;
  });

  // The rows of a pair's people, whole ones, to all ranks, and then five numbers a person: the
  // sums of both softmaxes. With column parts each of them first gets some people's whole rows from
  // the others of its row part, and returns their gradients.
  const double ranks = grid.ranks();
  const double column_parts = grid.columns;
  const auto own_people = [](const OverlapCounts& pair, int row) {
    return pair.chosen * static_cast<double>(pair.people_of_part[row]) /
           static_cast<double>(pair.people);
  };
  for (const OverlapCounts& pair : needs.overlaps) {
    writer.add("contrastive.columns", 4, writer.column_peers(), [&](int row, double columns) {
      const double elsewhere = (column_parts - 1) / column_parts;
      return 2 * own_people(pair, row) * elsewhere * 2 * columns * kFloat;
    });
    writer.add("contrastive.rows", 1, ranks - 1, [&](int row, double) {
      return own_people(pair, row) / column_parts * 2 * static_cast<double>(shape.dim) * kFloat *
             (ranks - 1);
    });
    writer.add("contrastive.sums", 1, ranks - 1, [&](int row, double) {
      return own_people(pair, row) / column_parts * kSoftmaxSums * kFloat * (ranks - 1);
    });
  }

  // Sums over columns: every rank of a row part sends its part of each to the others.
  const auto gathered = [&](double numbers) { return (column_parts - 1) * numbers * kDouble; };
  if (shape.content_modalities > 0) {
    for (const char* name : {"content.norms", "content.backward"}) {
      writer.add(name, 1, writer.column_peers(), [&](int row, double) {
        return gathered(3 * needs.triples[row] * shape.content_modalities);
      });
    }
  }
  writer.add("step.scores", 1, writer.column_peers(), [&](int row, double) {
    return gathered((shape.has_l2 ? 5 : 2) * needs.triples[row]);
  });
  if (shape.has_self_loss) {
    writer.add("step.self_scores", 1, writer.column_peers(),
               [&](int row, double) { return gathered(2 * needs.triples[row]); });
  }

  // A sum over n row parts that all need costs each 2 (n - 1) / n of it.
  writer.add("step.dense", 2, peers, [&](int, double columns) {
    const double numbers =
        static_cast<double>(shape.dense_by_column()) / static_cast<double>(shape.dim) * columns +
        kStepSums;
    return 2 * peers / (peers + 1) * numbers * kDouble;
  });
  writer.add("step.columns", 1, writer.column_peers(), [&](int, double) {
    return gathered(static_cast<double>(shape.dense_scalars()) + kRankSums);
  });
  return plan;
}

}  // namespace micrec
