#include "model/step/row_functions.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "base/parallel.h"
#include "graph/linear_operator.h"
#include "kernels/row_product.h"
#include "kernels/rows.h"
#include "kernels/triple_element.h"

namespace micrec {
namespace {

constexpr std::int64_t kRowsPerTask = 256;
// Rows of a group that are summed at a time; these sums are then added in order.
constexpr std::int64_t kSummedRows = 1024;

void check_rows(const at::Tensor& x) {
  CHECK(x.scalar_type() == at::kFloat && x.is_contiguous() && x.device().is_cpu());
}

/// The table that all copies are: (entries, width).
at::Tensor first_copy(const at::Tensor& copies) { return copies.detach()[0].contiguous(); }

/// For every group and entry of a table the sum of what add(row, sums) adds for the rows of the
/// group whose index names the entry. Returns (groups, entries, width) float32.
template <typename Add>
at::Tensor summed_by_entry(const RowGroups& groups, const std::int32_t* index,
                           at::IntArrayRef shape, const at::TensorOptions& options,
                           const Add& add) {
  const std::int64_t size = shape[1] * shape[2];
  struct Task {
    std::int64_t group, begin, end;
  };
  std::vector<Task> tasks;
  for (std::int64_t group = 0; group < groups.groups; ++group) {
    const std::int64_t rows = groups.size(group);
    for (std::int64_t begin = 0; begin < rows; begin += kSummedRows) {
      tasks.push_back({group, begin, std::min(rows, begin + kSummedRows)});
    }
  }
  std::vector<double> partial(tasks.size() * size);
  parallel_for(static_cast<std::int64_t>(tasks.size()), 1,
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t t = first; t < last; ++t) {
                   const Task& task = tasks[t];
                   for (std::int64_t n = task.begin; n < task.end; ++n) {
                     const std::int64_t row = groups.row(task.group, n);
                     if (index[row] < 0) continue;
                     add(row, partial.data() + t * size + index[row] * shape[2]);
                   }
                 }
               });
  std::vector<double> sums(groups.groups * size);
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    double* const to = sums.data() + tasks[t].group * size;
    for (std::int64_t i = 0; i < size; ++i) to[i] += partial[t * size + i];
  }
  at::Tensor result = at::empty(shape, options);
  std::copy(sums.begin(), sums.end(), result.mutable_data_ptr<float>());
  return result;
}

/// The content term on the CPU, and what its way back reads.
struct ContentRows {
  at::Tensor p;        // (modalities, n, width) float32 projections
  at::Tensor pattern;  // (n) int32
  RowGroups groups;
  ColumnSums sums;
  std::vector<at::Tensor> tables;  // of each modality (patterns, width) float32
  // (modalities, n) float64: 1 / |p|, or minus that of the smallest norm where |p| is shorter.
  at::Tensor inverse;

  std::int64_t modalities() const { return p.size(0); }
  std::int64_t rows() const { return p.size(1); }
  std::int64_t width() const { return p.size(2); }
  const float* coefficients(std::int64_t m, std::int64_t row) const {
    return tables[m].const_data_ptr<float>() +
           pattern.const_data_ptr<std::int32_t>()[row] * width();
  }
  /// Calls use(m * n + row, its m, its row) for every projection.
  template <typename Use>
  void for_each_projection(const Use& use) const {
    parallel_for(modalities() * rows(), kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) use(n, n / rows(), n % rows());
    });
  }

  at::Tensor forward();
  at::Tensor gradient_of_projections(const at::Tensor& g) const;
  at::Tensor gradient_of_table(std::int64_t m, at::IntArrayRef shape, const at::Tensor& g) const;
};

