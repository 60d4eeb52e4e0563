#pragma once

#include "io/tables/interaction_delivery.h"
#include "io/tables/line_reader.h"
#include "io/tables/table_records.h"

namespace micrec {

/// Delivers the records of a table that are still to come, from blocks of lines that several
/// threads take apart; ends before the first block in which a line may not be a record
/// (TableRecords::may_take_lines), which is then given back to `lines`.
///
/// Errors   those of LineReader and TableRecords: the first by its line, after all before it have
///          been delivered; whatever the delivery's uses throw.
/// Cost     Three rounds of blocks are held: one is read while the one before it is taken apart and
///          the one before that is used; 4 blocks a thread and round, about 1 MiB each.
void take_blocks(LineReader& lines, const TableRecords& records, Delivery& delivery,
                 TableCounts& counts);

}  // namespace micrec
