// The functions of row_functions.h for rows that are not on the CPU.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include "graph/linear_operator.h"
#include "kernels/gpu.h"
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

at::Tensor times_row(const at::Tensor& x, const at::Tensor& copies, const RowGroups& groups) {
  check_one_group(groups);
  const at::Tensor rows = x.detach();
  const at::Tensor factor = first_copy(copies);  // (1, width)
  at::Tensor y;
  {
    const c10::NoGradGuard no_gradient;
    y = rows * factor;
  }
  return with_transposes("times_row", y,
                         {{x, [factor](const at::Tensor& g) { return g * factor; }},
                          {copies, [rows](const at::Tensor& g) {
                             return (g * rows).sum(0, /*keepdim=*/true).unsqueeze(0);
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
  const at::Tensor rows = x.detach().contiguous();
  CHECK_EQ(rows.scalar_type(), at::kFloat);
  CHECK_LE(pairs.size(), static_cast<std::size_t>(kMostBlockPairs)) << name;
  BlockPairs of_blocks{};
  for (const auto& [first, second] : pairs) {
    of_blocks.first[of_blocks.count] = first;
    of_blocks.second[of_blocks.count++] = second;
  }
  const std::int64_t n = rows.size(0) / blocks;
  at::Tensor y;
  {
    const c10::NoGradGuard no_gradient;
    const at::Tensor dots = at::empty({of_blocks.count, n}, rows.options().dtype(at::kDouble));
    block_dots_on_gpu(
        {rows.const_data_ptr<float>(), n, rows.size(1), of_blocks, dots.mutable_data_ptr<double>()},
        rows.device());
    y = sums.finish(name, dots);
  }
  return with_transpose("block_dots", x, y, [rows, of_blocks, blocks, n](const at::Tensor& g) {
    at::Tensor result = at::empty_like(rows);
    block_slopes_on_gpu({rows.const_data_ptr<float>(), g.const_data_ptr<double>(), n, rows.size(1),
                         blocks, of_blocks, result.mutable_data_ptr<float>()},
                        rows.device());
    return result;
  });
}

at::Tensor triple_loss(const at::Tensor& dots, const at::Tensor& weight, double square_weight,
                       const RowGroups& groups, TripleSums& parts) {
  const at::Tensor values = dots.detach().contiguous();
  check_one_group(groups);
  const std::int64_t n = values.size(1);
  at::Tensor slope, sums;  // (2 or 5, n); (3): of the ranking, of the squares, of both
  {
    const c10::NoGradGuard no_gradient;
    slope = at::empty_like(values);
    sums = at::empty({3}, values.options());
    const at::Tensor partial = at::empty({2 * triple_chunks(n)}, values.options());
    triple_loss_on_gpu({values.const_data_ptr<double>(), weight.const_data_ptr<double>(), n,
                        square_weight, values.size(0) == 5, slope.mutable_data_ptr<double>(),
                        partial.mutable_data_ptr<double>(), sums.mutable_data_ptr<double>()},
                       values.device());
  }
  parts.ranking = sums.slice(0, 0, 1);
  parts.squares = sums.slice(0, 1, 2);
  // Detached, so that autograd sees no view.
  return with_transpose("triple_loss", dots, sums[2].detach(),
                        [slope](const at::Tensor& g) { return slope * g; });
}

}  // namespace on_device

}  // namespace micrec
