#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// The contrastive loss on a device other than the CPU, in tiles of LibTorch's products: as
/// contrastive_share, whose shapes and ranks it has, and the same bits in every run, but not for
/// another division of people over ranks.
///
/// Cost     two all-gathers, of rows and of 12 bytes a person; memory is linear in people, plus
/// tiles of at most `tile_numbers` logits, of which a few are alive at a time.
at::Tensor contrastive_on_device(const at::Tensor& first, const at::Tensor& second,
                                 const std::vector<std::int64_t>& rows_per_rank, double temperature,
                                 Communicator& communicator,
                                 std::int64_t tile_numbers = std::int64_t{1} << 25);

}  // namespace micrec
