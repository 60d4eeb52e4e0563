#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "data/additions.h"
#include "data/dataset_file.h"
#include "data/prepared_dataset.h"
#include "data/split_rule.h"

namespace micrec {

struct AppendOptions {
  SplitRule split;         ///< of the interactions that are added
  std::string provenance;  ///< the command line, for people
};

/// A data set made of another and what came after it. Numbers, splits, flags and features of the
/// old one stay. Interactions that came are split by the rule (see assign_splits()); what would be
/// training goes to `later` where user or item is held out there, and all of a cold item to `test`.
///
/// Errors   Error(data) where the old data set has times and what came has none, where the rule
///          needs times and there are none, where a modality has two widths or there are too many
///          nodes.
/// Cost     20 bytes an interaction of both; features are copied when the result is written.
PreparedDataset append(std::shared_ptr<const DatasetFile> old, Additions additions,
                       const AppendOptions& options, std::ostream& report);

}  // namespace micrec
