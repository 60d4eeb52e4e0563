#include "model/contrastive_share.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/parallel.h"
#include "graph/linear_operator.h"
#include "kernels/streamed_softmax.h"

namespace micrec {
namespace {

constexpr double kLeastSquare = 1e-16;     // of a norm that a row is divided by
constexpr std::int64_t kRowsPerTask = 64;  // of normalising
constexpr double kLn2 = 0.69314718055994530942;

// log x for normal x > 0. The C library's own has other bits on processors with fused
// multiply-adds.
double natural_log(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < 0.70710678118654752) {
    mantissa *= 2;
    --exponent;
  }
  // log m = 2 artanh z, |z| < 0.172: the terms left out are below 1e-18.
  const double z = (mantissa - 1) / (mantissa + 1);
  double sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * (z * z) + 1.0 / k;
  return exponent * kLn2 + 2 * z * sum;
}

// Writes x / |x| for every row and returns what was divided by, or minus that where it is not the
// norm but the least norm allowed.
std::vector<double> normalise(const at::Tensor& x, float* to, std::int64_t stride, int threads) {
  const std::int64_t dim = x.size(1);
  const float* const from = x.const_data_ptr<float>();
  std::vector<double> divisors(x.size(0));
  parallel_for(x.size(0), kRowsPerTask, threads, [&](std::int64_t row, std::int64_t end) {
    for (; row < end; ++row) {
      const float* const values = from + row * dim;
      double square = 0;
      for (std::int64_t c = 0; c < dim; ++c) square += double{values[c]} * values[c];
      const bool least = square < kLeastSquare;
      const double divisor = std::sqrt(least ? kLeastSquare : square);
      for (std::int64_t c = 0; c < dim; ++c) {
        to[row * stride + c] = static_cast<float>(values[c] / divisor);
      }
      divisors[row] = least ? -divisor : divisor;
    }
  });
  return divisors;
}

// The gradient in x from that in u = x / |x|, in place: factor * (g - u <u, g>) / |x|.
void through_normalising(const float* u, std::int64_t stride, const std::vector<double>& divisors,
                         double factor, int threads, at::Tensor& gradient) {
  const std::int64_t dim = gradient.size(1);
  float* const data = gradient.mutable_data_ptr<float>();
  parallel_for(gradient.size(0), kRowsPerTask, threads, [&](std::int64_t row, std::int64_t end) {
    for (; row < end; ++row) {
      const float* const unit = u + row * stride;
      float* const g = data + row * dim;
      double along = 0;
      if (divisors[row] > 0) {
        for (std::int64_t c = 0; c < dim; ++c) along += double{unit[c]} * g[c];
      }
      const double scale = factor / std::abs(divisors[row]);
      for (std::int64_t c = 0; c < dim; ++c) {
        g[c] = static_cast<float>((g[c] - unit[c] * along) * scale);
      }
    }
  });
}

// What travels of a person besides their rows.
struct Sums {
  struct Side {
    float inverse;   // 1 / the sum of exponentials ...
    float exponent;  // ... in units of this power of two
  };
  Side first;
  Side second;
  float loss;  // their two cross entropies
};
constexpr std::int64_t kSumsWidth = sizeof(Sums) / sizeof(float);
static_assert(kSumsWidth == 5);

// One side's sums, people in their order.
struct OrderedSums {
  explicit OrderedSums(std::int64_t people)
      : inverse((people + kSoftmaxGroup - 1) / kSoftmaxGroup * kSoftmaxGroup),
        exponent(inverse.size()) {}
  SoftmaxNormalisers view() const { return {inverse.data(), exponent.data()}; }

  std::vector<float> inverse;
  std::vector<float> exponent;
};

// The sums of one side's own people.
struct OwnSums {
  explicit OwnSums(std::int64_t people) : sums(people), exponents(people), own_logits(people) {}

