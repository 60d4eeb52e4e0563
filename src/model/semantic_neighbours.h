#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/approximate_neighbours.h"
#include "graph/weighted_graph.h"
#include "model/model_part.h"

namespace micrec {

/// Semantic neighbours in one modality: for every item that has it, the k items of the same domain
/// with the largest cosine that have it too and were trained on.
struct SemanticLists {
  NumberLists near;  // (items of the owned rows, rising), of items over all domains, rising
  std::vector<NeighbourSearchReport> searches;  // how they were found; none of those known before
};

/// Semantic neighbours that are known already, such as those of a run.
struct KnownNeighbours {
  NumberLists near;                  // (items of the owned rows, rising), as above
  std::vector<std::uint8_t> is_new;  // (items of all domains) 1: of this one they are not known
};

/// The items among Shard::owned(), numbered over all domains, rising.
std::vector<std::int32_t> owned_items(const Shard& shard);

/// Which items of a domain search for them in a modality, each for the rank that owns it, and among
/// which. Refers to the data set. Ranks: local. Errors: as modality_width().
NeighbourQuestion semantic_question(const DatasetFile& dataset, const DatasetSummary& summary,
                                    const Ownership& ownership, int domain,
                                    const std::string& modality, int neighbours);

/// Searches for those that are not known.
/// Ranks    collective.
/// Errors   as modality_width().
/// Cost     one search a domain where there are unknown ones; see graph/approximate_neighbours.h.
SemanticLists find_semantic_neighbours(const DatasetFile& dataset, const Shard& shard,
                                       const std::string& modality, const ModelConfig& config,
                                       const KnownNeighbours* known = nullptr);

/// Semantic neighbours in one modality as operator, each with weight 1 / (number found).
struct NeighbourMean {
  std::unique_ptr<WeightedGraph> graph;  // S^m
  at::Tensor present;                    // (owned rows, 1) float32: 1 where the row has neighbours
};
/// Ranks: collective.
NeighbourMean mean_of_neighbours(const NumberLists& near, const Shard& shard);

/// A search, with words for what it was for.
struct NamedSearch {
  std::string what;
  NeighbourSearchReport report;
};

/// What items take from the items that look like them, with a gate g_k of each domain and shares
/// b^m of the modalities that an item has neighbours in.
class SemanticNeighbours {
 public:
  /// Ranks: collective, where there are any.
  explicit SemanticNeighbours(const PartInputs& inputs);

  bool is_on() const { return !modalities_.empty(); }

  /// g_k * sum_m b^m S^m e, zero for users and for items without neighbours.
  /// Shapes   e: (owned rows, width); returns the same. Ranks: collective, a halo exchange each way
  /// a modality.
  at::Tensor sum(StepContext& context, const at::Tensor& e);
  /// Draws the items of simulate_cold() in a step. Ranks: local.
  void plan_cold(StepContext& step) const;
  /// z with the rows of items drawn for this step replaced by the mean of their neighbours', sum_m
  /// b^m S^m z: what they would be if they had no interactions. Shapes and ranks: as sum().
  at::Tensor simulate_cold(StepContext& step, const at::Tensor& z);
  /// z with the mean in the rows of items that have no interactions. Shapes and ranks: as sum().
  at::Tensor fill_cold(StepContext& context, const at::Tensor& z);

  /// How the neighbours of each modality were found, in each domain where they were searched for.
  const std::vector<NamedSearch>& searches() const { return searches_; }

  /// What each modality's neighbours make the row parts send. Ranks: collective.
  std::vector<SemanticHalo> halos() const;

  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  at::Tensor mean(StepContext& context, const at::Tensor& z);
  at::Tensor combined(StepContext& context, const at::Tensor& x, const at::Tensor& entries,
                      const std::vector<at::Tensor>& tables);
  void number_sets();

  const ModelConfig& config_;
  const Shard& shard_;
  Parameter* gate_ = nullptr;
  Parameter* logits_ = nullptr;
  std::vector<NeighbourMean> modalities_;
  std::vector<NamedSearch> searches_;
  at::Tensor every_set_;  // every_modality_set() of them
  at::Tensor has_any_;    // (owned rows, 1) float32: has neighbours in some modality
  // Of every owned row the set of modalities it has neighbours in, and that set within the row's
  // domain; -1 where there is none. (owned rows) int32
  at::Tensor set_;
  at::Tensor set_of_domain_;
};

}  // namespace micrec
