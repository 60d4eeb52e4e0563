#include "data/prepared_dataset.h"

#include <algorithm>

#include "base/random.h"

namespace micrec {

std::int64_t PreparedDomain::interactions(Split wanted) const {
  return std::count(split.begin(), split.end(), wanted);
}

std::uint32_t PreparedDomain::random_stream() const {
  std::uint32_t hash = 0;
  for (const char c : name) hash = mix(hash ^ static_cast<std::uint8_t>(c));
  return hash & 0xFFFFU;
}

}  // namespace micrec
