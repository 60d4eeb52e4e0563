#include "data/dataset_files.h"

#include <utility>

#include "data/additions.h"
#include "data/append.h"
#include "io/feature_file.h"

namespace micrec {

std::vector<std::string> files_to_read(const DatasetFiles& files, const std::string& extended) {
  std::vector<std::string> paths;
  if (!extended.empty()) paths.push_back(extended);
  for (const DomainFiles& domain : files.domains) {
    paths.insert(paths.end(), domain.paths.begin(), domain.paths.end());
  }
  for (const FeatureInput& feature : files.features) {
    for (std::string& path : files_of_features(feature.path)) paths.push_back(std::move(path));
  }
  return paths;
}

PreparedDataset prepare_files(const DatasetFiles& files, const PreparationOptions& options,
                              const std::shared_ptr<const DatasetFile>& extended,
                              std::ostream& report) {
  std::vector<RawDomain> raw;
  for (const DomainFiles& domain : files.domains) {
    raw.push_back(read_domain(domain, files.reading, report));
  }
  if (!extended) {
    return prepare(std::move(raw), options, features_from_files(files.features, report), report);
  }
  for (const RawDomain& domain : raw) refuse_foreign(*extended, domain, report);
  Additions additions = make_additions(*extended, std::move(raw), files.features,
                                       FeaturesOf::met_items, options.split.kind, report);
  return append(extended, std::move(additions), {options.split, options.provenance}, report);
}

}  // namespace micrec
