#include "serve/node_blocks.h"

#include <ATen/ATen.h>

#include <algorithm>

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
    Block block = {{begin, std::min(nodes.end, begin + size)}, {}, {}, first_own};
    const std::vector<std::int32_t>& owner = ownership_.owner;
    block.rows_of.assign(ownership_.ranks, 0);
    for (std::int64_t node = begin; node < block.nodes.end; ++node) ++block.rows_of[owner[node]];
    std::vector<std::int64_t> next(ownership_.ranks, 0);
    for (int q = 1; q < ownership_.ranks; ++q) next[q] = next[q - 1] + block.rows_of[q - 1];
    for (std::int64_t node = begin; node < block.nodes.end; ++node) {
      block.row_of.push_back(next[owner[node]]++);
    }
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
    use(block.nodes,
        {in_order.const_data_ptr<float>(), static_cast<std::size_t>(in_order.numel())});
  });
}

}  // namespace micrec
