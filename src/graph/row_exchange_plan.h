#pragma once

#include <cstdint>
#include <vector>

#include "cluster/communicator.h"
#include "graph/row_exchange.h"
#include "kernels/pattern.h"
#include "kernels/rows.h"

namespace micrec {

struct RowExchange::Plan {
  Communicator* communicator = nullptr;
  std::vector<std::int32_t> requested_rows;  // owned local rows, rising

  // The receiving side. Received rows are distinct, by (owner, global number).
  std::int64_t received_rows = 0;
  RowList entry_rows;      // (needed) received row of each entry
  Pattern entries_of_row;  // (received_rows) its entries, rising

  // The sending side; empty with one rank, where the received rows are the requested ones.
  std::vector<std::int64_t> send_rows;     // (ranks)
  std::vector<std::int64_t> receive_rows;  // (ranks)
  RowList send_positions;                  // in requested_rows, grouped by receiver
  Pattern sends_of_row;                    // (requested_rows) positions in send_positions, by rank

  // The way back entry by entry, with an order and more than one rank.
  bool by_entry = false;
  RowList entries_by_owner;                     // (needed) entries, grouped by owner
  std::vector<std::int64_t> entries_to_owner;   // (ranks)
  std::vector<std::int64_t> entries_from_rank;  // (ranks)
  Pattern arrivals_of_row;                      // (requested_rows) arrived entries, in their order
};

}  // namespace micrec