at::Tensor ContentRows::forward() {
  const std::int64_t n = rows(), columns = width();
  const at::Tensor squares = at::empty({modalities(), n}, p.options().dtype(at::kDouble));
  at::Tensor y = at::empty({n, columns}, p.options());
  const float* const in = p.const_data_ptr<float>();
  double* const partial = squares.mutable_data_ptr<double>();
  for_each_projection([&](std::int64_t at, std::int64_t, std::int64_t) {
    partial[at] = sums.dot(in + at * columns, in + at * columns);
  });
  inverse = sums.finish("content.norms", squares);
  double* const of_row = inverse.mutable_data_ptr<double>();
  float* const out = y.mutable_data_ptr<float>();
  parallel_for(n, kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* const to = out + row * columns;
      std::fill_n(to, columns, 0.0F);
      for (std::int64_t m = 0; m < modalities(); ++m) {
        double& factor = of_row[m * n + row];
        // The sign says whether the row has a direction: shorter ones are divided by a constant.
        const double norm = std::sqrt(factor);
        factor = norm > kSmallestContentNorm ? 1 / norm : -1 / kSmallestContentNorm;
        const auto scale = static_cast<float>(std::abs(factor));
        const float* const from = in + (m * n + row) * columns;
        const float* const c_m = coefficients(m, row);
        for (std::int64_t c = 0; c < columns; ++c) to[c] += c_m[c] * (from[c] * scale);
      }
    }
  });
  return y;
}

at::Tensor ContentRows::gradient_of_projections(const at::Tensor& g) const {
  const std::int64_t columns = width();
  at::Tensor along = at::empty_like(inverse);  // (modalities, n) <g c, p>
  at::Tensor result = at::empty_like(p);
  const float* const in = p.const_data_ptr<float>();
  const float* const slope = g.const_data_ptr<float>();
  float* const out = result.mutable_data_ptr<float>();
  double* const partial = along.mutable_data_ptr<double>();
  for_each_projection([&](std::int64_t n, std::int64_t m, std::int64_t row) {
    const float* const c_m = coefficients(m, row);
    for (std::int64_t c = 0; c < columns; ++c) {
      out[n * columns + c] = slope[row * columns + c] * c_m[c];
    }
    partial[n] = sums.dot(out + n * columns, in + n * columns);
  });
  const at::Tensor dots = sums.finish("content.backward", along);
  const double* const dot = dots.const_data_ptr<double>();
  const double* const factor = inverse.const_data_ptr<double>();
  for_each_projection([&](std::int64_t n, std::int64_t, std::int64_t) {
    const auto scale = static_cast<float>(std::abs(factor[n]));
    const auto radial = static_cast<float>(factor[n] > 0 ? dot[n] * factor[n] * factor[n] : 0.0);
    for (std::int64_t c = n * columns; c < (n + 1) * columns; ++c) {
      out[c] = scale * (out[c] - in[c] * radial);
    }
  });
  return result;
}

at::Tensor ContentRows::gradient_of_table(std::int64_t m, at::IntArrayRef shape,
                                          const at::Tensor& g) const {
  const std::int64_t columns = width();
  const float* const in = p.const_data_ptr<float>() + m * rows() * columns;
  const double* const factor = inverse.const_data_ptr<double>() + m * rows();
  const float* const slope = g.const_data_ptr<float>();
  return summed_by_entry(groups, pattern.const_data_ptr<std::int32_t>(), shape, g.options(),
                         [&](std::int64_t row, double* sums_of_entry) {
                           const auto scale = static_cast<float>(std::abs(factor[row]));
                           for (std::int64_t c = row * columns; c < (row + 1) * columns; ++c) {
                             sums_of_entry[c - row * columns] +=
                                 static_cast<double>(slope[c] * (in[c] * scale));
                           }
                         });
}

}  // namespace

at::Tensor sums_of_rows(const at::Tensor& values, const RowGroups& groups) {
  CHECK_EQ(values.numel(), groups.rows);
  const at::Tensor rows = values.detach().contiguous();
  if (!rows.device().is_cpu()) {
    CHECK_EQ(groups.groups, 1) << "sums in groups are for the CPU";
    return rows.sum().reshape({1});
  }
  const double* const of = rows.const_data_ptr<double>();
  const at::Tensor result = at::zeros({groups.groups}, rows.options());
  double* const sums = result.mutable_data_ptr<double>();
  for (std::int64_t group = 0; group < groups.groups; ++group) {
    for (std::int64_t n = 0; n < groups.size(group); ++n) sums[group] += of[groups.row(group, n)];
  }
  return result;
}

at::Tensor grouped_row_product(const at::Tensor& x, const at::Tensor& copies,
                               const RowGroups& groups) {
  CHECK_EQ(groups.rows, x.size(0));
  const at::Tensor left = x.detach().contiguous();
  const at::Tensor weight = first_copy(copies);
  return with_transposes(
      "grouped_row_product", row_product(left, weight),
      {{x, [weight](const at::Tensor& g) { return row_product_transposed(g, weight); }},
       {copies, [left, groups](const at::Tensor& g) {
          if (!groups.of_group) return row_product_gradient(left, g).unsqueeze(0);
          std::vector<at::Tensor> parts;
          for (const RowList& rows : *groups.of_group) {
            parts.push_back(row_product_gradient(gather_rows(left, rows), gather_rows(g, rows)));
          }
          return at::stack(parts);
        }}});
}

