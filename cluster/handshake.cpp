#include "cluster/handshake.h"

#include <cstring>

#include "base/text.h"
#include "cluster/health/progress_board.h"

namespace micrec {
namespace {

constexpr std::array<const char*, 5> kKinds = {"barrier", "all_gather", "all_to_all", "all_reduce",
                                               "broadcast"};
constexpr std::array<const char*, 3> kReductions = {"sum", "min", "max"};

std::string describe(const Handshake& one) {
  std::string description = text(kKinds.at(static_cast<std::size_t>(one.kind)), " ",
                                 place_of(one.name.data(), one.number, one.group.data()));
  if (one.dtype >= 0) {
    description += text(" of ", c10::toString(static_cast<at::ScalarType>(one.dtype)), ", ",
                        one.row_bytes, " bytes a row");
  }
  if (one.reduction >= 0) description += text(", ", kReductions.at(one.reduction));
  if (one.root >= 0) description += text(", root ", one.root);
  return description;
}

}  // namespace

Handshake::Handshake(const Exchange& exchange, std::uint64_t its_number, const char* its_group,
                     int to)
    : number(its_number),
      kind(exchange.kind),
      root(exchange.root),
      rows_to_you(exchange.sent.rows[to]),
      rows_from_you(exchange.received.rows[to]) {
  std::strncpy(name.data(), exchange.name, name.size() - 1);
  if (its_group != nullptr) std::strncpy(group.data(), its_group, group.size() - 1);
  if (kind != CollectiveKind::barrier) {
    dtype = static_cast<std::int32_t>(exchange.given.scalar_type());
    row_bytes = exchange.row_bytes;
  }
  if (kind == CollectiveKind::all_reduce) {
    reduction = static_cast<std::int32_t>(exchange.reduction);
  }
}

std::string disagreement(const Handshake& own, int own_rank, const Handshake& other,
                         int other_rank) {
  if (own.name != other.name || own.group != other.group || own.number != other.number ||
      own.kind != other.kind || own.dtype != other.dtype || own.reduction != other.reduction ||
      own.root != other.root || own.row_bytes != other.row_bytes) {
    return text("rank ", own_rank, " is in ", describe(own), " while rank ", other_rank, " is in ",
                describe(other));
  }
  if (own.rows_from_you != other.rows_to_you) {
    return text("in ", describe(own), " rank ", own_rank, " expects ", own.rows_from_you,
                " rows of rank ", other_rank, ", which sends ", other.rows_to_you);
  }
  if (own.rows_to_you != other.rows_from_you) {
    return text("in ", describe(own), " rank ", own_rank, " sends ", own.rows_to_you,
                " rows to rank ", other_rank, ", which expects ", other.rows_from_you);
  }
  return "";
}

}  // namespace micrec
