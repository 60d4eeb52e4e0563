#pragma once

#include <cstdint>
#include <string>

#include "data/prepared_dataset.h"

namespace micrec {

/// What is kept from training to measure how a model serves what it has not seen; shares in [0, 1).
struct HoldOutShares {
  double interactions = 0;  // of a domain's training interactions left by the others: `later`
  double users = 0;         // of people: new in all their domains, their training `later`
  double items = 0;         // of a domain's items that are not cold: new, their training `later`
  double cold_items = 0;    // of a domain's items (of those with features, if it has any): cold

  bool any() const { return interactions > 0 || users > 0 || items > 0 || cold_items > 0; }
  /// As parse_hold_out() takes it; empty where nothing is held out.
  std::string to_string() const;
};

/// "interactions:0.2,users:0.2,items:0.2,cold_items:0.1", any of them; empty: none.
/// Errors   Error(usage), also where a share is given twice.
HoldOutShares parse_hold_out(const std::string& shares);

/// Marks new users, new and cold items, and moves interactions to `later` and (all of a cold item)
/// to `test`.
///
/// Exactly round(share * candidates) are chosen, by a function of the seed and the person, or of
/// the seed, the domain's name and its item or pair: cold items first, then people, items and
/// interactions, independently of each other. Validation and test interactions of new users and
/// items stay where they are.
/// Errors   Error(data) where a domain is left without a training interaction.
void apply_hold_outs(const HoldOutShares& shares, std::uint64_t seed, PreparedDataset& dataset);

}  // namespace micrec
