#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "model/model_config.h"
#include "model/step/shard.h"

namespace micrec {

/// How the raw features of one modality become inputs: centred on the training items that have
/// them, projected on their first principal directions where wider, divided by one overall scale.
/// Part of the checkpoint.
struct FeatureStatistics {
  std::string modality;
  at::Tensor mean;        // (width) float32
  at::Tensor components;  // (width, columns) float32; undefined where nothing is projected
  at::Tensor scale;       // (1) float32, the standard deviation over all entries; never 0

  std::int64_t columns() const { return components.defined() ? components.size(1) : mean.size(0); }
};

/// Width of a modality, the same in every domain that has it. Errors: Error(Cause::usage) where no
/// domain has it (names those there are); Error(Cause::data) where widths differ.
std::int64_t modality_width(const DatasetFile& dataset, const std::string& modality);

/// The modalities of a configuration, all that the dataset has where they are "all". Errors: those
/// of modality_width().
std::vector<std::string> resolve_modalities(const std::vector<std::string>& asked,
                                            const DatasetFile& dataset);

/// Statistics with the shapes of a fitted one and no values yet, to restore into.
FeatureStatistics empty_statistics(const DatasetFile& dataset, const std::string& modality,
                                   int feature_dim);

/// Fits on the items that have the modality and a training interaction.
/// Ranks    collective; rank 0 computes, so that the bits do not depend on the number of ranks.
/// Cost     two passes over the features; width^2 memory.
FeatureStatistics fit_statistics(const DatasetFile& dataset, const DatasetSummary& summary,
                                 const std::string& modality, int feature_dim,
                                 Communicator& communicator);

/// Raw rows centred and, where the statistics say so, projected; not divided by their scale yet.
/// Shapes   rows: (n, width) float32; returns (n, columns).
at::Tensor centred_and_projected(const at::Tensor& rows, const FeatureStatistics& statistics);

/// Whether a domain has a modality.
bool has_modality(const DomainInfo& domain, const std::string& modality);

/// 1 where an item has a modality. (items of all domains)
std::vector<std::uint8_t> items_with(const DatasetFile& dataset, const std::string& modality);

/// What the content term knows of a rank's nodes in one modality: an item's own input x, a user's
/// sum of x over the items they interacted with in this graph that have it.
struct ContentInputs {
  at::Tensor sum;  // (owned rows, columns) float32, zero where absent
  at::Tensor
      count;  // (owned rows, 1) float32: 1 or 0 for an item, number of items summed for a user
};

/// `present`: as items_with(). Ranks: collective.
ContentInputs load_content(const DatasetFile& dataset, const Shard& shard,
                           const FeatureStatistics& statistics,
                           const std::vector<std::uint8_t>& present);

/// Every set of modalities: row b is that of those whose bits b has. Shapes   returns
/// (2^modalities, modalities) float32, 1 where the set has the modality.
at::Tensor every_modality_set(std::int64_t modalities);

/// Softmax of `logits` over every set of modalities, zeros for modalities outside the set.
/// Shapes   logits: (modalities); sets: every_modality_set() where the logits are; returns as sets.
/// Differentiable in the logits.
at::Tensor modality_shares(const at::Tensor& logits, const at::Tensor& sets);

/// Of each modality its share in every set, times the gain of a group where there are gains:
/// `gains` (1) for all, or (groups, 1), where the entries of a group follow those of the one
/// before.
/// Shapes   returns of each modality (sets) or (groups * sets) float32. Differentiable.
std::vector<at::Tensor> modality_tables(const at::Tensor& logits, const at::Tensor& sets,
                                        const at::Tensor& gains = {});

/// The set of modalities of each row, as every_modality_set() numbers them.
/// Shapes   counts[m]: (n, 1) float32, above 1/2 where m is present; returns (n) int32.
at::Tensor modality_sets(const std::vector<at::Tensor>& counts);

}  // namespace micrec
