// The functions of row_functions.h for rows that are not on the CPU.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include "graph/linear_operator.h"
#include "model/row_functions.h"

namespace micrec {
namespace on_device {
namespace {

/// The table that all copies are: (entries, width).
at::Tensor first_copy(const at::Tensor& copies) { return copies.detach()[0].contiguous(); }

void check_one_group(const RowGroups& groups) {
  CHECK_EQ(groups.groups, 1) << "sums in groups are for the CPU";
}

/// (rows, entries) float32: one where the row names the entry. A product with it picks rows of a
/// table exactly, and its transpose adds rows up without atomics.
at::Tensor picks_of(const at::Tensor& index, std::int64_t entries) {
  const at::Tensor numbers = at::arange(entries, index.options());
  return (index.unsqueeze(1) == numbers).to(at::kFloat);
}

}  // namespace

at::Tensor times_table(const at::Tensor& x, const at::Tensor& index, const at::Tensor& copies,
                       const RowGroups& groups) {
  check_one_group(groups);
  const at::Tensor rows = x.detach();
  const at::Tensor picks = picks_of(index, copies.size(1));
  at::Tensor factors, y;
  {
    const c10::NoGradGuard no_gradient;
    factors = at::mm(picks, first_copy(copies));
    y = rows * factors;
  }
  return with_transposes("times_table", y,
                         {{x, [factors](const at::Tensor& g) { return g * factors; }},
                          {copies, [rows, picks](const at::Tensor& g) {
                             return at::mm(picks.t(), g * rows).unsqueeze(0);
                           }}});
}

at::Tensor content_rows(const at::Tensor& projections, const at::Tensor& pattern,
                        const std::vector<at::Tensor>& copies, const RowGroups& groups,
                        const ColumnSums& sums) {
  const at::Tensor p = projections.detach();
  check_one_group(groups);
  const at::Tensor picks = picks_of(pattern, copies.front().size(1));
  at::Tensor inverse, is_long, scaled, factors, y;
  {
    const c10::NoGradGuard no_gradient;
    const at::Tensor wide = p.to(at::kDouble);
    const at::Tensor norm = sums.finish("content.norms", (wide * wide).sum(2)).sqrt();
    is_long = norm > kSmallestContentNorm;  // shorter rows are divided by a constant
    inverse = norm.clamp_min(kSmallestContentNorm).reciprocal();  // (modalities, n) float64
    scaled = p * inverse.to(at::kFloat).unsqueeze(2);
    std::vector<at::Tensor> of_modality;
    for (const at::Tensor& copy : copies) of_modality.push_back(at::mm(picks, first_copy(copy)));
    factors = at::stack(of_modality);  // (modalities, n, width)
    y = (factors * scaled).sum(0);
  }
  std::vector<LinearInput> inputs;
  inputs.push_back({projections, [p, inverse, is_long, factors, sums](const at::Tensor& g) {
                      const at::Tensor slope = factors * g;
                      const at::Tensor dots = sums.finish(
                          "content.backward", (slope.to(at::kDouble) * p.to(at::kDouble)).sum(2));
                      const at::Tensor radial =
                          (dots * inverse * inverse * is_long).to(at::kFloat).unsqueeze(2);
                      return inverse.to(at::kFloat).unsqueeze(2) * (slope - p * radial);
                    }});
  for (std::size_t m = 0; m < copies.size(); ++m) {
    inputs.push_back({copies[m], [scaled, picks, m](const at::Tensor& g) {
                        const at::Tensor of_rows = g * scaled[static_cast<std::int64_t>(m)];
                        return at::mm(picks.t(), of_rows).unsqueeze(0);
                      }});
  }
  return with_transposes("content_rows", y, std::move(inputs));
}

at::Tensor block_dots(const char* name, const at::Tensor& x, std::int64_t blocks,
                      const std::vector<std::pair<int, int>>& pairs, const ColumnSums& sums) {
  const at::Tensor rows = x.detach().view({blocks, x.size(0) / blocks, x.size(1)});
  at::Tensor y;
  {
    const c10::NoGradGuard no_gradient;
    std::vector<at::Tensor> dots;
    for (const auto& [a, b] : pairs) {
      dots.push_back((rows[a].to(at::kDouble) * rows[b].to(at::kDouble)).sum(1));
    }
    y = sums.finish(name, at::stack(dots));
  }
  return with_transpose("block_dots", x, y, [rows, pairs](const at::Tensor& g) {
    at::Tensor result = at::zeros_like(rows);
    for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
      const auto [a, b] = pairs[pair];
      const at::Tensor factor =
          g[static_cast<std::int64_t>(pair)].to(at::kFloat).unsqueeze(1);  // (n, 1)
      result[a] += factor * rows[b];
      result[b] += factor * rows[a];
    }
    return result.view({-1, rows.size(2)});
  });
}

at::Tensor triple_loss(const at::Tensor& dots, const at::Tensor& weight, double square_weight,
                       const RowGroups& groups, TripleSums& parts) {
  const at::Tensor values = dots.detach();
  check_one_group(groups);
  at::Tensor slope, total;
  {
    const c10::NoGradGuard no_gradient;
    const at::Tensor margin = values[1] - values[0];
    const at::Tensor ranking =
        (weight * (margin.clamp_min(0) + (-margin.abs()).exp().log1p())).sum();
    const at::Tensor slope_of_margin = weight * margin.sigmoid();
    std::vector<at::Tensor> slopes = {-slope_of_margin, slope_of_margin};
    at::Tensor squares = at::zeros_like(ranking);
    if (values.size(0) == 5) {
      squares = (weight * values.slice(0, 2, 5).sum(0)).sum();
      for (int row = 2; row < 5; ++row) slopes.push_back(weight * square_weight);
    }
    const at::Tensor both = at::stack({ranking, squares}).cpu();
    parts.ranking = {both[0].item<double>()};
    parts.squares = {both[1].item<double>()};
    slope = at::stack(slopes);
    total = ranking + square_weight * squares;
  }
  return with_transpose("triple_loss", dots, total,
                        [slope](const at::Tensor& g) { return slope * g; });
}

}  // namespace on_device

}  // namespace micrec
