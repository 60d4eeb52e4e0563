#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// This rank's share of the symmetric InfoNCE loss of one pair of domains, with negatives from all
/// ranks:
///
///   C_kl = sum over people p of [-log softmax_q(<a_p, b_q> / tau)_p
///                                - log softmax_q(<b_p, a_q> / tau)_p] / (2 P)
///
/// times `weight`, with a and b the rows divided by their norms (at least 1e-8, so a row of zeros
/// has cosines of zero). The shares of all ranks add up to C_kl in any order without rounding, as
/// rank 0's is the whole. Differentiable: every rank's gradient is that of the whole loss in its
/// own rows, and all must scale their shares alike. The loss and the gradient of a person's rows
/// depend on the people and their positions alone: on CPUs they have the same bits whichever rank
/// owns whom, on any threads.
///
/// Shapes   first, second: (rows_per_rank[rank], dim) float32, in the order of this rank's part of
///          `positions`; positions: (sum of rows_per_rank) each of 0 .. P - 1 once, the same on
///          every rank; returns a scalar float64.
/// Ranks    collective, over any communicator; some may have nobody. Two all-gathers, of the rows
///          and of 20 bytes a person; backward is local, for once the sums of both softmaxes are
///          everywhere, a rank knows all there is to know for its rows.
/// Cost     2 * own * P * dim multiply-adds forward and 4 backward, near the rate of row_product.
///          Memory is linear: 8 * dim bytes a person of all ranks, 8 * dim an own one, a few MiB.
/// Source   InfoNCE (van den Oord et al. 2018, arXiv:1807.03748), in the symmetric form of CLIP.
at::Tensor contrastive_share(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank,
                             const std::vector<std::int32_t>& positions, double temperature,
                             Communicator& communicator, double weight = 1);

/// What it does for rows on a device other than the CPU, in tiles of LibTorch's products
/// (kernels/contrastive_warp.h): the same bits in every run, but not for another division of people
/// over ranks.
///
/// Cost     12 bytes a person in the second all-gather; memory is linear in people, plus tiles of
///          at most `tile_numbers` cosines, one at a time. A tile takes a product and a launch of
///          ours, on the way back two products.
at::Tensor contrastive_on_device(const at::Tensor& first, const at::Tensor& second,
                                 const std::vector<std::int64_t>& rows_per_rank, double temperature,
                                 Communicator& communicator, double weight = 1,
                                 std::int64_t tile_numbers = std::int64_t{1} << 25);

}  // namespace micrec
