#pragma once

#include <iosfwd>
#include <span>
#include <string>

#include "serve/explanation.h"
#include "serve/recommender.h"

namespace micrec {

/// The first line of a CSV of lists: an item a line, best first. With reasons there are besides
///
///   embeddings                           how much of the score is the product of embeddings
///   because_1, share_1, ... because_3, share_3
///                                        the items of the history with the largest shares of the
///                                        score above zero, DOMAIN:KEY; empty where there are fewer
///   other_items                          the shares of all others, together
///   no_item                              what belongs to no item
///
/// where the shares, other_items and no_item add up to the score.
std::string list_columns(bool with_reasons);

/// Writes the lists of people for one domain as lines of that CSV, with reasons where there is an
/// explainer, and says on `report` what they come from and of whom nothing is known.
///
/// Errors   those of Recommender::recommend().
void write_lists(const Recommender& recommender, int domain, std::span<const std::string> keys,
                 const ListOptions& options, const Explainer* explainer, std::ostream& csv,
                 std::ostream& report);

}  // namespace micrec
