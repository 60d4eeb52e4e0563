#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/feature_matching.h"
#include "data/prepared_dataset.h"
#include "data/raw_domain.h"
#include "data/split_rule.h"

namespace micrec {

/// What came to one domain after a data set was made: interactions that it does not have, without
/// times where they are after all of it. New users and items have the numbers after those of the
/// data set, in the order of their keys.
struct DomainAdditions : InteractionRows {
  std::vector<std::string> user_keys;  // (new users) by key_less
  std::vector<std::string> item_keys;  // (new items) by key_less
  std::vector<std::int32_t> person;    // (new users)

  /// By name, over all items of old and new: what files have for those that lack the modality.
  std::vector<FeatureTable> features;
};

/// What came after a data set was made.
struct Additions {
  std::vector<DomainAdditions> domains;  // as the data set has them
  std::vector<std::string> person_keys;  // of new people, by key_less; numbered after the old
};

/// Which items the keys of feature files are of.
enum class FeaturesOf {
  met_items,  ///< those that anybody has met; other keys are left out, features that are there stay
  new_items,  ///< each key is a new item, met or not, of a modality that the data set has
};

/// Refuses interactions of files that somebody wrote for a data set, where they cannot be of it;
/// warns on `report` where they may be of another.
///
/// Errors   Error(usage) where the domain is unknown; Error(data) where it has no interaction,
///          where user and item columns look swapped, or where the times of one are dates and those
///          of the other positions.
void refuse_foreign(const DatasetFile& dataset, const RawDomain& raw, std::ostream& report);

/// Numbers what came after a data set: repeats and interactions that it has already are dropped,
/// people are matched by key. Says on `report` what is new.
///
/// Errors   Error(usage) where a domain or modality is unknown; Error(data) where an item of a
///          feature file is not of the kind that is expected, or where a width is another.
/// Cost     One pass over the data set's interactions; what comes is in memory, features aside.
Additions make_additions(const DatasetFile& dataset, std::vector<RawDomain> raw,
                         const std::vector<FeatureInput>& features, FeaturesOf kind,
                         SplitKind split, std::ostream& report);

}  // namespace micrec
