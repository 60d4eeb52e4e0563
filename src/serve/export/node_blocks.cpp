#include "serve/export/node_blocks.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/rows.h"

namespace micrec {

std::int64_t NodeBlocks::owned_before(std::int64_t node) const {
  const auto owner = ownership_.owner.begin();
  return std::count(owner, owner + node, communicator_.rank());
}

void NodeBlocks::for_each(Range nodes, std::int64_t node_bytes,
                          const std::function<void(const Block&)>& use) const {
  const std::int64_t size = std::max<std::int64_t>(1, block_bytes_ / node_bytes);
  std::int64_t first_own = owned_before(nodes.begin);
  for (std::int64_t begin = nodes.begin; begin < nodes.end; begin += size) {
    const Range some = {begin, std::min(nodes.end, begin + size)};
    auto [rows_of, row_of] =
        arrival_of(std::span(ownership_.owner).subspan(begin, some.size()), ownership_.ranks);
    const Block block = {some, std::move(rows_of), std::move(row_of), first_own};
    use(block);
    first_own += block.rows_of[communicator_.rank()];
  }
}

void NodeBlocks::gather(
    Range nodes, const at::Tensor& rows,
    const std::function<void(Range nodes, std::span<const float> values)>& use) const {
  const std::int64_t dim = rows.size(1);
  if (dim == 0) return;
  const int rank = communicator_.rank();
  for_each(nodes, dim * std::int64_t{sizeof(float)}, [&](const Block& block) {
    std::vector<std::int64_t> send(ownership_.ranks, 0);
    send[0] = block.rows_of[rank];
    const std::vector<std::int64_t> nothing(ownership_.ranks, 0);
    const at::Tensor received =
        communicator_
            .all_to_all("export.rows",
                        rows.narrow(0, block.first_own, block.rows_of[rank]).contiguous(), send,
                        rank == 0 ? block.rows_of : nothing)
            .cpu();
    if (rank != 0) return;
    const at::Tensor in_order =
        received.index_select(0, at::tensor(block.row_of, at::kLong)).contiguous();
    use(block.nodes, values_of(in_order));
  });
}

}  // namespace micrec
