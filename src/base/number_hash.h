#pragma once

#include <cstdint>

namespace micrec {

/// Spreads numbers evenly; its first bits are a place in a table of 2^bits.
///
/// Source   Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4).
constexpr std::uint32_t hash_of_number(std::int32_t number) {
  return static_cast<std::uint32_t>(number) * 0x9E3779B1U;
}

}  // namespace micrec