at::Tensor times_table(const at::Tensor& x, const at::Tensor& index, const at::Tensor& copies,
                       const RowGroups& groups) {
  CHECK_EQ(index.size(0), x.size(0));
  CHECK_EQ(groups.rows, x.size(0));
  if (!x.device().is_cpu()) return on_device::times_table(x, index, copies, groups);
  CHECK_EQ(copies.size(2), x.size(1));
  const at::Tensor rows = x.detach().contiguous();
  const at::Tensor table = first_copy(copies);
  const std::int64_t width = rows.size(1);
  check_rows(rows);
  const auto multiplied = [index, table, width](const at::Tensor& from) {
    at::Tensor to = at::empty_like(from);
    const std::int32_t* const of_row = index.const_data_ptr<std::int32_t>();
    const float* const factors = table.const_data_ptr<float>();
    const float* const in = from.const_data_ptr<float>();
    float* const out = to.mutable_data_ptr<float>();
    parallel_for(from.size(0), kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        if (of_row[row] < 0) {
          std::fill_n(out + row * width, width, 0.0F);
          continue;
        }
        const float* const factor = factors + of_row[row] * width;
        for (std::int64_t c = 0; c < width; ++c) {
          out[row * width + c] = in[row * width + c] * factor[c];
        }
      }
    });
    return to;
  };
  const std::vector<std::int64_t> shape = copies.sizes().vec();
  return with_transposes(
      "times_table", multiplied(rows),
      {{x, multiplied}, {copies, [rows, index, groups, shape, width](const at::Tensor& g) {
                           const float* const a = rows.const_data_ptr<float>();
                           const float* const b = g.const_data_ptr<float>();
                           return summed_by_entry(
                               groups, index.const_data_ptr<std::int32_t>(), shape, g.options(),
                               [&](std::int64_t row, double* sums) {
                                 for (std::int64_t c = 0; c < width; ++c) {
                                   sums[c] +=
                                       static_cast<double>(a[row * width + c] * b[row * width + c]);
                                 }
                               });
                         }}});
}

at::Tensor times_row(const at::Tensor& x, const at::Tensor& copies, const RowGroups& groups) {
  CHECK_EQ(copies.size(1), 1);
  if (!x.device().is_cpu()) return on_device::times_row(x, copies, groups);
  return times_table(x, at::zeros({x.size(0)}, at::kInt), copies, groups);
}

at::Tensor content_rows(const at::Tensor& projections, const at::Tensor& pattern,
                        const std::vector<at::Tensor>& copies, const RowGroups& groups,
                        const ColumnSums& sums) {
  CHECK_EQ(projections.size(0), static_cast<std::int64_t>(copies.size()));
  CHECK_EQ(pattern.size(0), projections.size(1));
  CHECK_EQ(groups.rows, projections.size(1));
  CHECK_EQ(projections.size(2), sums.width());
  if (!projections.device().is_cpu()) {
    return on_device::content_rows(projections, pattern, copies, groups, sums);
  }
  const auto content = std::make_shared<ContentRows>(
      ContentRows{projections.detach().contiguous(), pattern, groups, sums, {}, {}});
  check_rows(content->p);
  for (const at::Tensor& copy : copies) content->tables.push_back(first_copy(copy));
  std::vector<LinearInput> inputs;
  inputs.push_back({projections, [content](const at::Tensor& g) {
                      return content->gradient_of_projections(g);
                    }});
  for (std::size_t m = 0; m < copies.size(); ++m) {
    inputs.push_back(
        {copies[m], [content, m, shape = copies[m].sizes().vec()](const at::Tensor& g) {
           return content->gradient_of_table(static_cast<std::int64_t>(m), shape, g);
         }});
  }
  return with_transposes("content_rows", content->forward(), std::move(inputs));
}

