#include "model/solved/implicit_rows.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <span>

#include "base/parallel.h"
#include "kernels/cholesky.h"
#include "kernels/dispatch.h"
#include "kernels/packed_matrix.h"
#include "kernels/upload.h"

namespace micrec {
namespace {

constexpr std::int64_t kNeighbours = 256;  // of a long list, added to a system at a time
constexpr std::int64_t kTaskRows = 8 * kSystemLanes;

/// What the systems of a group are made in.
class Workspace {
 public:
  Workspace(std::int64_t most, std::int64_t dim)
      : width(kernels().panel_width),
        panels(floats((most + width - 1) / width * width * std::max(dim, kNeighbours))),
        matrices(floats(kSystemLanes * most * most)),
        interleaved(floats(floats_of_matrices(most))),
        right(floats(floats_of_right_sides(most))) {}

  std::int64_t n = 0;                 // unknowns of each, set for every group
  const std::int64_t width;           // of a panel
  std::unique_ptr<float[]> panels;    // (n in panels, inner, width)
  std::unique_ptr<float[]> matrices;  // (16, n, n)
  std::unique_ptr<float[]> interleaved;
  std::unique_ptr<float[]> right;

  float* matrix(std::int64_t lane) { return matrices.get() + lane * n * n; }

  /// The lower triangle of P'P, of the panels (inner, size), into a lane's matrix or onto it; what
  /// lies beyond `size` becomes or stays zero.
  void add_square(std::int64_t lane, std::int64_t size, std::int64_t inner, bool onto) {
    for (std::int64_t row = 0; row < size; row += width) {
      for (std::int64_t column = 0; column <= row; column += width) {
        kernels().multiply(
            {.x = panels.get() + row * inner,
             .x_row_stride = 1,
             .x_inner_stride = width,
             .rows = std::min(width, n - row),
             .inner = inner,
             .panel = panels.get() + column * inner,
             .y = matrix(lane) + row * n + column,
             .y_stride = n,
             .columns = static_cast<int>(std::min(width, n - column)),
             .start = onto ? ProductBlock::Start::continued : ProductBlock::Start::zero});
      }
    }
  }

  /// Makes the rows of a lane's system from `size` on those of the identity.
  void fill_up(std::int64_t lane, std::int64_t size) {
    for (std::int64_t row = size; row < n; ++row) {
      float* const to = matrix(lane) + row * n;
      std::fill_n(to, row, 0.0F);
      to[row] = 1;
      right[row * kSystemLanes + lane] = 0;
    }
  }

  void solve() {
    SystemMatrices side_by_side{n, {}, interleaved.get()};
    for (std::int64_t lane = 0; lane < kSystemLanes; ++lane) {
      side_by_side.matrix[lane] = matrix(lane);
    }
    kernels().interleave(side_by_side);
    kernels().solve_positive({n, interleaved.get(), right.get()});
  }

 private:
  static std::unique_ptr<float[]> floats(std::int64_t count) {
    return std::make_unique_for_overwrite<float[]>(count);
  }
};

/// Solves groups of rows into the result.
class RowSolver {
 public:
  RowSolver(const ImplicitRows& problem, SolvedRows& result)
      : problem_(problem),
        dim_(problem.z.size(1)),
        z_(problem.z.const_data_ptr<float>()),
        x_(result.x.mutable_data_ptr<float>()),
        misfit_(result.misfit) {}

  /// Of `places` in the list of rows, at most 16, all of which have at most dim neighbours or all
  /// more.
  void solve(std::span<const std::int64_t> places, Workspace& work) const {
    const bool is_small = problem_.degree(places.front()) <= dim_;
    for (std::int64_t lane = 0; lane < kSystemLanes; ++lane) {
      if (lane >= std::ssize(places)) {
        work.fill_up(lane, 0);
      } else if (is_small) {
        fill_small(places[lane], lane, work);
      } else {
        fill_large(places[lane], lane, work);
      }
    }
    work.solve();
    for (std::int64_t lane = 0; lane < std::ssize(places); ++lane) {
      if (is_small) {
        take_small(places[lane], lane, work);
      } else {
        take_large(places[lane], lane, work);
      }
    }
  }

 private:
  const float* neighbour(std::int64_t place, std::int64_t number) const {
    const std::int64_t at = problem_.pattern.begin(problem_.rows[place]) + number;
    return z_ + problem_.columns.position(problem_.pattern.columns[at]) * dim_;
  }

  double diagonal(std::int64_t column, double penalty) const {
    return problem_.shared[column] + penalty;
  }

