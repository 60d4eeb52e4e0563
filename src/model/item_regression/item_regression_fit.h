#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset_file.h"
#include "graph/nearest_neighbours.h"
#include "graph/neighbour_search.h"
#include "kernels/sparse_rows.h"
#include "model/item_regression/item_features.h"
#include "model/item_regression/item_hubs.h"
#include "model/item_regression/item_neighbourhood.h"
#include "model/item_regression/item_systems.h"
#include "model/item_regression/item_systems_on_device.h"
#include "model/item_regression/training_histories.h"
#include "model/step/shard.h"

namespace micrec {

/// What a fit is asked for in one domain: solutions of one set of neighbourhoods.
struct ItemRegressionTask {
  double cross = 0.6;
  double neighbourhood_lambda = 60;              ///< of NeighbourhoodRule
  std::vector<ItemRegressionSettings> settings;  ///< one solution each; their cross is the task's
  std::int64_t most_items = 0;  ///< a seeded sample of so many has coefficients; 0: all
};

/// Ridge regressions of each item on a neighbourhood of its own, item regression for short: chooses
/// the neighbourhoods (choose_neighbourhoods()) and solves the systems (ItemSystems) of this rank's
/// items.
///
/// Source   SLIM (Ning and Karypis, ICDM 2011) and its variants with neighbourhoods and side
///          information (SSLIM, RecSys 2012), in closed form as EASE (Steck, WWW 2019).
class ItemRegressionFit {
 public:
  /// The shard must be the training graph; all arguments outlive this. Where its device is a GPU,
  /// features are multiplied and systems solved there, in chunks of so many products. Ranks:
  /// collective.
  ItemRegressionFit(const DatasetFile& dataset, const Shard& shard,
                    const std::vector<std::string>& modalities, int feature_dim, std::uint64_t seed,
                    const HubRule& hubs = {}, NeighbourSearch search = NeighbourSearch::automatic,
                    std::int64_t chunk_products = kChunkProducts);
  ~ItemRegressionFit();

  int modalities() const { return features_.modalities(); }
  const TrainingHistories& histories() const { return histories_; }

  /// How the neighbours by features were found, as far as that was needed.
  const std::vector<NeighbourSearchReport>& searches() const { return searches_; }

  /// Ranges of places in a rank's items (rising, numbered over all domains) with their domains that
  /// are solved for at a time; as long as what they bring along is bounded. Shapes   met_by: (own)
  /// how many people met each; width: of all features. Ranks: local.
  static std::vector<std::pair<Range, int>> cut_batches(const NodeSpace& space,
                                                        std::span<const std::int32_t> own,
                                                        std::span<const std::int64_t> met_by,
                                                        std::int64_t width);

  /// What the feature rows of a batch's neighbours take at the most, of so many items. Ranks:
  /// local.
  static double most_feature_bytes(double items, double width);

  /// Whether an item is among the `most_items` of a domain's, all where that is 0. Ranks: local.
  static bool is_drawn(std::uint64_t seed, std::int32_t item, std::int64_t most_items,
                       std::int64_t of_domain);

  /// From now on solves for these alone, and leaves the rows of others empty. Shapes   wanted:
  /// (items of all domains) 0 or 1.
  void solve_only(std::vector<std::uint8_t> wanted) { wanted_ = std::move(wanted); }

  /// Solutions for every domain, as many for each: the n-th result has the n-th settings of every
  /// domain. Row t of a result is the t-th item of Shard::whole_nodes, columns are items numbered
  /// over all domains. `progress` is told the share that is done, after each batch and on every
  /// rank, and may throw on all of them.
  ///
  /// Ranks    collective; equal bits on any number of ranks, grids and threads, and on any device.
  /// Cost     batches of items bound the memory, see the source.
  std::vector<SparseRows> solve(const std::vector<ItemRegressionTask>& tasks,
                                const std::function<void(double)>& progress) const;

  /// The coefficients of all ranks' items. Ranks: collective.
  std::int64_t count(const SparseRows& coefficients) const;

 private:
  struct Batch;
  /// The nearest by features of some of the rank's items.
  struct Similar {
    std::int64_t first_own = 0;  ///< place of the first in own_items()
    NumberLists nearest;
  };

  FeatureSource feature_source() const;
  Range items_of(int domain) const;
  bool crosses(const ItemRegressionTask& task) const;
  void find_similar(const std::vector<ItemRegressionTask>& tasks) const;
  Similar search_similar(Range own, Range targets) const;
  const Similar& similar_items(int domain, bool crossing) const {
    return *similar_[crossing ? shard_.space().domains() : domain];
  }
  std::vector<std::pair<Range, int>> batches() const;
  bool is_wanted(std::int32_t item) const { return wanted_.empty() || wanted_[item] != 0; }
  Batch gather(Range items, int domain, const ItemRegressionTask& task) const;
  void gather_neighbours(Batch& batch) const;
  at::Tensor fetch_features(const std::vector<std::int32_t>& items) const;
  ItemSystem system_of(const Batch& batch, const ItemRegressionTask& task, std::int64_t t) const;
  std::vector<float> solve_here(const Batch& batch, const ItemRegressionTask& task,
                                std::vector<ItemSystems>& of_worker) const;
  std::vector<float> solve_there(const Batch& batch, const ItemRegressionTask& task,
                                 std::vector<ItemSystems>& of_worker) const;
  void solve_batch(const Batch& batch, const ItemRegressionTask& task,
                   std::vector<ItemSystems>& of_worker, std::vector<SparseRows>& results) const;

  const Shard& shard_;
  std::uint64_t seed_;
  ItemFeatures features_;
  TrainingHistories histories_;
  ItemHubs hubs_;
  NeighbourSearch search_;
  std::int64_t chunk_products_;
  at::Tensor own_features_;           // (own items, width) float32
  std::vector<std::uint8_t> wanted_;  // (items), or empty: all
  // Found when first needed: within each domain and, the last, among all.
  mutable std::vector<std::unique_ptr<Similar>> similar_;
  mutable std::vector<NeighbourSearchReport> searches_;
};

}  // namespace micrec
