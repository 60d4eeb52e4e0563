#include "model/contrastive_on_device.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <numeric>

#include "graph/linear_operator.h"

namespace micrec {
namespace {

constexpr double kSmallestSquare = 1e-16;  // of a norm that a row is divided by
constexpr std::int64_t kTileColumns = 16'384;

struct Tile {
  std::int64_t row_begin, row_end, column_begin, column_end;
};

// Rows outermost, so that the tiles of a row block come one after the other.
std::vector<Tile> tiles_of(std::int64_t rows, std::int64_t columns, std::int64_t tile_numbers) {
  const std::int64_t width = std::min({kTileColumns, tile_numbers, columns});
  std::vector<Tile> tiles;
  if (rows == 0 || columns == 0) return tiles;
  const std::int64_t height = std::max<std::int64_t>(1, tile_numbers / width);
  for (std::int64_t r = 0; r < rows; r += height) {
    for (std::int64_t c = 0; c < columns; c += width) {
      tiles.push_back({r, std::min(rows, r + height), c, std::min(columns, c + width)});
    }
  }
  return tiles;
}

at::Tensor unit_rows(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kDouble);
  return (wide / (wide * wide).sum(1, /*keepdim=*/true).clamp_min(kSmallestSquare).sqrt())
      .to(at::kFloat);
}

at::Tensor logits_of(const at::Tensor& own, const at::Tensor& all, const Tile& tile,
                     double temperature) {
  return at::mm(own.slice(0, tile.row_begin, tile.row_end),
                all.slice(0, tile.column_begin, tile.column_end).t())
      .div_(temperature);
}

/// (own) log of the sum of exp(own_i . all_j / temperature) over j.
at::Tensor log_sums(const at::Tensor& own, const at::Tensor& all, double temperature,
                    std::int64_t tile_numbers) {
  at::Tensor result = at::full({own.size(0)}, -INFINITY, own.options());
  for (const Tile& tile : tiles_of(own.size(0), all.size(0), tile_numbers)) {
    at::Tensor of_rows = result.slice(0, tile.row_begin, tile.row_end);
    of_rows.copy_(at::logaddexp(of_rows, at::logsumexp(logits_of(own, all, tile, temperature), 1)));
  }
  return result;
}

/// What the loss, times 2 P temperature, loses for every step along own rows: attracted by all
/// others as both softmaxes say, repelled by the own person's row.
at::Tensor gradient_of_rows(const at::Tensor& own, const at::Tensor& all,
                            const at::Tensor& own_sums, const at::Tensor& all_sums,
                            std::int64_t offset, double temperature, std::int64_t tile_numbers) {
  at::Tensor gradient = at::zeros_like(own);
  for (const Tile& tile : tiles_of(own.size(0), all.size(0), tile_numbers)) {
    const at::Tensor logits = logits_of(own, all, tile, temperature);
    const at::Tensor of_rows = own_sums.slice(0, tile.row_begin, tile.row_end).unsqueeze(1);
    const at::Tensor of_columns = all_sums.slice(0, tile.column_begin, tile.column_end);
    const at::Tensor shares = (logits - of_rows).exp_().add_((logits - of_columns).exp_());
    gradient.slice(0, tile.row_begin, tile.row_end)
        .addmm_(shares, all.slice(0, tile.column_begin, tile.column_end));
  }
  return gradient.sub_(all.slice(0, offset, offset + own.size(0)), 2);
}

}  // namespace

at::Tensor contrastive_on_device(const at::Tensor& first, const at::Tensor& second,
                                 const std::vector<std::int64_t>& rows_per_rank, double temperature,
                                 Communicator& communicator, std::int64_t tile_numbers) {
  CHECK(first.dim() == 2 && first.sizes() == second.sizes());
  CHECK_GT(temperature, 0);
  const auto begin = rows_per_rank.begin();
  const auto people = std::accumulate(begin, rows_per_rank.end(), std::int64_t{0});
  const auto offset = std::accumulate(begin, begin + communicator.rank(), std::int64_t{0});
  const std::int64_t dim = first.size(1);
  const at::Tensor a = unit_rows(first);  // LibTorch knows the gradient of dividing by the norm
  const at::Tensor b = unit_rows(second);
  at::Tensor loss, own_a, own_b, all_a, all_b, sums_a, sums_b;
  {
    const c10::NoGradGuard no_gradient;
    own_a = a.detach();
    own_b = b.detach();
    const at::Tensor all =
        communicator.all_gather("contrastive.rows", at::cat({own_a, own_b}, 1), rows_per_rank);
    all_a = all.slice(1, 0, dim).contiguous();
    all_b = all.slice(1, dim, 2 * dim).contiguous();
    const at::Tensor own_sums_a = log_sums(own_a, all_b, temperature, tile_numbers);
    const at::Tensor own_sums_b = log_sums(own_b, all_a, temperature, tile_numbers);
    const at::Tensor positives =
        (own_a.to(at::kDouble) * own_b.to(at::kDouble)).sum(1).div(temperature).to(at::kFloat);
    const at::Tensor losses = own_sums_a + own_sums_b - 2 * positives;
    const at::Tensor of_all = communicator.all_gather(
        "contrastive.sums", at::stack({own_sums_a, own_sums_b, losses}, 1), rows_per_rank);
    sums_a = of_all.select(1, 0).contiguous();
    sums_b = of_all.select(1, 1).contiguous();
    const double scale = people == 0 ? 0 : 1 / (2.0 * static_cast<double>(people));
    loss = of_all.select(1, 2).to(at::kDouble).sum() * (communicator.rank() == 0 ? scale : 0);
  }
  const auto gradient_of = [=](bool of_second) {
    return [=](const at::Tensor& upstream) {
      const at::Tensor& own = of_second ? own_b : own_a;
      const at::Tensor& own_sums = of_second ? sums_b : sums_a;
      const at::Tensor gradient = gradient_of_rows(
          own, of_second ? all_a : all_b, own_sums.slice(0, offset, offset + own.size(0)),
          of_second ? sums_a : sums_b, offset, temperature, tile_numbers);
      const double scale =
          2.0 * temperature * static_cast<double>(std::max<std::int64_t>(people, 1));
      return gradient * (upstream / scale).to(at::kFloat);
    };
  };
  return with_transposes("contrastive", loss, {{a, gradient_of(false)}, {b, gradient_of(true)}});
}

}  // namespace micrec
