#include "model/ridge.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <map>

#include "graph/row_product.h"

namespace micrec {
namespace {

constexpr double kRelativeRidge = 0.1;

at::Tensor owned_rows_of(const std::vector<GlobalNode>& nodes, const Shard& shard) {
  std::vector<std::int64_t> rows;
  for (const GlobalNode node : nodes) {
    if (const auto row = shard.row_of[value(node)]; row >= 0) rows.push_back(row);
  }
  return at::tensor(rows, at::kLong);
}

void fit(RidgeMap& map, const at::Tensor& x, const at::Tensor& y, std::int64_t people,
         Communicator& communicator) {
  const std::int64_t dim = x.size(1);
  // One buffer for everything that is summed over ranks: X'X, X'Y, and the sums of both.
  at::Tensor sums = at::zeros({2 * dim + 2, dim}, at::kDouble);
  sums.slice(0, 0, dim).copy_(at::mm(x.t(), x));
  sums.slice(0, dim, 2 * dim).copy_(at::mm(x.t(), y));
  sums[2 * dim].copy_(x.sum(0));
  sums[2 * dim + 1].copy_(y.sum(0));
  communicator.all_reduce("ridge.sums", sums);
  const auto n = static_cast<double>(people);
  const at::Tensor mean_x = sums[2 * dim] / n;
  const at::Tensor mean_y = sums[2 * dim + 1] / n;
  at::Tensor gram = sums.slice(0, 0, dim) - n * at::outer(mean_x, mean_x);
  const at::Tensor moment = sums.slice(0, dim, 2 * dim) - n * at::outer(mean_x, mean_y);
  const double ridge =
      std::max(kRelativeRidge * gram.trace().item<double>() / static_cast<double>(dim), 1e-12);
  gram.diagonal().add_(ridge);
  const at::Tensor weights = at::linalg_solve(gram, moment);
  map.map.slice(0, 0, dim).copy_(weights);
  map.map[dim].copy_(mean_y - at::mv(weights.t(), mean_x));
}

}  // namespace

std::vector<RidgeMap> empty_ridge_maps(const std::vector<OverlapPair>& pairs, int dim) {
  std::vector<RidgeMap> maps;
  for (const OverlapPair& pair : pairs) {
    maps.push_back({pair.first_domain, pair.second_domain, at::zeros({dim + 1, dim}, at::kFloat)});
    maps.push_back({pair.second_domain, pair.first_domain, at::zeros({dim + 1, dim}, at::kFloat)});
  }
  return maps;
}

void fit_ridge_maps(std::vector<RidgeMap>& maps, const std::vector<OverlapPair>& pairs,
                    const Shard& shard, const at::Tensor& z) {
  CHECK_EQ(maps.size(), 2 * pairs.size());
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    const at::Tensor first =
        z.index_select(0, owned_rows_of(pairs[p].first, shard)).to(at::kDouble);
    const at::Tensor second =
        z.index_select(0, owned_rows_of(pairs[p].second, shard)).to(at::kDouble);
    const auto people = static_cast<std::int64_t>(pairs[p].first.size());
    fit(maps[2 * p], first, second, people, *shard.communicator);
    fit(maps[2 * p + 1], second, first, people, *shard.communicator);
  }
}

std::int64_t apply_ridge_maps(const std::vector<RidgeMap>& maps, const Shard& shard,
                              at::Tensor& z) {
  if (maps.empty() || shard.link_to.numel() == 0) return 0;
  const NodeSpace& space = shard.space();
  const float* degree = shard.degree.data_ptr<float>();
  const std::int64_t* to = shard.link_to.data_ptr<std::int64_t>();
  const std::int64_t* from = shard.link_from.data_ptr<std::int64_t>();
  const std::vector<GlobalNode>& owned = shard.owned();
  const std::int64_t dim = z.size(1);
  std::map<std::int64_t, int> sources;  // target row -> number of rows averaged
  at::Tensor sums = at::zeros_like(z);
  for (const RidgeMap& map : maps) {
    std::vector<std::int64_t> target_rows, source_rows;
    for (std::int64_t link = 0; link < shard.link_to.numel(); ++link) {
      if (degree[to[link]] > 0 || degree[from[link]] == 0) continue;
      if (space.domain_of(owned[to[link]]) != map.to) continue;
      if (space.domain_of(owned[from[link]]) != map.from) continue;
      target_rows.push_back(to[link]);
      source_rows.push_back(from[link]);
      ++sources[to[link]];
    }
    if (target_rows.empty()) continue;
    const at::Tensor x = z.index_select(0, at::tensor(source_rows, at::kLong));
    const at::Tensor mapped =
        row_product(x, map.map.slice(0, 0, dim).contiguous(), shard.threads) + map.map[dim];
    sums.index_add_(0, at::tensor(target_rows, at::kLong), mapped);
  }
  for (const auto& [row, count] : sources) {
    z[row].copy_(sums[row] / static_cast<double>(count));
  }
  return static_cast<std::int64_t>(sources.size());
}

}  // namespace micrec
