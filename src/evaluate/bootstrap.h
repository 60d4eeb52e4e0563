#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace micrec {

struct BootstrapOptions {
  std::int64_t resamples = 10'000;
  std::uint64_t seed = 0;
};

/// Means of every column over resampled users: a resample draws as many users as there are, each
/// with equal chance and with replacement, and takes all their columns, so columns stay paired.
///
/// Samples of other streams are independent.
///
/// Shapes   values: (users, columns); returns (resamples, columns).
/// Cost     resamples * (users who have a value other than 0) additions a column: of those without
///          one a resample needs to know only how many it drew, which is one binomial number.
/// Source   Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13.
std::vector<double> resampled_means(std::span<const double> values, std::int64_t columns,
                                    const BootstrapOptions& options, std::uint32_t stream = 0);

struct Interval {
  double low = 0;
  double high = 0;
  bool holds_zero() const { return low <= 0 && high >= 0; }
};

/// The middle 95% of the values: their 2.5% and 97.5% quantiles, linear between neighbours. Empty
/// input gives {0, 0}.
Interval middle_95(std::vector<double> values);

}  // namespace micrec
