#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/shard.h"

namespace micrec {

/// People who are trained on in both domains of a pair, in the order of their numbers, the same on
/// all ranks.
struct OverlapPair {
  int first_domain = 0;
  int second_domain = 0;
  std::vector<GlobalNode> first;   // (people) their user nodes in the first domain ...
  std::vector<GlobalNode> second;  // (people) ... and in the second
};

/// All pairs of domains with at least two such people; one alone has no negatives.
std::vector<OverlapPair> find_overlaps(const DatasetSummary& summary);

/// A rank's part of the contrastive batch of one pair.
struct ContrastiveBatch {
  std::vector<std::int32_t> first_rows;   // (people of the row part) owned rows in one domain
  std::vector<std::int32_t> second_rows;  // and in the other
  // (ranks of the world) people of the batch whose whole rows each rank takes
  std::vector<std::int64_t> rows_per_rank;
  // (people) the place in the step's choice of every person of the batch, rank 0's people first;
  // rising within a rank
  std::vector<std::int32_t> positions;
};

/// The people of a step: all of them, or `batch_size` (if that is fewer) chosen by the step's
/// permutation.
///
/// Ranks    local, every rank computes the same choice.
/// Cost     a few memory accesses a person chosen, however many there are to choose from.
ContrastiveBatch choose_people(const OverlapPair& pair, const Shard& shard, std::int64_t batch_size,
                               std::uint64_t seed, std::int64_t step);

/// The symmetric InfoNCE loss of one pair with negatives from all ranks, in two parts, so that the
/// rows can travel while a rank does something else:
///
///   C_kl = sum over people p of [-log softmax_q(<a_p, b_q> / tau)_p
///                                - log softmax_q(<b_p, a_q> / tau)_p] / (2 P)
///
/// with a and b the rows divided by their norms (at least 1e-8, so a row of zeros has cosines of
/// zero). The loss and the gradient of a person's rows depend on the people and their positions
/// alone: they have the same bits whichever rank owns whom, on any threads.
///
/// Source   InfoNCE (van den Oord et al. 2018, arXiv:1807.03748), in the symmetric form of CLIP.
class ContrastiveExchange {
 public:
  /// Sends this rank's rows to all others.
  ///
  /// Shapes   first, second: (rows_per_rank[rank], dim) float32, in the order of this rank's part
  /// of `positions`; positions: (sum of rows_per_rank) each of 0 .. P - 1 once, the same on every
  /// rank.
  /// Ranks    collective, over any communicator; some may have nobody. It must outlive finish().
  ContrastiveExchange(const at::Tensor& first, const at::Tensor& second,
                      const std::vector<std::int64_t>& rows_per_rank,
                      std::vector<std::int32_t> positions, Communicator& communicator, int threads);

  /// This rank's share of the loss; the shares of all ranks add up to C_kl in any order without
  /// rounding, as rank 0's is the whole. Differentiable: every rank's gradient is that of the whole
  /// loss in its own rows, and all must scale their shares alike.
  ///
  /// Shapes   returns a scalar float64.
  /// Ranks    collective, with 20 bytes a person; backward is local, for once the sums of both
  /// softmaxes are everywhere, a rank knows all there is to know for its rows.
  /// Cost     2 * own * P * dim multiply-adds forward and 4 backward, near the rate of row_product.
  /// Memory is linear: 8 * dim bytes a person of all ranks, 8 * dim an own one and a few MiB.
  at::Tensor finish(double temperature);

 private:
  struct People;
  std::shared_ptr<People> people_;
  at::Tensor first_;
  at::Tensor second_;
  Communicator* communicator_;
};

/// Both parts at once: ContrastiveExchange(...).finish(temperature).
at::Tensor contrastive_share(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank,
                             const std::vector<std::int32_t>& positions, double temperature,
                             Communicator& communicator, int threads);

}  // namespace micrec
