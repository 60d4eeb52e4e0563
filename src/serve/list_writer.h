#pragma once

#include <iosfwd>
#include <span>
#include <string>

#include "serve/recommender.h"

namespace micrec {

/// The first line of a CSV of lists: an item a line, best first.
inline constexpr char kListColumns[] = "user_id,domain,rank,item_id,score,basis";

/// Writes the lists of people for one domain as lines of that CSV, and says on `report` what they
/// come from and of whom nothing is known.
///
/// Errors   those of Recommender::recommend().
void write_lists(const Recommender& recommender, int domain, std::span<const std::string> keys,
                 const ListOptions& options, std::ostream& csv, std::ostream& report);

}  // namespace micrec
