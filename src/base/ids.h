#pragma once

#include <cstdint>

namespace micrec {

/// Number of a node (a user or an item of one domain) in the space of all nodes of all domains.
enum class GlobalNode : std::int32_t {};

constexpr std::int32_t value(GlobalNode node) { return static_cast<std::int32_t>(node); }

/// Numbers from `begin` up to, not including, `end`.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool contains(std::int64_t number) const { return begin <= number && number < end; }
};

}  // namespace micrec
