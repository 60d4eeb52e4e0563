#include "model/step/column_sums.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <vector>

namespace micrec {
namespace {

constexpr int kMostLeaves = 64;

/// The sum of term(column) over leaves of so many columns.
template <typename Term>
double sum_of_leaves(std::int64_t count, std::int64_t width, const Term& term) {
  double leaves[kMostLeaves];
  leaves[0] = 0;  // there is one at least
  for (std::int64_t leaf = 0; leaf < count; ++leaf) {
    double sum = 0;
    for (std::int64_t c = leaf * width; c < (leaf + 1) * width; ++c) sum += term(c);
    leaves[leaf] = sum;
  }
  for (; count > 1; count /= 2) {
    for (std::int64_t i = 0; i < count / 2; ++i) leaves[i] = leaves[2 * i] + leaves[2 * i + 1];
  }
  return leaves[0];
}

}  // namespace

ColumnSums::ColumnSums(const ProcessGrid& grid, int dim, Communicator* columns)
    : columns_(columns),
      width_(columns_of(grid, dim, 0).size()),
      leaves_(column_leaves(dim) / grid.columns),
      leaf_width_(width_ / leaves_) {
  CHECK_LE(leaves_, kMostLeaves);
  CHECK_EQ(columns == nullptr ? 1 : columns->size(), grid.columns);
}

double ColumnSums::dot(const float* a, const float* b) const {
  return sum_of_leaves(leaves_, leaf_width_, [&](std::int64_t c) {
    return static_cast<double>(a[c]) * static_cast<double>(b[c]);
  });
}

double ColumnSums::sum(const double* x) const {
  return sum_of_leaves(leaves_, leaf_width_, [&](std::int64_t c) { return x[c]; });
}

at::Tensor ColumnSums::finish(const char* name, const at::Tensor& partial) const {
  if (columns_ == nullptr) return partial;
  const at::Tensor all = columns_->all_gather(name, partial.reshape({1, -1}).contiguous(),
                                              std::vector<std::int64_t>(columns_->size(), 1));
  return tree_sum(all).reshape(partial.sizes());
}

at::Tensor tree_sum(at::Tensor x) {
  CHECK_GE(x.size(0), 1);
  while (x.size(0) > 1) {
    const std::int64_t pairs = x.size(0) / 2;
    const at::Tensor sums = x.slice(0, 0, 2 * pairs, 2) + x.slice(0, 1, 2 * pairs, 2);
    x = 2 * pairs == x.size(0) ? sums : at::cat({sums, x.slice(0, 2 * pairs)});
  }
  return x[0];
}

}  // namespace micrec
