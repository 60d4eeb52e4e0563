#include "model/ridge_map.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/text.h"
#include "kernels/row_product.h"

namespace micrec {
namespace {

constexpr double kRelativeRidge = 0.1;

constexpr std::int64_t kPeopleAtATime = 1 << 15;

std::vector<std::int64_t> whole_rows_of(const std::vector<GlobalNode>& nodes, const Shard& shard) {
  std::vector<std::int64_t> rows;
  for (const GlobalNode node : nodes) {
    const std::int32_t row = shard.row_of[value(node)];
    if (row >= 0 && shard.whole_row_of[row] >= 0) rows.push_back(shard.whole_row_of[row]);
  }
  return rows;
}

/// Numbers in fixed point: unit * (high + low * step), both halves integers so short that products
/// of two can be summed over all people without rounding.
struct FixedPoint {
  double unit = 1;
  double step = 1;

  FixedPoint(double largest, std::int64_t people) {
    constexpr int kExactBits = 53;
    int bits_of_people = 1, exponent = 0;
    while ((std::int64_t{1} << bits_of_people) < people) ++bits_of_people;
    const int bits = (kExactBits - bits_of_people) / 2;
    std::frexp(largest, &exponent);  // largest < 2^exponent
    unit = std::ldexp(1.0, exponent - bits);
    step = std::ldexp(1.0, -bits);
  }
  std::pair<at::Tensor, at::Tensor> halves(const at::Tensor& rows) const {
    const at::Tensor scaled = rows.to(at::kDouble) / unit;
    const at::Tensor high = scaled.round();
    return {high, ((scaled - high) / step).round()};
  }
};

/// Some rows, in main memory. Shapes: z: (rows, dim) on any device; returns (people, dim).
at::Tensor rows_here(const at::Tensor& z, const std::vector<std::int64_t>& rows) {
  return z.index_select(0, at::tensor(rows, at::kLong).to(z.device())).cpu();
}

/// What a map is fitted from: X'X, Y'Y, X'Y and the sums of x and y over all people.
struct Moments {
  at::Tensor xx, yy, xy, x, y;
};

/// Shapes   first, second: (own people, dim) float32 in main memory. people: of all ranks.
Moments moments_of(const at::Tensor& first, const at::Tensor& second, std::int64_t people,
                   Communicator& communicator) {
  const std::int64_t dim = first.size(1);
  const std::int64_t own = first.size(0);
  at::Tensor largest = at::zeros({1}, at::kDouble);
  for (const at::Tensor& rows : {first, second}) {
    if (own > 0) largest.copy_(at::maximum(largest, rows.abs().max().to(at::kDouble)));
  }
  communicator.all_reduce("ridge.largest", largest, Reduction::max);
  const FixedPoint fixed(largest.item<double>(), people);

  // Every number in here is an integer below 2^53, so no order of addition rounds.
  at::Tensor products = at::zeros({3, 4, dim, dim}, at::kDouble);  // xx, yy, xy of the halves
  at::Tensor sums = at::zeros({2, 2, dim}, at::kDouble);
  for (std::int64_t begin = 0; begin < own; begin += kPeopleAtATime) {
    const auto [x_high, x_low] = fixed.halves(first.slice(0, begin, begin + kPeopleAtATime));
    const auto [y_high, y_low] = fixed.halves(second.slice(0, begin, begin + kPeopleAtATime));
    const auto add = [&](std::int64_t which, const at::Tensor& a_high, const at::Tensor& a_low,
                         const at::Tensor& b_high, const at::Tensor& b_low) {
      at::Tensor to = products[which];
      to[0].addmm_(a_high.t(), b_high);
      to[1].addmm_(a_high.t(), b_low);
      to[2].addmm_(a_low.t(), b_high);
      to[3].addmm_(a_low.t(), b_low);
    };
    add(0, x_high, x_low, x_high, x_low);
    add(1, y_high, y_low, y_high, y_low);
    add(2, x_high, x_low, y_high, y_low);
    sums[0] += at::stack({x_high.sum(0), x_low.sum(0)});
    sums[1] += at::stack({y_high.sum(0), y_low.sum(0)});
  }
  at::Tensor all = at::cat({products.reshape({-1}), sums.reshape({-1})});
  communicator.all_reduce("ridge.sums", all);
  products = all.slice(0, 0, products.numel()).reshape(products.sizes());
  sums = all.slice(0, products.numel()).reshape(sums.sizes());
  const auto product = [&](std::int64_t which) {
    const at::Tensor of = products[which];
    return (of[0] + (of[1] + of[2]) * fixed.step + of[3] * (fixed.step * fixed.step)) *
           (fixed.unit * fixed.unit);
  };
  const auto sum = [&](std::int64_t which) {
    return (sums[which][0] + sums[which][1] * fixed.step) * fixed.unit;
  };
  return {product(0), product(1), product(2), sum(0), sum(1)};
}

/// Solves gram * solution = right for a positive definite matrix, by Cholesky's method in plain
/// loops: a library's bits may depend on its threads.
at::Tensor solve_positive(at::Tensor gram, const at::Tensor& right) {
  gram = gram.contiguous().clone();
  at::Tensor solution = right.contiguous().clone();
  const std::int64_t n = gram.size(0), columns = solution.size(1);
  double* const l = gram.data_ptr<double>();
  double* const x = solution.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      double sum = l[i * n + j];
      for (std::int64_t k = 0; k < j; ++k) sum -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = i == j ? std::sqrt(sum) : sum / l[j * n + j];
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < i; ++k) {
      for (std::int64_t c = 0; c < columns; ++c)
        x[i * columns + c] -= l[i * n + k] * x[k * columns + c];
    }
    for (std::int64_t c = 0; c < columns; ++c) x[i * columns + c] /= l[i * n + i];
  }
  for (std::int64_t i = n - 1; i >= 0; --i) {
    for (std::int64_t k = i + 1; k < n; ++k) {
      for (std::int64_t c = 0; c < columns; ++c)
        x[i * columns + c] -= l[k * n + i] * x[k * columns + c];
    }
    for (std::int64_t c = 0; c < columns; ++c) x[i * columns + c] /= l[i * n + i];
  }
  return solution;
}

