#include "model/semantic.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "graph/nearest_neighbours.h"
#include "model/modality.h"

namespace micrec {

SemanticNeighbours find_semantic_neighbours(const DatasetFile& dataset, const Shard& shard,
                                            const std::string& modality, int neighbours) {
  const NodeSpace& space = shard.space();
  const std::int64_t width = modality_width(dataset, modality);
  std::vector<std::int64_t> degree(shard.owned_rows() + 1, 0);
  std::vector<GlobalNode> columns;
  std::vector<float> weights;
  SemanticNeighbours semantic;
  semantic.present = at::zeros({shard.owned_rows(), 1}, at::kFloat);
  float* present_rows = semantic.present.data_ptr<float>();

  for (int domain = 0; domain < space.domains(); ++domain) {
    const DomainInfo& info = dataset.domains()[domain];
    if (std::none_of(info.modalities.begin(), info.modalities.end(),
                     [&](const ModalityInfo& m) { return m.name == modality; })) {
      continue;
    }
    const std::vector<std::uint8_t> present = dataset.features_present(domain, modality);
    std::vector<std::uint8_t> eligible(info.items, 0);
    std::vector<std::int64_t> queries;
    for (std::int64_t item = 0; item < info.items; ++item) {
      if (!present[item]) continue;
      const std::int32_t node = value(space.item(domain, item));
      eligible[item] = shard.summary->training_degree[node] > 0;
      if (shard.row_of[node] >= 0) queries.push_back(item);
    }
    const FeatureSource source{info.items, width,
                               [&](std::int64_t begin, std::int64_t end, float* rows) {
                                 dataset.read_features(domain, modality, begin, end, rows);
                               }};
    at::Tensor query_rows =
        at::empty({static_cast<std::int64_t>(queries.size()), width}, at::kFloat);
    constexpr std::int64_t kBlock = 4096;
    std::vector<float> block(kBlock * width);
    std::size_t next = 0;
    for (std::int64_t begin = 0; begin < info.items && next < queries.size(); begin += kBlock) {
      const std::int64_t end = std::min(info.items, begin + kBlock);
      if (queries[next] >= end) continue;
      dataset.read_features(domain, modality, begin, end, block.data());
      for (; next < queries.size() && queries[next] < end; ++next) {
        std::copy_n(block.data() + (queries[next] - begin) * width, width,
                    query_rows.data_ptr<float>() + static_cast<std::int64_t>(next) * width);
      }
    }
    const NearestNeighbours nearest =
        nearest_neighbours(queries, query_rows, source, eligible, neighbours, shard.threads);
    // Items of a domain are consecutive nodes and domains come in order, so rows are met by rising
    // number.
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const std::int64_t begin = nearest.offsets[q];
      const std::int64_t found = nearest.offsets[q + 1] - begin;
      if (found == 0) continue;
      const std::int32_t row = shard.row_of[value(space.item(domain, queries[q]))];
      degree[row + 1] = found;
      present_rows[row] = 1;
      for (std::int64_t n = begin; n < begin + found; ++n) {
        columns.push_back(space.item(domain, nearest.neighbours[n]));
        weights.push_back(1.0F / static_cast<float>(found));
      }
    }
  }
  for (std::int64_t row = 0; row < shard.owned_rows(); ++row) degree[row + 1] += degree[row];
  semantic.graph = std::make_unique<WeightedGraph>(shard.ownership, degree, columns, weights,
                                                   *shard.communicator);
  return semantic;
}

}  // namespace micrec
