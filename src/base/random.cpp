#include "base/random.h"

#include <glog/logging.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cmath>
#include <numbers>

namespace micrec {
namespace {

// Philox4x32-10.
constexpr std::uint64_t kMultiplier0 = 0xD2511F53U;
constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57U;
constexpr std::uint32_t kKeyStep0 = 0x9E3779B9U;
constexpr std::uint32_t kKeyStep1 = 0xBB67AE85U;
constexpr int kPhiloxRounds = 10;

}  // namespace

std::array<std::uint32_t, 4> Random::bits(std::uint64_t id, std::uint32_t draw) const {
  std::uint32_t key0 = static_cast<std::uint32_t>(seed_);
  std::uint32_t key1 = static_cast<std::uint32_t>(seed_ >> 32);
  std::array<std::uint32_t, 4> c = {static_cast<std::uint32_t>(id),
                                    static_cast<std::uint32_t>(id >> 32), time_, last_word(draw)};
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t product0 = kMultiplier0 * c[0];
    const std::uint64_t product1 = kMultiplier1 * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key0,
         static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key1,
         static_cast<std::uint32_t>(product0)};
    key0 += kKeyStep0;
    key1 += kKeyStep1;
  }
  return c;
}

std::uint64_t Random::first_word(std::uint64_t id, std::uint32_t draw) const {
  const auto b = bits(id, draw);
  return static_cast<std::uint64_t>(b[0]) << 32 | b[1];
}

void Random::first_words(std::uint64_t* ids, std::size_t count, std::uint32_t draw) const {
  std::size_t at = 0;
#if defined(__SSE2__)
  // The same on two ids a register and two registers side by side; what is multiplied is the lower
  // half of 64 bits, the upper one may be anything.
  constexpr std::size_t kRegisters = 2;
  const __m128i multiplier0 = _mm_set1_epi64x(kMultiplier0);
  const __m128i multiplier1 = _mm_set1_epi64x(kMultiplier1);
  for (; at + 2 * kRegisters <= count; at += 2 * kRegisters) {
    auto* const there = reinterpret_cast<__m128i*>(ids + at);
    __m128i c[kRegisters][4];
    for (std::size_t r = 0; r < kRegisters; ++r) {
      c[r][0] = _mm_loadu_si128(there + r);
      c[r][1] = _mm_srli_epi64(c[r][0], 32);
      c[r][2] = _mm_set1_epi64x(time_);
      c[r][3] = _mm_set1_epi64x(last_word(draw));
    }
    std::uint32_t key0 = static_cast<std::uint32_t>(seed_);
    std::uint32_t key1 = static_cast<std::uint32_t>(seed_ >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
      for (auto& [c0, c1, c2, c3] : c) {
        const __m128i product0 = _mm_mul_epu32(multiplier0, c0);
        const __m128i product1 = _mm_mul_epu32(multiplier1, c2);
        c0 = _mm_srli_epi64(product1, 32) ^ c1 ^ _mm_set1_epi64x(key0);
        c1 = product1;
        c2 = _mm_srli_epi64(product0, 32) ^ c3 ^ _mm_set1_epi64x(key1);
        c3 = product0;
      }
      key0 += kKeyStep0;
      key1 += kKeyStep1;
    }
    const __m128i lower = _mm_set1_epi64x(0xFFFFFFFF);
    for (std::size_t r = 0; r < kRegisters; ++r) {
      _mm_storeu_si128(there + r, _mm_slli_epi64(c[r][0], 32) | (c[r][1] & lower));
    }
  }
#endif
  for (; at < count; ++at) {
    ids[at] = first_word(ids[at], draw);
  }
}

double Random::uniform(std::uint64_t id, std::uint32_t draw) const {
  return static_cast<double>(first_word(id, draw) >> 11) * 0x1.0p-53;
}

std::uint64_t Random::index(std::uint64_t size, std::uint64_t id, std::uint32_t draw) const {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(first_word(id, draw)) * size) >>
                                    64);
}

std::array<double, 2> Random::normal(std::uint64_t id, std::uint32_t draw) const {
  const auto b = bits(id, draw);
  const std::uint64_t first = (static_cast<std::uint64_t>(b[0]) << 32) | b[1];
  const std::uint64_t second = (static_cast<std::uint64_t>(b[2]) << 32) | b[3];
  // In (0, 1], so that its logarithm is finite.
  const double u = (static_cast<double>(first >> 11) + 1.0) * 0x1.0p-53;
  const double angle = 2.0 * std::numbers::pi * static_cast<double>(second >> 11) * 0x1.0p-53;
  const double radius = std::sqrt(-2.0 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

Permutation::Permutation(std::uint64_t size, std::uint64_t seed, Purpose purpose,
                         std::uint32_t time)
    : size_(size) {
  CHECK_GE(size, 1U);
  int bits = 2;
  while ((std::uint64_t{1} << bits) < size) ++bits;
  CHECK_LE(bits, 62);
  left_bits_ = bits / 2;
  right_bits_ = bits - left_bits_;
  const Random random(seed, purpose, time);
  for (int round = 0; round < kRounds; ++round) keys_[round] = random.bits(round)[0];
}

// An alternating Feistel network: even rounds change the left half by a function of the right one,
// odd rounds the right half by a function of the left one.
std::uint64_t Permutation::encrypt(std::uint64_t number) const {
  const std::uint64_t left_mask = (std::uint64_t{1} << left_bits_) - 1;
  const std::uint64_t right_mask = (std::uint64_t{1} << right_bits_) - 1;
  std::uint64_t left = number >> right_bits_;
  std::uint64_t right = number & right_mask;
  for (int round = 0; round < kRounds; round += 2) {
    left ^= mix(static_cast<std::uint32_t>(right) ^ keys_[round]) & left_mask;
    right ^= mix(static_cast<std::uint32_t>(left) ^ keys_[round + 1]) & right_mask;
  }
  return (left << right_bits_) | right;
}

std::uint64_t Permutation::decrypt(std::uint64_t number) const {
  const std::uint64_t left_mask = (std::uint64_t{1} << left_bits_) - 1;
  const std::uint64_t right_mask = (std::uint64_t{1} << right_bits_) - 1;
  std::uint64_t left = number >> right_bits_;
  std::uint64_t right = number & right_mask;
  for (int round = kRounds - 2; round >= 0; round -= 2) {
    right ^= mix(static_cast<std::uint32_t>(left) ^ keys_[round + 1]) & right_mask;
    left ^= mix(static_cast<std::uint32_t>(right) ^ keys_[round]) & left_mask;
  }
  return (left << right_bits_) | right;
}

std::uint64_t Permutation::at(std::uint64_t position) const {
  DCHECK_LT(position, size_);
  std::uint64_t number = encrypt(position);
  while (number >= size_) number = encrypt(number);
  return number;
}

std::uint64_t Permutation::position_of(std::uint64_t number) const {
  DCHECK_LT(number, size_);
  std::uint64_t position = decrypt(number);
  while (position >= size_) position = decrypt(position);
  return position;
}

}  // namespace micrec
