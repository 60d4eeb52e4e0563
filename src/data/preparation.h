#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "data/core_filter.h"
#include "data/hold_out.h"
#include "data/prepared_dataset.h"
#include "data/raw_domain.h"
#include "data/split_rule.h"

namespace micrec {

/// What a data set is made by, besides its interactions.
struct PreparationOptions {
  SplitRule split;
  CoreRule core;
  HoldOutShares hold_out;
  std::uint64_t seed = 0;
  std::string provenance;  ///< the command line, for people
};

/// Makes the feature tables of a domain whose users and items have been numbered; none: an empty
/// vector.
using FeatureReader = std::function<std::vector<FeatureTable>(const PreparedDomain&)>;

/// Makes a data set of one or more domains: repeated pairs are kept once, at their earliest time;
/// the k-core filter; keys become numbers in their order; people are matched by user key; features
/// are attached; splits; hold-outs. Says on `report` what each step did.
///
/// Errors   Error(data) where a domain has no interaction (left), where user and item columns look
///          swapped, and as assign_splits() and apply_hold_outs(); Error(usage) for names of
///          domains; whatever `features` throws.
/// Cost     The bits of an interaction (PackedColumn), or 8 bytes of it while it is sorted, one
///          byte for its split, and 100 bytes a key at the peak; frees `raw` as it goes.
PreparedDataset prepare(std::vector<RawDomain> raw, const PreparationOptions& options,
                        const FeatureReader& features, std::ostream& report);

/// A table of the domains and of the people they share, as it is shown after prepare and synth.
void print_summary(const PreparedDataset& dataset, std::ostream& out);

/// Throws Error(data) where a modality has two widths, or where there are more nodes than numbers.
void refuse_two_widths(const PreparedDataset& dataset);
void refuse_too_many_nodes(const PreparedDataset& dataset);

/// Throws where the user keys of one domain are the item keys of another, which is how swapped
/// columns show. Keys that are mere numbers are left out: they say nothing about what they number.
void refuse_swapped_columns(const std::vector<RawDomain>& domains);

}  // namespace micrec