void fit_map(RidgeMap& map, const at::Tensor& xx, const at::Tensor& xy, const at::Tensor& sum_x,
             const at::Tensor& sum_y, std::int64_t people) {
  const std::int64_t dim = xx.size(0);
  const auto n = static_cast<double>(people);
  const at::Tensor mean_x = sum_x / n;
  const at::Tensor mean_y = sum_y / n;
  at::Tensor gram = xx - n * at::outer(mean_x, mean_x);
  const at::Tensor moment = xy - n * at::outer(mean_x, mean_y);
  double trace = 0;
  for (std::int64_t c = 0; c < dim; ++c) trace += gram[c][c].item<double>();
  const double ridge = std::max(kRelativeRidge * trace / static_cast<double>(dim), 1e-12);
  gram.diagonal().add_(ridge);
  const at::Tensor weights = solve_positive(gram, moment);
  at::Tensor offset = mean_y.clone();
  for (std::int64_t row = 0; row < dim; ++row) offset -= weights[row] * mean_x[row];
  map.map.slice(0, 0, dim).copy_(weights);
  map.map[dim].copy_(offset);
}

at::Tensor mapped(const RidgeMap& map, const at::Tensor& z) {
  const std::int64_t dim = z.size(1);
  return row_product(z, map.map.slice(0, 0, dim).contiguous()) + map.map[dim];
}

}  // namespace

