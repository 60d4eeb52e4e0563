#include "model/contrastive_share.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/parallel.h"
#include "graph/linear_operator.h"
#include "kernels/gpu.h"
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
std::vector<double> normalise(const at::Tensor& x, float* to, std::int64_t stride) {
  const std::int64_t dim = x.size(1);
  const float* const from = x.const_data_ptr<float>();
  std::vector<double> divisors(x.size(0));
  parallel_for(x.size(0), kRowsPerTask, [&](std::int64_t row, std::int64_t end) {
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
                         double factor, at::Tensor& gradient) {
  const std::int64_t dim = gradient.size(1);
  float* const data = gradient.mutable_data_ptr<float>();
  parallel_for(gradient.size(0), kRowsPerTask, [&](std::int64_t row, std::int64_t end) {
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
  Side sides[2];
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

// Who is in a step's loss.
struct StepPeople {
  StepPeople(const at::Tensor& rows, const std::vector<std::int64_t>& rows_per_rank, int rank,
             double temperature)
      : count(std::accumulate(rows_per_rank.begin(), rows_per_rank.end(), std::int64_t{0})),
        own(rows.size(0)),
        offset(
            std::accumulate(rows_per_rank.begin(), rows_per_rank.begin() + rank, std::int64_t{0})),
        dim(rows.size(1)),
        temperature(temperature) {}

  std::int64_t count;
  std::int64_t own;
  std::int64_t offset;  // of this rank's people among all
  std::int64_t dim;
  double temperature;

  /// That the sum of all losses is divided by.
  double halves() const { return 2.0 * static_cast<double>(std::max<std::int64_t>(count, 1)); }
  /// That the gradient of one person's part is divided by.
  double divisor() const { return halves() * temperature; }
};

// Of all people of a step what one rank knows.
struct SharedPeople : StepPeople {
  using StepPeople::StepPeople;

  std::vector<std::int32_t> positions;  // (count) of the people of all ranks, rank 0's first ...
  std::vector<std::int32_t> places;     // (count) ... and where among them a position is
  at::Tensor rows;                      // (count, 2 dim) unit rows of both sides, rank 0's first
  std::vector<double> divisors[2];      // (own) of each side
  OrderedSums sums[2] = {OrderedSums(0), OrderedSums(0)};

  // The rows of one side: own ones, and all in the order of their positions.
  SoftmaxRows own_rows(int side) const {
    return {rows_of(side) + offset * 2 * dim, 2 * dim, own, positions.data() + offset};
  }
  SoftmaxFactor all_rows(int side) const {
    return {rows_of(side), 2 * dim, dim, count, places.data()};
  }
  const float* rows_of(int side) const { return rows.const_data_ptr<float>() + side * dim; }
  float scale() const { return static_cast<float>(1 / (kLn2 * temperature)); }

  void take_places();
  void send_rows(const at::Tensor& first, const at::Tensor& second,
                 const std::vector<std::int64_t>& rows_per_rank, Communicator& communicator);
  double sum_losses(const std::vector<std::int64_t>& rows_per_rank, Communicator& communicator);
  at::Tensor gradient(int side, double upstream) const;
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
  divisors[0] = normalise(first.contiguous(), to, 2 * dim);
  divisors[1] = normalise(second.contiguous(), to + dim, 2 * dim);
  rows = communicator.all_gather("contrastive.rows", unit, rows_per_rank);
}

// Tells all ranks the sums of own people's softmaxes and returns the sum of everybody's losses, in
// the order of positions.
double SharedPeople::sum_losses(const std::vector<std::int64_t>& rows_per_rank,
                                Communicator& communicator) {
  OwnSums of_sides[2] = {OwnSums(own), OwnSums(own)};
  for (const int side : {0, 1}) {
    OwnSums& of = of_sides[side];
    softmax_sums(own_rows(side), all_rows(1 - side), scale(), of.sums.data(), of.exponents.data(),
                 of.own_logits.data());
  }
  const at::Tensor told = at::empty({own, kSumsWidth}, rows.options());
  auto* const of_own = reinterpret_cast<Sums*>(told.mutable_data_ptr<float>());
  for (std::int64_t n = 0; n < own; ++n) {
    const double both = of_sides[0].cross_entropy(n) + of_sides[1].cross_entropy(n);
    of_own[n] = {{of_sides[0].side(n), of_sides[1].side(n)}, static_cast<float>(both)};
  }
  const at::Tensor gathered = communicator.all_gather("contrastive.sums", told, rows_per_rank);
  const auto* const of_all = reinterpret_cast<const Sums*>(gathered.const_data_ptr<float>());
  for (OrderedSums& of_side : sums) of_side = OrderedSums(count);
  double losses = 0;
  for (std::int64_t position = 0; position < count; ++position) {
    const Sums& of_person = of_all[places[position]];
    for (const int side : {0, 1}) {
      sums[side].inverse[position] = of_person.sides[side].inverse;
      sums[side].exponent[position] = of_person.sides[side].exponent;
    }
    losses += of_person.loss;
  }
  return losses;
}

at::Tensor SharedPeople::gradient(int side, double upstream) const {
  OrderedSums own_sums(own);
  const SoftmaxRows of_own = own_rows(side);
  for (std::int64_t n = 0; n < own; ++n) {
    own_sums.inverse[n] = sums[side].inverse[of_own.own[n]];
    own_sums.exponent[n] = sums[side].exponent[of_own.own[n]];
  }
  at::Tensor result = at::empty({own, dim}, rows.options());
  softmax_gradient(of_own, all_rows(1 - side), scale(), own_sums.view(), sums[1 - side].view(),
                   result.mutable_data_ptr<float>());
  through_normalising(of_own.data, of_own.stride, divisors[side], upstream / divisor(), result);
  return result;
}

// From here on the same for other devices than the CPU: products of LibTorch's, and kernels of
// ours.

constexpr std::int64_t kTileColumns = 16'384;

struct Tile {
  std::int64_t row_begin, row_end, column_begin, column_end;
  std::int64_t rows() const { return row_end - row_begin; }
  std::int64_t columns() const { return column_end - column_begin; }
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

// Of all people of a step what one rank knows on its device.
struct DevicePeople : StepPeople {
  using StepPeople::StepPeople;

  double weight = 1;        // of the loss
  std::vector<Tile> tiles;  // own people by all
  at::Tensor unit;          // (own, 2 dim) unit rows of both sides
  at::Tensor divisors;      // (2, own) float64
  at::Tensor all;           // (count, 2 dim) unit rows of all ranks
  at::Tensor told;          // (count, 3) as PersonLossCall

  c10::Device device() const { return unit.device(); }
  float sharpness() const { return static_cast<float>(1 / temperature); }
  at::Tensor side_of(const at::Tensor& rows, int side) const {
    return rows.narrow(1, side * dim, dim);
  }
  // (rows, columns) of a tile whose rows are of a side.
  at::Tensor cosines(const Tile& tile, int side) const {
    return at::mm(side_of(unit, side).slice(0, tile.row_begin, tile.row_end),
                  side_of(all, 1 - side).slice(0, tile.column_begin, tile.column_end).t());
  }
  void send_rows(const at::Tensor& first, const at::Tensor& second,
                 const std::vector<std::int64_t>& rows_per_rank, Communicator& communicator);
  void send_sums(const std::vector<std::int64_t>& rows_per_rank, Communicator& communicator);
  at::Tensor gradient(int side, const at::Tensor& upstream) const;
};

void DevicePeople::send_rows(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank,
                             Communicator& communicator) {
  const at::Tensor a = first.contiguous();
  const at::Tensor b = second.contiguous();
  unit = at::empty({own, 2 * dim}, a.options());
  divisors = at::empty({2, own}, a.options().dtype(at::kDouble));
  unit_rows_on_gpu({{address<float>(a), address<float>(b)},
                    own,
                    dim,
                    kLeastSquare,
                    address<float>(unit),
                    address<double>(divisors)},
                   device());
  all = communicator.all_gather("contrastive.rows", unit, rows_per_rank);
}

void DevicePeople::send_sums(const std::vector<std::int64_t>& rows_per_rank,
                             Communicator& communicator) {
  const at::Tensor largest = at::empty({2, own}, unit.options());
  const at::Tensor sums = at::empty({2, own}, divisors.options());
  for (int side = 0; side < 2; ++side) {
    for (const Tile& tile : tiles) {
      const at::Tensor of_tile = cosines(tile, side);
      const std::int64_t at = side * own + tile.row_begin;
      softmax_tile_on_gpu(
          {address<float>(of_tile), tile.rows(), tile.columns(), sharpness(),
           tile.column_begin == 0, address<float>(largest) + at, address<double>(sums) + at},
          device());
    }
  }
  const at::Tensor of_own = at::empty({own, 3}, unit.options());
  person_losses_on_gpu({address<float>(unit), address<float>(largest), address<double>(sums), own,
                        dim, sharpness(), address<float>(of_own)},
                       device());
  told = communicator.all_gather("contrastive.sums", of_own, rows_per_rank);
}

// What the loss gains for every step along a side's own rows: attracted by all others as both
// softmaxes say, repelled by the own person's row.
at::Tensor DevicePeople::gradient(int side, const at::Tensor& upstream) const {
  const at::Tensor result = at::empty({own, dim}, unit.options());
  for (const Tile& tile : tiles) {
    const at::Tensor shares = cosines(tile, side);
    attractions_on_gpu(
        {address<float>(shares), tile.rows(), tile.columns(), offset + tile.row_begin,
         tile.column_begin, address<float>(told), side, sharpness()},
        device());
    const double kept = tile.column_begin == 0 ? 0 : 1;
    result.slice(0, tile.row_begin, tile.row_end)
        .addmm_(shares, side_of(all, 1 - side).slice(0, tile.column_begin, tile.column_end), kept);
  }
  unit_gradients_on_gpu(
      {address<float>(unit) + side * dim, address<double>(divisors) + side * own, own, dim,
       address<double>(upstream), weight / divisor(), address<float>(result)},
      device());
  return result;
}

}  // namespace

at::Tensor contrastive_share(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank,
                             const std::vector<std::int32_t>& positions, double temperature,
                             Communicator& communicator, double weight) {
  CHECK(first.dim() == 2 && first.sizes() == second.sizes());
  CHECK(first.scalar_type() == at::kFloat && second.scalar_type() == at::kFloat);
  CHECK(first.device() == second.device());
  CHECK_EQ(static_cast<int>(rows_per_rank.size()), communicator.size());
  CHECK_EQ(first.size(0), rows_per_rank[communicator.rank()]);
  CHECK_GT(temperature, 0);
  if (!first.device().is_cpu()) {
    return contrastive_on_device(first, second, rows_per_rank, temperature, communicator, weight);
  }
  const auto people =
      std::make_shared<SharedPeople>(first, rows_per_rank, communicator.rank(), temperature);
  people->positions = positions;
  people->take_places();
  people->send_rows(first.detach(), second.detach(), rows_per_rank, communicator);
  const double sum = people->sum_losses(rows_per_rank, communicator);
  const at::Tensor loss =
      at::scalar_tensor(communicator.rank() == 0 ? sum / people->halves() * weight : 0.0,
                        people->rows.options().dtype(at::kDouble));
  const auto gradient_of = [&](int side) {
    return [people, side, weight](const at::Tensor& upstream) {
      return people->gradient(side, upstream.item<double>() * weight);
    };
  };
  return with_transposes("contrastive", loss, {{first, gradient_of(0)}, {second, gradient_of(1)}});
}

at::Tensor contrastive_on_device(const at::Tensor& first, const at::Tensor& second,
                                 const std::vector<std::int64_t>& rows_per_rank, double temperature,
                                 Communicator& communicator, double weight,
                                 std::int64_t tile_numbers) {
  const auto people =
      std::make_shared<DevicePeople>(first, rows_per_rank, communicator.rank(), temperature);
  people->weight = weight;
  people->tiles = tiles_of(people->own, people->count, tile_numbers);
  people->send_rows(first.detach(), second.detach(), rows_per_rank, communicator);
  people->send_sums(rows_per_rank, communicator);
  const at::Tensor loss = people->told.select(1, 2).sum(at::kDouble) *
                          (communicator.rank() == 0 ? weight / people->halves() : 0.0);
  const auto gradient_of = [&](int side) {
    return [people, side](const at::Tensor& upstream) { return people->gradient(side, upstream); };
  };
  return with_transposes("contrastive", loss, {{first, gradient_of(0)}, {second, gradient_of(1)}});
}

}  // namespace micrec
