#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "cluster/exchange.h"

namespace micrec {

/// What one rank tells another about the collective it is in, in the checked mode, as it travels.
struct Handshake {
  std::array<char, 64> name{};
  std::array<char, 64> group{};  // empty: the whole run
  std::uint64_t number = 0;
  CollectiveKind kind = CollectiveKind::barrier;
  std::int32_t dtype = -1;  // -1 where the kind has no such thing, as the next two
  std::int32_t reduction = -1;
  std::int32_t root = -1;
  std::int64_t row_bytes = 0;
  std::int64_t rows_to_you = 0;    // from the sender to the receiver
  std::int64_t rows_from_you = 0;  // that the sender expects of the receiver

  Handshake() = default;
  /// To rank `to` of the group; `its_group` may be null.
  Handshake(const Exchange& exchange, std::uint64_t its_number, const char* its_group, int to);
};

/// The sentence about two ranks that are not in the same, named by their numbers in the run: what
/// the first told the second and the second the first; empty where they agree.
std::string disagreement(const Handshake& own, int own_rank, const Handshake& other,
                         int other_rank);

}  // namespace micrec
