#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "model/model_part.h"

namespace micrec {

/// A linear map of final user rows from one domain to another: [z, 1] M.
struct RidgeMap {
  int from = 0;
  int to = 0;
  at::Tensor map;  // M (dim + 1, dim) float32, the last row is the offset
};

/// Maps in both directions of every pair of domains, fitted on the people trained on in both: a
/// person without any interaction in domain l but with some in k gets [z^k, 1] M_kl, the mean over
/// such k.
class RidgeMaps {
 public:
  explicit RidgeMaps(const PartInputs& inputs);

  /// Fits all maps in closed form: (X'X + r I) M = X'Y on centred rows, with r = 0.1 * trace(X'X) /
  /// dim. Rows are rounded to fixed point (22 bits or more below the largest number), which makes
  /// the sums exact: the maps have the same bits at any number of ranks and threads.
  /// Shapes   z: (whole rows, dim) float32, final embeddings. Ranks: collective.
  void fit(const at::Tensor& z);

  /// Replaces, in z, the rows of user nodes without interactions in this shard's graph whose person
  /// has some elsewhere; nothing where the maps were not fitted. Shapes   z: (whole rows, dim).
  /// Ranks: local (a person's whole rows are on one rank).
  void fill_in(at::Tensor z) const;

  /// Nothing where no map exists. Shapes   z: (n, dim) final rows in domain `from`; returns (n,
  /// dim).
  std::optional<at::Tensor> map_to_domain(const at::Tensor& z, int from, int to) const;

 private:
  bool are_fitted() const;

  const Shard& shard_;
  const std::vector<OverlapPair>& overlaps_;
  std::vector<RidgeMap> maps_;  // of each pair, there and back
  at::Tensor fitted_;           // (1) uint8, a buffer
};

}  // namespace micrec