  // I + Z D^-1 Z', and ones.
  void fill_small(std::int64_t place, std::int64_t lane, Workspace& work) const {
    const std::int64_t size = problem_.degree(place);
    const double penalty = problem_.penalty(size);
    std::vector<float> scale(dim_);
    for (std::int64_t c = 0; c < dim_; ++c) {
      scale[c] = static_cast<float>(1 / std::sqrt(diagonal(c, penalty)));
    }
    for (std::int64_t begin = 0; begin < size; begin += work.width) {
      float* const panel = work.panels.get() + begin * dim_;
      if (size - begin < work.width) std::fill_n(panel, dim_ * work.width, 0.0F);
      for (std::int64_t k = begin; k < std::min(size, begin + work.width); ++k) {
        const float* const from = neighbour(place, k);
        float* const to = panel + k - begin;
        for (std::int64_t c = 0; c < dim_; ++c) to[c * work.width] = from[c] * scale[c];
      }
    }
    work.add_square(lane, size, dim_, false);
    work.fill_up(lane, size);
    for (std::int64_t k = 0; k < size; ++k) {
      work.matrix(lane)[k * work.n + k] += 1;
      work.right[k * kSystemLanes + lane] = 1;
    }
  }

  // The solution is 1 - <z_c, x> for every neighbour; x = D^-1 Z' of it.
  void take_small(std::int64_t place, std::int64_t lane, const Workspace& work) const {
    const std::int64_t size = problem_.degree(place);
    const double penalty = problem_.penalty(size);
    float* const x = x_ + place * dim_;
    double sum = 0;
    for (std::int64_t k = 0; k < size; ++k) {
      const float weight = work.right[k * kSystemLanes + lane];
      const float* const from = neighbour(place, k);
      sum += weight;
      for (std::int64_t c = 0; c < dim_; ++c) x[c] += weight * from[c];
    }
    for (std::int64_t c = 0; c < dim_; ++c) {
      x[c] = static_cast<float>(x[c] / diagonal(c, penalty));
    }
    misfit_[place] = sum;
  }

  // D + Z'Z, and the sum of the neighbours, which is kept in x.
  void fill_large(std::int64_t place, std::int64_t lane, Workspace& work) const {
    const std::int64_t size = problem_.degree(place);
    const double penalty = problem_.penalty(size);
    float* const sum = x_ + place * dim_;
    for (std::int64_t begin = 0; begin < size; begin += kNeighbours) {
      const std::int64_t some = std::min(kNeighbours, size - begin);
      for (std::int64_t k = 0; k < some; ++k) {
        const float* const from = neighbour(place, begin + k);
        for (std::int64_t c = 0; c < dim_; ++c) sum[c] += from[c];
        for (std::int64_t c = 0; c < dim_; c += work.width) {
          float* const to = work.panels.get() + c * some + k * work.width;
          const std::int64_t columns = std::min(work.width, dim_ - c);
          std::copy_n(from + c, columns, to);
          std::fill(to + columns, to + work.width, 0.0F);
        }
      }
      work.add_square(lane, dim_, some, begin > 0);
    }
    work.fill_up(lane, dim_);
    for (std::int64_t c = 0; c < dim_; ++c) {
      work.matrix(lane)[c * work.n + c] += static_cast<float>(diagonal(c, penalty));
      work.right[c * kSystemLanes + lane] = sum[c];
    }
  }

  void take_large(std::int64_t place, std::int64_t lane, const Workspace& work) const {
    float* const x = x_ + place * dim_;
    auto misfit = static_cast<double>(problem_.degree(place));
    for (std::int64_t c = 0; c < dim_; ++c) {
      const float solution = work.right[c * kSystemLanes + lane];
      misfit -= static_cast<double>(x[c]) * solution;
      x[c] = solution;
    }
    misfit_[place] = misfit;
  }

