#include "model/contrastive.h"

#include <ATen/ATen.h>
#include <glog/logging.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "graph/operators.h"

namespace micrec {
namespace {

constexpr std::int64_t kTileRows = 256;      // own people in a tile of logits
constexpr std::int64_t kTileColumns = 4096;  // people of all ranks in a tile

/// sum_i [logsumexp_j(own_i . all_j / tau) - own_i . all_(offset + i) / tau], in tiles.
/// Shapes   own: (n, dim); all: (P, dim), own people at rows offset .. offset + n - 1.
class TiledCrossEntropy : public torch::autograd::Function<TiledCrossEntropy> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& own,
                            const at::Tensor& all, std::int64_t offset, double temperature) {
    const std::int64_t rows = own.size(0);
    at::Tensor log_sums = at::empty({rows}, own.options());
    double loss = 0;
    for (std::int64_t r = 0; r < rows; r += kTileRows) {
      const at::Tensor tile_rows = own.slice(0, r, std::min(rows, r + kTileRows));
      at::Tensor highest, sum;
      for (std::int64_t c = 0; c < all.size(0); c += kTileColumns) {
        const at::Tensor logits =
            at::mm(tile_rows, all.slice(0, c, std::min(all.size(0), c + kTileColumns)).t())
                .div_(temperature);
        const at::Tensor tile_highest = std::get<0>(logits.max(1));
        const at::Tensor tile_sum = (logits - tile_highest.unsqueeze(1)).exp_().sum(1);
        if (c == 0) {
          highest = tile_highest;
          sum = tile_sum;
        } else {
          const at::Tensor raised = at::maximum(highest, tile_highest);
          sum = sum * (highest - raised).exp() + tile_sum * (tile_highest - raised).exp();
          highest = raised;
        }
      }
      log_sums.slice(0, r, r + tile_rows.size(0)).copy_(highest + sum.log());
    }
    const at::Tensor positives = (own * all.slice(0, offset, offset + rows)).sum(1) / temperature;
    loss = (log_sums - positives).to(at::kDouble).sum().item<double>();
    context->save_for_backward({own, all, log_sums});
    context->saved_data["offset"] = offset;
    context->saved_data["temperature"] = temperature;
    return at::scalar_tensor(loss, own.options());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& own = saved[0];
    const at::Tensor& all = saved[1];
    const at::Tensor& log_sums = saved[2];
    const std::int64_t offset = context->saved_data["offset"].toInt();
    const double temperature = context->saved_data["temperature"].toDouble();
    const std::int64_t rows = own.size(0);
    at::Tensor own_gradient = at::zeros_like(own);
    at::Tensor all_gradient = at::zeros_like(all);
    for (std::int64_t r = 0; r < rows; r += kTileRows) {
      const std::int64_t end = std::min(rows, r + kTileRows);
      const at::Tensor tile_rows = own.slice(0, r, end);
      for (std::int64_t c = 0; c < all.size(0); c += kTileColumns) {
        const at::Tensor tile_all = all.slice(0, c, std::min(all.size(0), c + kTileColumns));
        const at::Tensor shares = at::mm(tile_rows, tile_all.t())
                                      .div_(temperature)
                                      .sub_(log_sums.slice(0, r, end).unsqueeze(1))
                                      .exp_();
        own_gradient.slice(0, r, end).addmm_(shares, tile_all);
        all_gradient.slice(0, c, c + tile_all.size(0)).addmm_(shares.t(), tile_rows);
      }
    }
    own_gradient -= all.slice(0, offset, offset + rows);
    all_gradient.slice(0, offset, offset + rows) -= own;
    const at::Tensor factor = gradients[0] / temperature;
    return {own_gradient * factor, all_gradient * factor, at::Tensor(), at::Tensor()};
  }
};

at::Tensor unit_rows(const at::Tensor& x) {
  return x / (x * x).sum(1, /*keepdim=*/true).clamp_min(1e-16).sqrt();
}

}  // namespace

std::vector<OverlapPair> find_overlaps(const DatasetSummary& summary) {
  const NodeSpace& space = summary.space;
  const int domains = space.domains();
  std::vector<std::vector<std::int32_t>> node_of(
      domains, std::vector<std::int32_t>(summary.people.count, -1));
  for (std::int64_t user = 0; user < space.users(); ++user) {
    if (summary.training_degree[user] == 0) continue;
    const auto node = GlobalNode(static_cast<std::int32_t>(user));
    node_of[space.domain_of(node)][summary.people.person[user]] = value(node);
  }
  std::vector<OverlapPair> pairs;
  for (int k = 0; k < domains; ++k) {
    for (int l = k + 1; l < domains; ++l) {
      OverlapPair pair{k, l, {}, {}};
      for (std::int64_t person = 0; person < summary.people.count; ++person) {
        if (node_of[k][person] < 0 || node_of[l][person] < 0) continue;
        pair.first.push_back(GlobalNode(node_of[k][person]));
        pair.second.push_back(GlobalNode(node_of[l][person]));
      }
      if (pair.first.size() >= 2) pairs.push_back(std::move(pair));
    }
  }
  return pairs;
}

ContrastiveBatch choose_people(const OverlapPair& pair, const Shard& shard, std::int64_t batch_size,
                               std::uint64_t seed, std::int64_t step) {
  const auto people = static_cast<std::int64_t>(pair.first.size());
  const bool all = batch_size <= 0 || batch_size >= people;
  const std::int64_t chosen = all ? people : batch_size;
  const Permutation permutation(people, seed, Purpose::contrastive_batch,
                                static_cast<std::uint32_t>(step));
  ContrastiveBatch batch;
  batch.rows_per_rank.assign(shard.ownership.ranks, 0);
  for (std::int64_t position = 0; position < chosen; ++position) {
    const auto person = all ? position : static_cast<std::int64_t>(permutation.at(position));
    const std::int32_t first = value(pair.first[person]);
    const std::int32_t second = value(pair.second[person]);
    const std::int32_t owner = shard.ownership.owner[first];
    DCHECK_EQ(owner, shard.ownership.owner[second]) << "a person's nodes have one owner";
    ++batch.rows_per_rank[owner];
    if (owner != shard.rank()) continue;
    batch.first_rows.push_back(shard.row_of[first]);
    batch.second_rows.push_back(shard.row_of[second]);
  }
  return batch;
}

at::Tensor contrastive_share(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank, double temperature,
                             Communicator& communicator) {
  const auto people = std::accumulate(rows_per_rank.begin(), rows_per_rank.end(), std::int64_t{0});
  const auto offset = std::accumulate(rows_per_rank.begin(),
                                      rows_per_rank.begin() + communicator.rank(), std::int64_t{0});
  const at::Tensor a = unit_rows(first);
  const at::Tensor b = unit_rows(second);
  const at::Tensor all_a = gather_all(communicator, "contrastive.first", a, rows_per_rank);
  const at::Tensor all_b = gather_all(communicator, "contrastive.second", b, rows_per_rank);
  const at::Tensor sum = TiledCrossEntropy::apply(a, all_b, offset, temperature) +
                         TiledCrossEntropy::apply(b, all_a, offset, temperature);
  return sum / (2.0 * static_cast<double>(people));
}

}  // namespace micrec
