#include "model/contrastive.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/parallel.h"
#include "base/random.h"
#include "graph/linear_operator.h"
#include "kernels/streamed_softmax.h"
#include "model/contrastive_on_device.h"

namespace micrec {
namespace {

constexpr double kLeastSquare = 1e-16;     // of a norm
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

}  // namespace

std::vector<OverlapPair> find_overlaps(const DatasetSummary& summary) {
  const NodeSpace& space = summary.space;
  const int domains = space.domains();
  std::vector<std::vector<std::int32_t>> node_of(
      domains, std::vector<std::int32_t>(summary.people.count, -1));
  for (std::int64_t user = 0; user < space.users(); ++user) {
    if (summary.training_degree[user] == 0) continue;
    const auto node = GlobalNode(static_cast<std::int32_t>(user));
    node_of[space.domain_of(node)][summary.people.person[user]] = value(node);
  }
  std::vector<OverlapPair> pairs;
  for (int k = 0; k < domains; ++k) {
    for (int l = k + 1; l < domains; ++l) {
      OverlapPair pair{k, l, {}, {}};
      for (std::int64_t person = 0; person < summary.people.count; ++person) {
        if (node_of[k][person] < 0 || node_of[l][person] < 0) continue;
        pair.first.push_back(GlobalNode(node_of[k][person]));
        pair.second.push_back(GlobalNode(node_of[l][person]));
      }
      if (pair.first.size() >= 2) pairs.push_back(std::move(pair));
    }
  }
  return pairs;
}

ContrastiveBatch choose_people(const OverlapPair& pair, const Shard& shard, std::int64_t batch_size,
                               std::uint64_t seed, std::int64_t step) {
  const auto people = static_cast<std::int64_t>(pair.first.size());
  const bool all = batch_size <= 0 || batch_size >= people;
  const std::int64_t chosen = all ? people : batch_size;
  const Permutation permutation(people, seed, Purpose::contrastive_batch,
                                static_cast<std::uint32_t>(step));
  ContrastiveBatch batch;
  batch.rows_per_rank.assign(shard.whole.ranks, 0);
  std::vector<std::int32_t> owners(chosen);
  for (std::int64_t position = 0; position < chosen; ++position) {
    const auto person = all ? position : static_cast<std::int64_t>(permutation.at(position));
    const std::int32_t first = value(pair.first[person]);
    const std::int32_t second = value(pair.second[person]);
    const std::int32_t owner = shard.whole.owner[first];
    DCHECK_EQ(owner, shard.whole.owner[second]) << "a person's nodes have one owner";
    owners[position] = owner;
    ++batch.rows_per_rank[owner];
    if (shard.row_of[first] < 0) continue;
    batch.first_rows.push_back(shard.row_of[first]);
    batch.second_rows.push_back(shard.row_of[second]);
  }
  std::vector<std::int64_t> next(shard.whole.ranks, 0);
  std::partial_sum(batch.rows_per_rank.begin(), batch.rows_per_rank.end() - 1, next.begin() + 1);
  batch.positions.resize(chosen);
  for (std::int64_t position = 0; position < chosen; ++position) {
    batch.positions[next[owners[position]]++] = static_cast<std::int32_t>(position);
  }
  return batch;
}

// All people of a step as one rank sees them.
struct ContrastiveExchange::People {
  std::int64_t count = 0;
  std::int64_t own = 0;
  std::int64_t offset = 0;  // of this rank's people among all
  std::int64_t dim = 0;
  int threads = 1;
  std::vector<std::int64_t> rows_per_rank;
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
};

ContrastiveExchange::ContrastiveExchange(const at::Tensor& first, const at::Tensor& second,
                                         const std::vector<std::int64_t>& rows_per_rank,
                                         std::vector<std::int32_t> positions,
                                         Communicator& communicator, int threads)
    : people_(std::make_shared<People>()),
      first_(first),
      second_(second),
      communicator_(&communicator) {
  CHECK(first.dim() == 2 && first.sizes() == second.sizes());
  CHECK(first.scalar_type() == at::kFloat && second.scalar_type() == at::kFloat);
  CHECK(first.device().is_cpu() && second.device().is_cpu());
  CHECK_EQ(static_cast<int>(rows_per_rank.size()), communicator.size());
  People& people = *people_;
  const auto begin = rows_per_rank.begin();
  people.rows_per_rank = rows_per_rank;
  people.count = std::accumulate(begin, rows_per_rank.end(), std::int64_t{0});
  people.offset = std::accumulate(begin, begin + communicator.rank(), std::int64_t{0});
  people.own = rows_per_rank[communicator.rank()];
  people.dim = first.size(1);
  people.threads = threads;
  CHECK_EQ(first.size(0), people.own);
  CHECK_EQ(static_cast<std::int64_t>(positions.size()), people.count);
  people.places.assign(people.count, -1);
  for (std::int64_t n = 0; n < people.count; ++n) {
    const std::int32_t position = positions[n];
    CHECK(position >= 0 && position < people.count && people.places[position] < 0)
        << "position " << position << " of " << people.count << " people";
    people.places[position] = static_cast<std::int32_t>(n);
  }
  people.positions = std::move(positions);

  const at::NoGradGuard no_grad;
  const at::Tensor own = at::empty({people.own, 2 * people.dim}, first.options());
  float* const rows = own.mutable_data_ptr<float>();
  people.first_divisors = normalise(first.contiguous(), rows, 2 * people.dim, threads);
  people.second_divisors =
      normalise(second.contiguous(), rows + people.dim, 2 * people.dim, threads);
  people.rows = communicator.all_gather("contrastive.rows", own, rows_per_rank);
}

at::Tensor ContrastiveExchange::finish(double temperature) {
  CHECK_GT(temperature, 0);
  const std::shared_ptr<People> people = people_;
  const std::int64_t own = people->own;
  const int threads = people->threads;
  const auto scale = static_cast<float>(1 / (kLn2 * temperature));
  at::Tensor loss;
  {
    const at::NoGradGuard no_grad;
    OwnSums first(own), second(own);
    softmax_sums(people->own_rows(false), people->all_rows(true), scale, threads, first.sums.data(),
                 first.exponents.data(), first.own_logits.data());
    softmax_sums(people->own_rows(true), people->all_rows(false), scale, threads,
                 second.sums.data(), second.exponents.data(), second.own_logits.data());
    const at::Tensor sums = at::empty({own, kSumsWidth}, people->rows.options());
    auto* const of_own = reinterpret_cast<Sums*>(sums.mutable_data_ptr<float>());
    for (std::int64_t n = 0; n < own; ++n) {
      const double both = first.cross_entropy(n) + second.cross_entropy(n);
      of_own[n] = {first.side(n), second.side(n), static_cast<float>(both)};
    }
    const at::Tensor gathered =
        communicator_->all_gather("contrastive.sums", sums, people->rows_per_rank);
    const auto* const of_all = reinterpret_cast<const Sums*>(gathered.const_data_ptr<float>());
    people->first_sums = OrderedSums(people->count);
    people->second_sums = OrderedSums(people->count);
    double sum = 0;
    for (std::int64_t position = 0; position < people->count; ++position) {
      const Sums& of_person = of_all[people->places[position]];
      people->first_sums.inverse[position] = of_person.first.inverse;
      people->first_sums.exponent[position] = of_person.first.exponent;
      people->second_sums.inverse[position] = of_person.second.inverse;
      people->second_sums.exponent[position] = of_person.second.exponent;
      sum += of_person.loss;
    }
    const bool counts = communicator_->rank() == 0 && people->count > 0;
    loss = at::scalar_tensor(counts ? sum / (2.0 * static_cast<double>(people->count)) : 0.0,
                             people->rows.options().dtype(at::kDouble));
  }
  const auto gradient_of = [people, scale, temperature](bool second) {
    return [people, scale, temperature, second](const at::Tensor& upstream) {
      const OrderedSums& own_side = second ? people->second_sums : people->first_sums;
      const OrderedSums& other_side = second ? people->first_sums : people->second_sums;
      OrderedSums own_sums(people->own);
      const SoftmaxRows rows = people->own_rows(second);
      for (std::int64_t n = 0; n < people->own; ++n) {
        own_sums.inverse[n] = own_side.inverse[rows.own[n]];
        own_sums.exponent[n] = own_side.exponent[rows.own[n]];
      }
      at::Tensor gradient = at::empty({people->own, people->dim}, people->rows.options());
      softmax_gradient(rows, people->all_rows(!second), scale, own_sums.view(), other_side.view(),
                       people->threads, gradient.mutable_data_ptr<float>());
      const double factor =
          upstream.item<double>() /
          (2.0 * temperature * static_cast<double>(std::max<std::int64_t>(people->count, 1)));
      through_normalising(rows.data, rows.stride,
                          second ? people->second_divisors : people->first_divisors, factor,
                          people->threads, gradient);
      return gradient;
    };
  };
  return with_transposes("contrastive", loss,
                         {{first_, gradient_of(false)}, {second_, gradient_of(true)}});
}

at::Tensor contrastive_share(const at::Tensor& first, const at::Tensor& second,
                             const std::vector<std::int64_t>& rows_per_rank,
                             const std::vector<std::int32_t>& positions, double temperature,
                             Communicator& communicator, int threads) {
  if (!first.device().is_cpu()) {
    return contrastive_on_device(first, second, rows_per_rank, temperature, communicator);
  }
  return ContrastiveExchange(first, second, rows_per_rank, positions, communicator, threads)
      .finish(temperature);
}

}  // namespace micrec