RidgeMaps::RidgeMaps(const PartInputs& inputs) : shard_(inputs.shard), overlaps_(inputs.overlaps) {
  const int dim = inputs.config.dim;
  const auto add = [&](int from, int to) {
    maps_.push_back({from, to, at::zeros({dim + 1, dim}, at::kFloat)});
    inputs.state.add_buffer(text("ridge.", from, ".", to), maps_.back().map, Placement::everywhere,
                            "user rows of the first domain to the second (dim + 1, dim)");
  };
  for (const OverlapPair& pair : overlaps_) {
    add(pair.first_domain, pair.second_domain);
    add(pair.second_domain, pair.first_domain);
  }
  fitted_ = at::zeros({1}, at::kByte);
  inputs.state.add_buffer("ridge.fitted", fitted_, Placement::everywhere,
                          "1 once the maps were fitted");
}

bool RidgeMaps::are_fitted() const { return fitted_.item<std::uint8_t>() != 0; }

void RidgeMaps::fit(const at::Tensor& z) {
  const c10::NoGradGuard no_gradient;
  for (std::size_t p = 0; p < overlaps_.size(); ++p) {
    const OverlapPair& pair = overlaps_[p];
    const auto people = static_cast<std::int64_t>(pair.first.size());
    const Moments sums =
        moments_of(rows_here(z, whole_rows_of(pair.first, shard_)),
                   rows_here(z, whole_rows_of(pair.second, shard_)), people, *shard_.world);
    fit_map(maps_[2 * p], sums.xx, sums.xy, sums.x, sums.y, people);
    fit_map(maps_[2 * p + 1], sums.yy, sums.xy.t(), sums.y, sums.x, people);
  }
  fitted_.fill_(1);
}

void RidgeMaps::fill_in(at::Tensor z) const {
  if (!are_fitted() || maps_.empty() || shard_.link_to.numel() == 0) return;
  const NodeSpace& space = shard_.space();
  const at::Tensor host_degree = shard_.degree.cpu();
  const at::Tensor host_to = shard_.link_to.cpu();
  const at::Tensor host_from = shard_.link_from.cpu();
  const float* degree = host_degree.data_ptr<float>();
  const std::int64_t* to = host_to.data_ptr<std::int64_t>();
  const std::int64_t* from = host_from.data_ptr<std::int64_t>();
  const std::vector<GlobalNode>& owned = shard_.owned();
  std::map<std::int64_t, int> sources;  // target row -> number of rows averaged
  at::Tensor sums = at::zeros(z.sizes(), at::kFloat);
  for (const RidgeMap& map : maps_) {
    std::vector<std::int64_t> target_rows, source_rows;
    for (std::int64_t link = 0; link < shard_.link_to.numel(); ++link) {
      if (degree[to[link]] > 0 || degree[from[link]] == 0) continue;
      if (space.domain_of(owned[to[link]]) != map.to) continue;
      if (space.domain_of(owned[from[link]]) != map.from) continue;
      const std::int32_t target = shard_.whole_row_of[to[link]];
      if (target < 0) continue;
      target_rows.push_back(target);
      source_rows.push_back(shard_.whole_row_of[from[link]]);
      ++sources[target];
    }
    if (target_rows.empty()) continue;
    sums.index_add_(0, at::tensor(target_rows, at::kLong), mapped(map, rows_here(z, source_rows)));
  }
  std::vector<std::int64_t> rows;
  std::vector<float> counts;
  for (const auto& [row, count] : sources) {
    rows.push_back(row);
    counts.push_back(static_cast<float>(count));
  }
  if (rows.empty()) return;
  const at::Tensor targets = at::tensor(rows, at::kLong);
  const at::Tensor means = sums.index_select(0, targets) / at::tensor(counts).unsqueeze(1);
  z.index_copy_(0, targets.to(z.device()), means.to(z.device()));
}

std::optional<at::Tensor> RidgeMaps::map_to_domain(const at::Tensor& z, int from, int to) const {
  if (!are_fitted()) return std::nullopt;
  for (const RidgeMap& map : maps_) {
    if (map.from == from && map.to == to) return mapped(map, z);
  }
  return std::nullopt;
}

}  // namespace micrec
