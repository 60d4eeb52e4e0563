#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "model/shard.h"

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

/// Statistics with the shapes of a fitted one and no values yet, to restore into.
FeatureStatistics empty_statistics(const DatasetFile& dataset, const std::string& modality,
                                   int feature_dim);

/// Fits on the items that have the modality and a training interaction.
/// Ranks    collective; rank 0 computes, so that the bits do not depend on the number of ranks.
/// Cost     two passes over the features; width^2 memory.
FeatureStatistics fit_statistics(const DatasetFile& dataset, const DatasetSummary& summary,
                                 const std::string& modality, int feature_dim,
                                 Communicator& communicator);

/// What the content term knows of a rank's nodes in one modality: an item's own input x, a user's
/// sum of x over the items they interacted with in this graph that have it.
struct ContentInputs {
  at::Tensor sum;  // (owned rows, columns) float32, zero where absent
  at::Tensor
      count;  // (owned rows, 1) float32: 1 or 0 for an item, number of items summed for a user
};

/// Ranks: collective.
ContentInputs load_content(const DatasetFile& dataset, const Shard& shard,
                           const FeatureStatistics& statistics);

/// The content term: scale * sum_m c^m p^m / |p^m|, with c the softmax of `logits` over the
/// modalities present. Shapes   projections[m]: (n, dim), x W_m or any positive multiple of it;
/// present[m]: (n, 1) float32 0 or 1;
///          scale: (1); logits: (modalities); returns (n, dim). Differentiable.
at::Tensor content_term(const std::vector<at::Tensor>& projections,
                        const std::vector<at::Tensor>& present, const at::Tensor& scale,
                        const at::Tensor& logits);

/// Softmax of `logits` over the modalities present of each row; a row without any has zeros.
/// Shapes   present[m]: (n, 1); logits: (modalities); returns a (n, 1) tensor a modality.
/// Differentiable.
std::vector<at::Tensor> modality_shares(const std::vector<at::Tensor>& present,
                                        const at::Tensor& logits);

}  // namespace micrec
