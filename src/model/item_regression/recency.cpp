#include "model/item_regression/recency.h"

#include <algorithm>
#include <cmath>

namespace micrec {

bool has_recency(std::span<const double> half_life) {
  return std::ranges::any_of(half_life, [](double of) { return of != kNoRecency; });
}

double half_life_of_domain(std::span<const double> half_life, int domain) {
  return half_life.empty() ? kNoRecency : half_life[domain];
}

std::vector<std::int32_t> count_newer(std::span<const std::int64_t> times) {
  std::vector<std::int64_t> rising(times.begin(), times.end());
  std::ranges::sort(rising);
  std::vector<std::int32_t> newer;
  newer.reserve(times.size());
  for (const std::int64_t time : times) {
    newer.push_back(
        static_cast<std::int32_t>(rising.end() - std::ranges::upper_bound(rising, time)));
  }
  return newer;
}

std::vector<float> recency_weights(std::span<const std::int32_t> newer, double half_life) {
  constexpr double kMostHalvings = 30;  // so that an old one still ranks where it is alone
  std::vector<float> weights;
  if (half_life == kNoRecency) return weights;
  weights.reserve(newer.size());
  for (const std::int32_t of : newer) {
    weights.push_back(static_cast<float>(std::exp2(-std::min(of / half_life, kMostHalvings))));
  }
  return weights;
}

}  // namespace micrec
