#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/contrastive.h"
#include "model/shard.h"

namespace micrec {

/// Maps of final user rows from one domain to another, fitted on the people trained on in both: a
/// person without any interaction in domain l but with some in k gets [z^k, 1] M_kl, the mean over
/// such k.
struct RidgeMap {
  int from = 0;
  int to = 0;
  at::Tensor map;  // (dim + 1, dim) float32, the last row is the offset
};

/// One empty map for each direction of each pair, to fit or restore into.
std::vector<RidgeMap> empty_ridge_maps(const std::vector<OverlapPair>& pairs, int dim);

/// Fits all maps in closed form: (X'X + r I) M = X'Y on centred rows, with r = 0.1 * trace(X'X) /
/// dim. Rows are rounded to fixed point (22 bits or more below the largest number), which makes the
/// sums exact: the maps have the same bits at any number of ranks and threads.
/// Shapes   z: (whole rows, dim) float32, final embeddings. Ranks    collective.
void fit_ridge_maps(std::vector<RidgeMap>& maps, const std::vector<OverlapPair>& pairs,
                    const Shard& shard, const at::Tensor& z);

/// Replaces, in z, the rows of user nodes without interactions in this shard's graph whose person
/// has some elsewhere. Shapes   z: (whole rows, dim). Ranks: local (a person's whole rows are on
/// one rank). Returns how many rows it filled.
std::int64_t apply_ridge_maps(const std::vector<RidgeMap>& maps, const Shard& shard, at::Tensor& z);

}  // namespace micrec
