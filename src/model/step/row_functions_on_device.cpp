// The functions of row_functions.h for rows that are not on the CPU.
#include <ATen/ATen.h>
#include <glog/logging.h>

#include <memory>
#include <utility>

#include "graph/linear_operator.h"
#include "kernels/gpu.h"
#include "model/model_config.h"
#include "model/step/row_functions.h"

namespace micrec {
namespace on_device {
namespace {

void check_one_group(const RowGroups& groups) {
  CHECK_EQ(groups.groups, 1) << "sums in groups are for the CPU";
}

BlockPairs pairs_of(const std::vector<std::pair<int, int>>& pairs) {
  CHECK_LE(pairs.size(), static_cast<std::size_t>(kMostBlockPairs));
  BlockPairs of_blocks{};
  for (const auto& [first, second] : pairs) {
    of_blocks.first[of_blocks.count] = first;
    of_blocks.second[of_blocks.count++] = second;
  }
  return of_blocks;
}

/// This rank's part of the products of rows; see block_dots(). Shapes   returns (pairs, n) float64.
at::Tensor partial_dots(const at::Tensor& rows, std::int64_t blocks, const BlockPairs& pairs) {
  const std::int64_t n = rows.size(0) / blocks;
  const at::Tensor dots = at::empty({pairs.count, n}, rows.options().dtype(at::kDouble));
  block_dots_on_gpu({address<float>(rows), n, rows.size(1), pairs, address<double>(dots)},
                    rows.device());
  return dots;
}

/// Rows of several sorts that are mixed (kernels/mixed_rows_element.h), and what the way back
/// reads.
struct Mix {
  at::Tensor x;                    // (sorts, rows, width) float32
  at::Tensor index;                // (rows) int32
  std::vector<at::Tensor> tables;  // of each sort (entries) float32
  at::Tensor squares;              // (sorts, rows) float64; undefined: rows are not divided
  const ColumnSums* sums;          // of what depends on all columns; null where nothing does
  at::Tensor along, of_tables;     // on the way back (sorts, rows) float64, (sorts, entries)

