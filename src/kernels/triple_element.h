#pragma once

#include <cmath>
#include <cstdint>

#include "base/kernel_inline.h"

// The ranking of triples, number by number: the same on a CPU and on a GPU. What is below the first
// function is a GPU's alone.
namespace micrec {

/// softplus(negative - positive) and its slope in the negative's score.
struct RankingOfPair {
  double loss;
  double slope;
};

MICREC_KERNEL_INLINE RankingOfPair ranking_of_pair(double positive, double negative) {
  const double x = negative - positive;
  const double small = exp(-fabs(x));  // never overflows
  return {(x < 0 ? 0.0 : x) + log1p(small), (x >= 0 ? 1.0 : small) / (1 + small)};
}

/// The loss of n triples, a chunk of them after the other. All on a GPU.
struct TripleCall {
  const double* dots;  // (2 or 5, n): score of the positive, of the negative; squares of three rows
  const double* weight;  // (n)
  std::int64_t n;
  double square_weight;
  bool has_squares;
  double* slopes;   // as dots
  double* partial;  // (chunks, 2) sums of the ranking and of the squares
  double* sums;     // (3) of the ranking; of the squares, weighted; of both
};

inline constexpr int kTripleThreads = 512;  // of a chunk
inline constexpr std::int64_t kTripleChunk = 16 * kTripleThreads;

/// There is one of no triples too, so that the sums are written.
MICREC_SHARED_INLINE std::int64_t triple_chunks(std::int64_t n) {
  return n <= kTripleChunk ? 1 : (n + kTripleChunk - 1) / kTripleChunk;
}

struct TriplePair {
  double ranking, squares;

  MICREC_KERNEL_INLINE TriplePair& operator+=(const TriplePair& other) {
    ranking += other.ranking;
    squares += other.squares;
    return *this;
  }
};

/// A thread's triples of a chunk: their slopes, and the sums of their losses.
MICREC_KERNEL_INLINE TriplePair triples_of_thread(const TripleCall& call, std::int64_t chunk,
                                                  int thread) {
  TriplePair sum{0, 0};
  const std::int64_t n = call.n;
  const std::int64_t begin = chunk * kTripleChunk;
  const std::int64_t end = n - begin < kTripleChunk ? n : begin + kTripleChunk;
  for (std::int64_t t = begin + thread; t < end; t += kTripleThreads) {
    const double weight = call.weight[t];
    const RankingOfPair pair = ranking_of_pair(call.dots[t], call.dots[n + t]);
    sum.ranking += weight * pair.loss;
    call.slopes[t] = -weight * pair.slope;
    call.slopes[n + t] = weight * pair.slope;
    if (!call.has_squares) continue;
    sum.squares += weight * (call.dots[2 * n + t] + call.dots[3 * n + t] + call.dots[4 * n + t]);
    for (int row = 2; row < 5; ++row) call.slopes[row * n + t] = weight * call.square_weight;
  }
  return sum;
}

/// The sums of all triples.
MICREC_KERNEL_INLINE void finish_triples(const TripleCall& call, const TriplePair& sum) {
  call.sums[0] = sum.ranking;
  call.sums[1] = call.square_weight * sum.squares;
  call.sums[2] = call.sums[0] + call.sums[1];
}

/// The sums of all chunks, in order, where there are several.
MICREC_KERNEL_INLINE void add_triple_chunks(const TripleCall& call) {
  TriplePair sum{0, 0};
  for (std::int64_t chunk = 0; chunk < triple_chunks(call.n); ++chunk) {
    sum += {call.partial[2 * chunk], call.partial[2 * chunk + 1]};
  }
  finish_triples(call, sum);
}

}  // namespace micrec