  double cross_entropy(std::int64_t n) const {
    return natural_log(sums[n]) + kLn2 * (double{exponents[n]} - own_logits[n]);
  }
  Sums::Side side(std::int64_t n) const { return {static_cast<float>(1 / sums[n]), exponents[n]}; }

  std::vector<double> sums;
  std::vector<float> exponents;
  std::vector<float> own_logits;
};

// Of all people of a step what one rank knows.
struct SharedPeople {
  std::int64_t count = 0;
  std::int64_t own = 0;
  std::int64_t offset = 0;  // of this rank's people among all
  std::int64_t dim = 0;
  int threads = 1;
  double temperature = 1;
  std::vector<std::int32_t> positions;  // (count) of the people of all ranks, rank 0's first ...
  std::vector<std::int32_t> places;     // (count) ... and where among them a position is
  at::Tensor rows;                      // (count, 2 dim) unit rows of both sides, rank 0's first
  std::vector<double> first_divisors;   // (own)
  std::vector<double> second_divisors;  // (own)
  OrderedSums first_sums{0};
  OrderedSums second_sums{0};

  // The rows of one side: own ones, and all in the order of their positions.
  SoftmaxRows own_rows(bool second) const {
    return {side(second) + offset * 2 * dim, 2 * dim, own, positions.data() + offset};
  }
  SoftmaxFactor all_rows(bool second) const {
    return {side(second), 2 * dim, dim, count, places.data()};
  }
  const float* side(bool second) const { return rows.const_data_ptr<float>() + (second ? dim : 0); }
  float scale() const { return static_cast<float>(1 / (kLn2 * temperature)); }
  /// That the gradient of one person's part is divided by.
  double divisor() const {
    return 2.0 * temperature * static_cast<double>(std::max<std::int64_t>(count, 1));
  }

