#include "evaluate/bootstrap.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "base/random.h"

namespace micrec {
namespace {

/// Numbers of one resample, one after the other.
/// Source   SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
class Sequence {
 public:
  explicit Sequence(const std::array<std::uint32_t, 4>& bits)
      : state_(std::uint64_t{bits[0]} << 32 | bits[1]) {}

  std::uint64_t next() {
    std::uint64_t x = state_ += 0x9e3779b97f4a7c15U;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
  }
  /// Uniform in [0, size), but for 2^-64 * size.
  std::uint64_t below(std::uint64_t size) {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(next()) * size >> 64);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

/// How many of `users` draws fall on one of `chosen` users, by inversion of the distribution.
class Draws {
 public:
  Draws(std::int64_t users, std::int64_t chosen) : first_(chosen) {
    if (chosen == 0 || chosen == users) {
      first_ = chosen == 0 ? 0 : users;
      return;
    }
    const auto n = static_cast<double>(users);
    const double p = static_cast<double>(chosen) / n;
    // What lies further from the mean than this has a chance below 1e-20.
    const double reach = 10 * std::sqrt(n * p * (1 - p)) + 50;
    first_ = std::max<std::int64_t>(0, std::llround(n * p - reach));
    const std::int64_t last = std::min<std::int64_t>(users, std::llround(n * p + reach));
    double sum = 0;
    for (std::int64_t k = first_; k <= last; ++k) {
      const auto hits = static_cast<double>(k);
      sum += std::exp(std::lgamma(n + 1) - std::lgamma(hits + 1) - std::lgamma(n - hits + 1) +
                      hits * std::log(p) + (n - hits) * std::log1p(-p));
      cumulative_.push_back(sum);
    }
    for (double& value : cumulative_) value /= sum;
  }

  std::int64_t draw(Sequence& sequence) const {
    if (cumulative_.empty()) return first_;
    const auto place =
        std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, sequence.uniform());
    return first_ + (place - cumulative_.begin());
  }

 private:
  std::int64_t first_;
  std::vector<double> cumulative_;
};

}  // namespace

std::vector<double> resampled_means(std::span<const double> values, std::int64_t columns,
                                    const BootstrapOptions& options, std::uint32_t stream) {
  CHECK_GE(columns, 1);
  CHECK_EQ(static_cast<std::int64_t>(values.size()) % columns, 0);
  const std::int64_t users = static_cast<std::int64_t>(values.size()) / columns;
  std::vector<double> means(options.resamples * columns, 0.0);
  if (users == 0) return means;

  std::vector<double> kept;  // rows with something in them
  for (std::int64_t u = 0; u < users; ++u) {
    const std::span<const double> row = values.subspan(u * columns, columns);
    if (std::ranges::any_of(row, [](double v) { return v != 0; })) {
      kept.insert(kept.end(), row.begin(), row.end());
    }
  }
  const std::int64_t chosen = static_cast<std::int64_t>(kept.size()) / columns;
  const Draws draws(users, chosen);
  const Random random(options.seed, Purpose::resampling, stream);
  parallel_for(options.resamples, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      Sequence sequence(random.bits(r));
      double* sum = means.data() + r * columns;
      for (std::int64_t left = draws.draw(sequence); left > 0; --left) {
        const double* row = kept.data() + sequence.below(chosen) * columns;
        for (std::int64_t c = 0; c < columns; ++c) sum[c] += row[c];
      }
      for (std::int64_t c = 0; c < columns; ++c) sum[c] /= static_cast<double>(users);
    }
  });
  return means;
}

Interval middle_95(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - std::floor(place)) * (values[above] - values[below]);
  };
  return {quantile(0.025), quantile(0.975)};
}

}  // namespace micrec