  const ImplicitRows& problem_;
  std::int64_t dim_;
  const float* z_;
  float* x_;
  std::vector<double>& misfit_;
};

SolvedRows unsolved(const ImplicitRows& problem) {
  CHECK_EQ(problem.z.size(0), problem.columns.size());
  CHECK_EQ(problem.z.size(1), static_cast<std::int64_t>(problem.shared.size()));
  const auto rows = static_cast<std::int64_t>(problem.rows.size());
  return {at::zeros({rows, problem.z.size(1)}, problem.z.options()), std::vector<double>(rows, 0)};
}

/// Places in the list of rows by falling degree, without those that have no neighbours.
std::vector<std::int64_t> by_degree(const ImplicitRows& problem) {
  std::vector<std::int64_t> places(problem.rows.size());
  std::iota(places.begin(), places.end(), 0);
  std::erase_if(places, [&](std::int64_t place) { return problem.degree(place) == 0; });
  std::ranges::stable_sort(places, std::ranges::greater(),
                           [&](std::int64_t place) { return problem.degree(place); });
  return places;
}

}  // namespace

SolvedRows solve_implicit_rows(const ImplicitRows& problem) {
  SolvedRows result = unsolved(problem);
  const std::int64_t dim = problem.z.size(1);
  const RowSolver solver(problem, result);
  const std::vector<std::int64_t> places = by_degree(problem);
  const auto first_small = static_cast<std::int64_t>(
      std::ranges::partition_point(
          places, [&](std::int64_t place) { return problem.degree(place) > dim; }) -
      places.begin());
  const auto solve_between = [&](std::int64_t first, std::int64_t last) {
    parallel_for(last - first, kTaskRows, [&](std::int64_t begin, std::int64_t end) {
      std::unique_ptr<Workspace> work;
      for (std::int64_t at = first + begin; at < first + end; at += kSystemLanes) {
        const std::span<const std::int64_t> group(
            places.data() + at, std::min<std::int64_t>(kSystemLanes, first + end - at));
        const std::int64_t n = padded_system(std::min(dim, problem.degree(group.front())));
        if (!work) work = std::make_unique<Workspace>(n, dim);  // no later group has more
        work->n = n;
        solver.solve(group, *work);
      }
    });
  };
  solve_between(0, first_small);
  solve_between(first_small, static_cast<std::int64_t>(places.size()));
  return result;
}

SolvedRows solve_implicit_rows_by_torch(const ImplicitRows& problem) {
  constexpr std::int64_t kMostNumbers = std::int64_t{1} << 26;  // of a batch's matrices
  SolvedRows result = unsolved(problem);
  const std::int64_t dim = problem.z.size(1);
  const c10::Device device = problem.z.device();
  const at::Tensor shared =
      at::tensor(problem.shared, at::TensorOptions(at::kDouble)).to(device, at::kFloat);
  // One more row, of zeros, for lists that are shorter than the longest of a batch.
  const at::Tensor z = at::cat({problem.z, at::zeros({1, dim}, problem.z.options())});
  const std::vector<std::int64_t> places = by_degree(problem);
  for (std::size_t begin = 0; begin < places.size();) {
    const std::int64_t longest = problem.degree(places[begin]);
    const std::int64_t most = std::max<std::int64_t>(1, kMostNumbers / (dim * dim + dim * longest));
    const std::size_t end =
        std::min<std::size_t>(places.size(), begin + static_cast<std::size_t>(most));
    std::vector<std::int32_t> list;
    std::vector<std::int64_t> to(places.begin() + static_cast<std::ptrdiff_t>(begin),
                                 places.begin() + static_cast<std::ptrdiff_t>(end));
    std::vector<float> penalty;
    for (const std::int64_t place : to) {
      const std::int64_t first = problem.pattern.begin(problem.rows[place]);
      penalty.push_back(static_cast<float>(problem.penalty(problem.degree(place))));
      for (std::int64_t k = 0; k < longest; ++k) {
        const bool is_there = k < problem.degree(place);
        list.push_back(static_cast<std::int32_t>(
            is_there ? problem.columns.position(problem.pattern.columns[first + k])
                     : problem.z.size(0)));
      }
    }
    const auto rows = static_cast<std::int64_t>(to.size());
    const at::Tensor lists = z.index_select(0, upload(list, device)).view({rows, longest, dim});
    at::Tensor systems = lists.transpose(1, 2).bmm(lists);
    systems.diagonal(0, 1, 2).add_(shared + upload(penalty, device).unsqueeze(1));
    const at::Tensor sums = lists.sum(1).unsqueeze(2);  // (rows, dim, 1)
    const at::Tensor factors = std::get<0>(at::linalg_cholesky_ex(systems));
    const at::Tensor x = at::cholesky_solve(sums, factors);
    result.x.index_copy_(0, at::tensor(to, at::kLong).to(device), x.squeeze(2));
    const at::Tensor fit = (sums * x).sum(1).to(at::kDouble).cpu();
    for (std::int64_t r = 0; r < rows; ++r) {
      result.misfit[to[r]] =
          static_cast<double>(problem.degree(to[r])) - fit.const_data_ptr<double>()[r];
    }
    begin = end;
  }
  return result;
}

}  // namespace micrec