  MixedRows call(const at::Tensor& y) const {
    MixedRows call{address<float>(x),
                   static_cast<int>(x.size(0)),
                   x.size(1),
                   x.size(2),
                   address<std::int32_t>(index),
                   {},
                   address<double>(squares),
                   kSmallestContentNorm,
                   address<float>(y)};
    for (std::size_t m = 0; m < tables.size(); ++m) call.tables[m] = address<float>(tables[m]);
    return call;
  }
  MixedRowsGradient gradient_call(const at::Tensor& g, const at::Tensor& of_x) const {
    return {call({}),
            address<float>(g),
            address<double>(along),
            address<float>(of_x),
            tables.front().numel(),
            address<float>(of_tables)};
  }
  void take_along(const at::Tensor& g) {
    if (along.defined()) return;
    along = at::empty({x.size(0), x.size(1)}, x.options().dtype(at::kDouble));
    along_on_gpu(gradient_call(g, {}), x.device());
  }
  at::Tensor gradient_of_x(const at::Tensor& g) {
    take_along(g);
    const at::Tensor of_x = at::empty_like(x);
    MixedRowsGradient call = gradient_call(g, of_x);
    at::Tensor whole;
    if (sums != nullptr) {
      whole = sums->finish("content.backward", along);
      call.along = address<double>(whole);
    }
    of_mixed_on_gpu(call, x.device());
    return of_x;
  }
  at::Tensor gradient_of_table(std::size_t sort, const at::Tensor& g) {
    take_along(g);
    if (!of_tables.defined()) {
      of_tables = at::empty({x.size(0), tables.front().numel()}, x.options());
      of_tables_on_gpu(gradient_call(g, {}), x.device());
    }
    return of_tables[static_cast<std::int64_t>(sort)].view({1, -1, 1});
  }
};

/// The sums of the rows of `x`, which has those of `mix`, times the numbers of copies[sort]: (1,
/// entries, 1).
at::Tensor mixed(const char* name, const at::Tensor& x, const std::vector<at::Tensor>& copies,
                 const std::shared_ptr<Mix>& mix) {
  static_assert(kMostSorts >= kMostModalities);
  CHECK(mix->x.scalar_type() == at::kFloat && mix->x.is_contiguous() && mix->index.is_contiguous());
  for (const at::Tensor& copy : copies) {
    CHECK(copy.size(0) == 1 && copy.size(2) == 1) << "beside a GPU a table has a number an entry";
    mix->tables.push_back(copy.detach().view({-1}));
  }
  const at::Tensor y = at::empty({mix->x.size(1), mix->x.size(2)}, mix->x.options());
  mixed_rows_on_gpu(mix->call(y), y.device());
  std::vector<LinearInput> inputs;
  inputs.push_back({x, [mix, shape = x.sizes().vec()](const at::Tensor& g) {
                      return mix->gradient_of_x(g).view(shape);
                    }});
  for (std::size_t m = 0; m < copies.size(); ++m) {
    inputs.push_back(
        {copies[m], [mix, m](const at::Tensor& g) { return mix->gradient_of_table(m, g); }});
  }
  return with_transposes(name, y, std::move(inputs));
}

}  // namespace

at::Tensor times_table(const at::Tensor& x, const at::Tensor& index, const at::Tensor& copies,
                       const RowGroups& groups) {
  check_one_group(groups);
  return mixed("times_table", x, {copies},
               std::make_shared<Mix>(
                   Mix{x.detach().contiguous().unsqueeze(0), index, {}, {}, nullptr, {}, {}}));
}

at::Tensor times_row(const at::Tensor& x, const at::Tensor& copies, const RowGroups& groups) {
  check_one_group(groups);
  const at::Tensor rows = x.detach();
  const at::Tensor factor = copies.detach()[0];  // (1, width)
  return with_transposes("times_row", rows * factor,
                         {{x, [factor](const at::Tensor& g) { return g * factor; }},
                          {copies, [rows](const at::Tensor& g) {
                             return (g * rows).sum(0, /*keepdim=*/true).unsqueeze(0);
                           }}});
}

at::Tensor content_rows(const at::Tensor& projections, const at::Tensor& pattern,
                        const std::vector<at::Tensor>& copies, const RowGroups& groups,
                        const ColumnSums& sums) {
  check_one_group(groups);
  const at::Tensor p = projections.detach().contiguous();
  const at::Tensor squares =
      partial_dots(p.view({-1, p.size(2)}), 1, pairs_of({{0, 0}})).view({p.size(0), p.size(1)});
  return mixed("content_rows", projections, copies,
               std::make_shared<Mix>(
                   Mix{p, pattern, {}, sums.finish("content.norms", squares), &sums, {}, {}}));
}

at::Tensor block_dots(const char* name, const at::Tensor& x, std::int64_t blocks,
                      const std::vector<std::pair<int, int>>& pairs, const ColumnSums& sums) {
  const at::Tensor rows = x.detach().contiguous();
  CHECK_EQ(rows.scalar_type(), at::kFloat);
  const BlockPairs of_blocks = pairs_of(pairs);
  const std::int64_t n = rows.size(0) / blocks;
  const at::Tensor y = sums.finish(name, partial_dots(rows, blocks, of_blocks));
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
  const at::Tensor slope = at::empty_like(values);           // (2 or 5, n)
  const at::Tensor sums = at::empty({3}, values.options());  // of the ranking, the squares, both
  const at::Tensor partial = at::empty({2 * triple_chunks(n)}, values.options());
  triple_loss_on_gpu({values.const_data_ptr<double>(), weight.const_data_ptr<double>(), n,
                      square_weight, values.size(0) == 5, slope.mutable_data_ptr<double>(),
                      partial.mutable_data_ptr<double>(), sums.mutable_data_ptr<double>()},
                     values.device());
  parts.ranking = sums.slice(0, 0, 1);
  parts.squares = sums.slice(0, 1, 2);
  // Detached, so that autograd sees no view.
  return with_transpose("triple_loss", dots, sums[2].detach(),
                        [slope](const at::Tensor& g) { return slope * g; });
}

}  // namespace on_device

}  // namespace micrec
