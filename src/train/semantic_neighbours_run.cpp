#include "train/semantic_neighbours_run.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "checkpoints/checkpoint.h"
#include "checkpoints/coefficient_file.h"
#include "io/paths.h"
#include "kernels/sparse_rows.h"

namespace micrec {
namespace {

/// What the neighbours depend on beside the data set, as their file has it.
std::string settings_of(const ModelConfig& config, const std::string& modality) {
  return nlohmann::ordered_json{{"modality", modality},
                                {"neighbors", config.semantic_neighbors},
                                {"search", name_of(config.neighbor_search)}}
      .dump();
}

CoefficientOrigin origin_of(const NeighbourFiles& files, const ModelConfig& config,
                            const std::string& modality) {
  CoefficientOrigin origin{files.dataset_fingerprint, settings_of(config, modality)};
  origin.format = kSemanticNeighboursFormat;
  return origin;
}

/// Writes the neighbours of this rank's whole rows, which are among its owned ones, with their
/// weights. Ranks: collective.
void write_neighbours(const std::string& path, const CoefficientOrigin& origin,
                      const NumberLists& near, const Shard& shard) {
  const std::vector<std::int32_t> owned = owned_items(shard);
  const std::vector<std::int32_t> whole = whole_items(shard);
  SparseRows rows;
  std::size_t place = 0;
  for (const std::int32_t item : whole) {
    while (owned[place] != item) ++place;
    const std::span<const std::int32_t> found = near.of(static_cast<std::int64_t>(place));
    rows.column.insert(rows.column.end(), found.begin(), found.end());
    rows.value.insert(rows.value.end(), found.size(), 1.0F / static_cast<float>(found.size()));
    rows.offsets.push_back(std::ssize(rows.column));
  }
  write_coefficients(path, shard.space().items(), whole, rows, origin, *shard.world);
}

/// Reads those of this rank's owned rows that the run knew. Ranks: collective.
KnownNeighbours read_neighbours(const std::string& path, const StoredFile& stored,
                                const NeighbourFiles& files, const Shard& shard) {
  const NodeSpace& now = shard.space();
  const std::vector<std::int32_t> owned = owned_items(shard);
  KnownNeighbours known;
  known.is_new.assign(now.items(), 0);
  std::vector<std::int32_t> then = owned;  // of those that it knew, its numbers
  std::vector<std::int32_t> number_now;
  if (files.origins != nullptr) {
    known.is_new = new_items(*files.origins, now);
    then = items_then(*files.origins, now, owned);
    number_now = items_now(*files.origins, now);
  }
  const std::int64_t items = files.origins == nullptr ? now.items() : files.origins->then.items();
  const SparseRows rows = read_coefficients(path, stored, files.dataset_fingerprint, items, then,
                                            *shard.world, kCoefficientBlockBytes, Verify::sizes);
  std::int64_t row = 0;
  std::vector<std::int32_t> near;
  for (const std::int32_t item : owned) {
    near.clear();
    if (known.is_new[item] == 0) {
      near.assign(rows.column.begin() + rows.offsets[row],
                  rows.column.begin() + rows.offsets[row + 1]);
      ++row;
    }
    if (!number_now.empty()) {
      for (std::int32_t& one : near) one = number_now[one];
    }
    known.near.add(near);
  }
  return known;
}

}  // namespace

double most_neighbour_bytes(const std::string& run_dir, const ModelConfig& config,
                            std::int64_t items) {
  if (!config.has_semantic()) return 0;
  constexpr double kOffset = sizeof(std::int64_t);
  constexpr double kNeighbour = sizeof(std::int32_t) + sizeof(float);
  const auto files = std::ranges::count_if(config.modalities, [&](const std::string& modality) {
    return !is_there(neighbour_file_of(run_dir, modality));
  });
  return static_cast<double>(files) * static_cast<double>(items + 1) *
         (kOffset + kNeighbour * config.semantic_neighbors);
}

std::vector<SemanticLists> provide_semantic_neighbours(const NeighbourFiles& files,
                                                       const ModelConfig& config,
                                                       const DatasetFile& dataset,
                                                       const Shard& shard, std::ostream* log) {
  std::vector<SemanticLists> all;
  if (!config.has_semantic()) return all;
  const std::int64_t items =
      files.origins == nullptr ? shard.space().items() : files.origins->then.items();
  for (const std::string& modality : config.modalities) {
    const std::string path = neighbour_file_of(files.run_dir, modality);
    std::string why;
    const std::optional<StoredFile> stored =
        matching_coefficients(path, items, origin_of(files, config, modality), *shard.world, &why);
    LOG_IF(WARNING, !why.empty() && shard.world->rank() == 0)
        << "semantic neighbours by " << modality << " are searched for again: " << why;
    std::optional<KnownNeighbours> known;
    if (stored) known = read_neighbours(path, *stored, files, shard);
    if (stored && log != nullptr) {
      *log << "          semantic neighbours by " << modality << " read from " << path << "\n";
    }
    all.push_back(
        find_semantic_neighbours(dataset, shard, modality, config, known ? &*known : nullptr));
  }
  return all;
}

void keep_semantic_neighbours(const NeighbourFiles& files, const ModelConfig& config,
                              const std::vector<SemanticLists>& lists, const Shard& shard) {
  for (std::size_t m = 0; m < lists.size(); ++m) {
    if (lists[m].searches.empty()) continue;
    const std::string& modality = config.modalities[m];
    write_neighbours(neighbour_file_of(files.run_dir, modality), origin_of(files, config, modality),
                     lists[m].near, shard);
  }
}

}  // namespace micrec