  void take_places();
  void send_rows(const at::Tensor& first, const at::Tensor& second,
                 const std::vector<std::int64_t>& rows_per_rank, Communicator& communicator);
  double sum_losses(const std::vector<std::int64_t>& rows_per_rank, Communicator& communicator);
  at::Tensor gradient(bool second, double upstream) const;
};

void SharedPeople::take_places() {
  CHECK_EQ(static_cast<std::int64_t>(positions.size()), count);
  places.assign(count, -1);
  for (std::int64_t n = 0; n < count; ++n) {
    const std::int32_t position = positions[n];
    CHECK(position >= 0 && position < count && places[position] < 0)
        << "position " << position << " of " << count << " people";
    places[position] = static_cast<std::int32_t>(n);
  }
}

void SharedPeople::send_rows(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank,
                             Communicator& communicator) {
  const at::Tensor unit = at::empty({own, 2 * dim}, first.options());
  float* const to = unit.mutable_data_ptr<float>();
  first_divisors = normalise(first.contiguous(), to, 2 * dim, threads);
  second_divisors = normalise(second.contiguous(), to + dim, 2 * dim, threads);
  rows = communicator.all_gather("contrastive.rows", unit, rows_per_rank);
}

// Tells all ranks the sums of own people's softmaxes and returns the sum of everybody's losses, in
// the order of positions.
double SharedPeople::sum_losses(const std::vector<std::int64_t>& rows_per_rank,
                                Communicator& communicator) {
  OwnSums of_first(own), of_second(own);
  softmax_sums(own_rows(false), all_rows(true), scale(), threads, of_first.sums.data(),
               of_first.exponents.data(), of_first.own_logits.data());
  softmax_sums(own_rows(true), all_rows(false), scale(), threads, of_second.sums.data(),
               of_second.exponents.data(), of_second.own_logits.data());
  const at::Tensor sums = at::empty({own, kSumsWidth}, rows.options());
  auto* const of_own = reinterpret_cast<Sums*>(sums.mutable_data_ptr<float>());
  for (std::int64_t n = 0; n < own; ++n) {
    const double both = of_first.cross_entropy(n) + of_second.cross_entropy(n);
    of_own[n] = {of_first.side(n), of_second.side(n), static_cast<float>(both)};
  }
  const at::Tensor gathered = communicator.all_gather("contrastive.sums", sums, rows_per_rank);
  const auto* const of_all = reinterpret_cast<const Sums*>(gathered.const_data_ptr<float>());
  first_sums = OrderedSums(count);
  second_sums = OrderedSums(count);
  double losses = 0;
  for (std::int64_t position = 0; position < count; ++position) {
    const Sums& of_person = of_all[places[position]];
    first_sums.inverse[position] = of_person.first.inverse;
    first_sums.exponent[position] = of_person.first.exponent;
    second_sums.inverse[position] = of_person.second.inverse;
    second_sums.exponent[position] = of_person.second.exponent;
    losses += of_person.loss;
  }
  return losses;
}

at::Tensor SharedPeople::gradient(bool second, double upstream) const {
  const OrderedSums& own_side = second ? second_sums : first_sums;
  const OrderedSums& other_side = second ? first_sums : second_sums;
  OrderedSums own_sums(own);
  const SoftmaxRows of_own = own_rows(second);
  for (std::int64_t n = 0; n < own; ++n) {
    own_sums.inverse[n] = own_side.inverse[of_own.own[n]];
    own_sums.exponent[n] = own_side.exponent[of_own.own[n]];
  }
  at::Tensor result = at::empty({own, dim}, rows.options());
  softmax_gradient(of_own, all_rows(!second), scale(), own_sums.view(), other_side.view(), threads,
                   result.mutable_data_ptr<float>());
  through_normalising(of_own.data, of_own.stride, second ? second_divisors : first_divisors,
                      upstream / divisor(), threads, result);
  return result;
}

// From here on the same of LibTorch's products, for other devices than the CPU.

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
  return (wide / (wide * wide).sum(1, /*keepdim=*/true).clamp_min(kLeastSquare).sqrt())
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

at::Tensor contrastive_share(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank,
                             const std::vector<std::int32_t>& positions, double temperature,
                             Communicator& communicator, int threads) {
  CHECK(first.dim() == 2 && first.sizes() == second.sizes());
  CHECK(first.scalar_type() == at::kFloat && second.scalar_type() == at::kFloat);
  CHECK(first.device() == second.device());
  CHECK_EQ(static_cast<int>(rows_per_rank.size()), communicator.size());
  CHECK_EQ(first.size(0), rows_per_rank[communicator.rank()]);
  CHECK_GT(temperature, 0);
  if (!first.device().is_cpu()) {
    return contrastive_on_device(first, second, rows_per_rank, temperature, communicator);
  }
  const auto people = std::make_shared<SharedPeople>();
  const auto begin = rows_per_rank.begin();
  people->count = std::accumulate(begin, rows_per_rank.end(), std::int64_t{0});
  people->offset = std::accumulate(begin, begin + communicator.rank(), std::int64_t{0});
  people->own = first.size(0);
  people->dim = first.size(1);
  people->threads = threads;
  people->temperature = temperature;
  people->positions = positions;
  people->take_places();
  at::Tensor loss;
  {
    const c10::NoGradGuard no_gradient;
    people->send_rows(first, second, rows_per_rank, communicator);
    const double sum = people->sum_losses(rows_per_rank, communicator);
    const bool counts = communicator.rank() == 0 && people->count > 0;
    loss = at::scalar_tensor(counts ? sum / (2.0 * static_cast<double>(people->count)) : 0.0,
                             people->rows.options().dtype(at::kDouble));
  }
  const auto gradient_of = [&](bool of_second) {
    return [people, of_second](const at::Tensor& upstream) {
      return people->gradient(of_second, upstream.item<double>());
    };
  };
  return with_transposes("contrastive", loss,
                         {{first, gradient_of(false)}, {second, gradient_of(true)}});
}

at::Tensor contrastive_on_device(const at::Tensor& first, const at::Tensor& second,
                                 const std::vector<std::int64_t>& rows_per_rank, double temperature,
                                 Communicator& communicator, std::int64_t tile_numbers) {
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
