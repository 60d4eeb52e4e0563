#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
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
  std::vector<std::int32_t> first_rows;     // (own people) owned rows in the first domain
  std::vector<std::int32_t> second_rows;    // (own people)
  std::vector<std::int64_t> rows_per_rank;  // (ranks) people of the batch that each rank owns
};

/// The people of a step: all of them, or `batch_size` (if that is fewer) chosen by the step's
/// permutation. Ranks: local, every rank computes the same choice.
ContrastiveBatch choose_people(const OverlapPair& pair, const Shard& shard, std::int64_t batch_size,
                               std::uint64_t seed, std::int64_t step);

/// This rank's share of the symmetric InfoNCE loss of one pair, negatives from all ranks:
/// sum over own people p of [-log softmax_q(<a_p, b_q> / tau)_p - log softmax_q(<b_p, a_q> /
/// tau)_p] / (2 P), a and b the rows divided by their norms. The shares of all ranks add up to
/// C_kl.
///
/// Shapes   first, second: (own people, dim); returns a scalar. Differentiable; backward is
/// collective. Ranks    collective. Cost     4 * own * P * dim multiplications forward, 8 backward;
/// logits live in tiles, memory is linear in P. Source   InfoNCE (van den Oord et al. 2018,
/// arXiv:1807.03748), in the symmetric form of CLIP.
at::Tensor contrastive_share(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank, double temperature,
                             Communicator& communicator);

}  // namespace micrec
