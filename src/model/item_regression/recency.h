#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace micrec {

// How what a person did fades in the sum of coefficients over their history. An interaction counts
//
//   2^(-newer / half_life)
//
// where `newer` is how many of the person's interactions in the same domain are later, so that
// positions will do for times, and in every domain the latest count 1. A half-life is of the domain
// whose items are scored.

/// The half-life where every interaction counts 1.
inline constexpr double kNoRecency = 0;

/// Whether a history fades for any of these half-lives.
bool has_recency(std::span<const double> half_life);

/// A domain's among the half-lives of all domains, or of none: kNoRecency.
double half_life_of_domain(std::span<const double> half_life, int domain);

/// How many of a person's interactions in a domain are later than each of them.
///
/// Shapes   times: (n) in any order; returns (n).
std::vector<std::int32_t> count_newer(std::span<const std::int64_t> times);

/// What interactions count, in float32, none less than 2^-30; none, for each 1, where there is no
/// half-life or `newer` is empty because nobody knows what came when.
///
/// Shapes   newer: (n) or none; returns (n) or none.
std::vector<float> recency_weights(std::span<const std::int32_t> newer, double half_life);

}  // namespace micrec
