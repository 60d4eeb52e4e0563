#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace micrec {

/// What a random number is for; each purpose has its own stream.
enum class Purpose : std::uint16_t {
  initial_values = 1,
  permutation = 2,
  negatives = 3,
  template_dropout = 4,
  cold_simulation = 5,
  contrastive_batch = 6,
  user_sampling = 7,
  split = 8,
  hold_out = 9,
  synthetic = 10,
  history_sample = 11,
  resampling = 12,
  neighbour_sample = 13,
};

/// Random numbers as a function of (seed, purpose, time, id, draw), without any state, so that they
/// depend neither on the number of ranks nor on what was drawn before.
///
/// Source   Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).
class Random {
 public:
  /// `time` is the step or the epoch, 0 where the purpose has none.
  Random(std::uint64_t seed, Purpose purpose, std::uint32_t time = 0)
      : seed_(seed), purpose_(purpose), time_(time) {}

  /// 128 random bits of the thing numbered `id`; `draw` (below 65,536) tells repeated draws apart.
  std::array<std::uint32_t, 4> bits(std::uint64_t id, std::uint32_t draw = 0) const;

  /// The first 64 of these bits, the first 32 in the upper half.
  std::uint64_t first_word(std::uint64_t id, std::uint32_t draw = 0) const;
  /// Writes the same over every id, at half the cost. ids: (count).
  void first_words(std::uint64_t* ids, std::size_t count, std::uint32_t draw = 0) const;

  /// Uniform in [0, 1), 53 bits.
  double uniform(std::uint64_t id, std::uint32_t draw = 0) const;

  /// Uniform in [0, size); size >= 1.
  std::uint64_t index(std::uint64_t size, std::uint64_t id, std::uint32_t draw = 0) const;

  /// Two independent standard normal numbers (Box-Muller).
  std::array<double, 2> normal(std::uint64_t id, std::uint32_t draw = 0) const;

 private:
  std::uint32_t last_word(std::uint32_t draw) const {
    return static_cast<std::uint32_t>(purpose_) << 16 | (draw & 0xFFFFU);
  }

  std::uint64_t seed_;
  Purpose purpose_;
  std::uint32_t time_;
};

/// A bijection of [0, size) chosen by (seed, purpose, time), computed number by number in both
/// directions.
///
/// Cost     No memory; a few dozen integer operations a call.
/// Source   Feistel network with cycle walking (Black and Rogaway, CT-RSA 2002).
class Permutation {
 public:
  Permutation(std::uint64_t size, std::uint64_t seed, Purpose purpose, std::uint32_t time = 0);

  std::uint64_t size() const { return size_; }
  /// The number at a position, and the position of a number: at(position_of(x)) == x.
  std::uint64_t at(std::uint64_t position) const;
  std::uint64_t position_of(std::uint64_t number) const;

 private:
  static constexpr int kRounds = 6;
  std::uint64_t encrypt(std::uint64_t number) const;
  std::uint64_t decrypt(std::uint64_t number) const;

  std::uint64_t size_;
  int left_bits_ = 0;
  int right_bits_ = 0;
  std::array<std::uint32_t, kRounds> keys_{};
};

/// A well mixed 32-bit hash of a 32-bit number.
constexpr std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x21f0aaadU;
  x ^= x >> 15;
  x *= 0xd35a2d97U;
  x ^= x >> 15;
  return x;
}

}  // namespace micrec
