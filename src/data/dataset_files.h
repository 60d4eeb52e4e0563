#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/domain_files.h"
#include "data/feature_matching.h"
#include "data/preparation.h"
#include "data/prepared_dataset.h"

namespace micrec {

/// The raw files that a data set is made of.
struct DatasetFiles {
  std::vector<DomainFiles> domains;
  InteractionsOptions reading;  ///< of the interactions
  std::vector<FeatureInput> features;
};

/// All their paths, and that of the data set that they extend, where it is not empty.
std::vector<std::string> files_to_read(const DatasetFiles& files, const std::string& extended);

/// Reads them and makes a data set, or adds them to the one that they extend: of that comes how it
/// is filtered and held out, of `options` the split of what is added. Says on `report` what each
/// step did.
///
/// Errors   those of read_domain() and prepare(), or of refuse_foreign(), make_additions() and
///          append().
/// Cost     that of prepare(), and the raw interactions.
PreparedDataset prepare_files(const DatasetFiles& files, const PreparationOptions& options,
                              const std::shared_ptr<const DatasetFile>& extended,
                              std::ostream& report);

}  // namespace micrec