at::Tensor block_dots(const char* name, const at::Tensor& x, std::int64_t blocks,
                      const std::vector<std::pair<int, int>>& pairs, const ColumnSums& sums) {
  CHECK_EQ(x.size(0) % blocks, 0);
  CHECK_EQ(x.size(1), sums.width());
  if (!x.device().is_cpu()) return on_device::block_dots(name, x, blocks, pairs, sums);
  const at::Tensor rows = x.detach().contiguous();
  check_rows(rows);
  const std::int64_t n = rows.size(0) / blocks;
  const std::int64_t width = rows.size(1);
  at::Tensor partial =
      at::empty({static_cast<std::int64_t>(pairs.size()), n}, rows.options().dtype(at::kDouble));
  const float* const in = rows.const_data_ptr<float>();
  double* const dots = partial.mutable_data_ptr<double>();
  parallel_for(n, kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
        dots[static_cast<std::int64_t>(pair) * n + t] = sums.dot(
            in + (pairs[pair].first * n + t) * width, in + (pairs[pair].second * n + t) * width);
      }
    }
  });
  const at::Tensor y = sums.finish(name, partial);
  return with_transpose("block_dots", x, y, [rows, in, pairs, n, width](const at::Tensor& g) {
    at::Tensor result = at::zeros_like(rows);
    const double* const slope = g.const_data_ptr<double>();
    float* const out = result.mutable_data_ptr<float>();
    parallel_for(n, kRowsPerTask, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
          const auto factor = static_cast<float>(slope[static_cast<std::int64_t>(pair) * n + t]);
          const std::int64_t a = (pairs[pair].first * n + t) * width;
          const std::int64_t b = (pairs[pair].second * n + t) * width;
          for (std::int64_t c = 0; c < width; ++c) out[a + c] += factor * in[b + c];
          for (std::int64_t c = 0; c < width; ++c) out[b + c] += factor * in[a + c];
        }
      }
    });
    return result;
  });
}

at::Tensor triple_loss(const at::Tensor& dots, const at::Tensor& weight, double square_weight,
                       const RowGroups& groups, TripleSums& parts) {
  CHECK(dots.scalar_type() == at::kDouble && weight.scalar_type() == at::kDouble);
  CHECK(dots.size(0) == 2 || dots.size(0) == 5);
  CHECK(weight.device() == dots.device() && weight.is_contiguous());
  CHECK_EQ(weight.numel(), dots.size(1));
  CHECK_EQ(groups.rows, dots.size(1));
  if (!dots.device().is_cpu()) {
    return on_device::triple_loss(dots, weight, square_weight, groups, parts);
  }
  const at::Tensor values = dots.detach().contiguous();
  const std::int64_t n = values.size(1);
  const bool has_squares = values.size(0) == 5;
  at::Tensor slope = at::empty_like(values);
  at::Tensor ranking_of = at::empty_like(weight), squares_of = at::zeros_like(weight);  // (n)
  const double* const of = values.const_data_ptr<double>();
  const double* const weights = weight.const_data_ptr<double>();
  double* const out = slope.mutable_data_ptr<double>();
  double* const of_ranking = ranking_of.mutable_data_ptr<double>();
  double* const of_squares = squares_of.mutable_data_ptr<double>();
  for (std::int64_t t = 0; t < n; ++t) {
    const RankingOfPair pair = ranking_of_pair(of[t], of[n + t]);
    of_ranking[t] = weights[t] * pair.loss;
    out[t] = -weights[t] * pair.slope;
    out[n + t] = weights[t] * pair.slope;
    if (!has_squares) continue;
    of_squares[t] = weights[t] * (of[2 * n + t] + of[3 * n + t] + of[4 * n + t]);
    for (int row = 2; row < 5; ++row) out[row * n + t] = weights[t] * square_weight;
  }
  parts.ranking = sums_of_rows(ranking_of, groups);
  parts.squares = sums_of_rows(squares_of, groups);
  const auto sum_of = [](const at::Tensor& sums) {
    const double* const of_group = sums.const_data_ptr<double>();
    return std::accumulate(of_group, of_group + sums.numel(), 0.0);
  };
  const double ranking = sum_of(parts.ranking);
  const double squares = sum_of(parts.squares);
  parts.squares.mul_(square_weight);
  at::Tensor total = at::full({}, ranking + square_weight * squares, values.options());
  return with_transpose("triple_loss", dots, total,
                        [slope](const at::Tensor& g) { return slope * g; });
}

}  // namespace micrec
