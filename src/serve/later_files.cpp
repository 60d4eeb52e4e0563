#include "serve/later_files.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "data/domain_files.h"
#include "data/feature_matching.h"
#include "io/feature_file.h"

namespace micrec {
namespace {

std::vector<DomainFiles> observed_files(const LaterFiles& later) {
  std::vector<DomainFiles> files;
  for (const std::string& part : split_paths(later.observed)) {
    DomainFiles file = parse_domain_files(part, /*is_split=*/false);
    if (std::ranges::find(files, file.name, &DomainFiles::name) != files.end()) {
      throw Error(Cause::usage, text("--observed names two files for the domain ", file.name,
                                     "; put them together in one"));
    }
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

AdditionsReader additions_reader(const LaterFiles& files) {
  if (files.items.empty() && files.observed.empty()) return nullptr;
  return [files](const DatasetFile& dataset, std::ostream& report) {
    std::vector<std::string> domains;
    for (const DomainInfo& domain : dataset.domains()) domains.push_back(domain.name);
    const std::vector<DomainFiles> observed = observed_files(files);
    for (const DomainFiles& of_domain : observed) dataset.domain_number(of_domain.name);
    std::vector<RawDomain> raw;
    for (const DomainFiles& of_domain : observed) {
      raw.push_back(read_domain(of_domain, files.reading, report));
    }
    return make_additions(dataset, std::move(raw),
                          parse_feature_inputs(files.items, domains, "--items"),
                          FeaturesOf::new_items, SplitKind::ratio, report);
  };
}

std::vector<std::string> files_of(const LaterFiles& files) {
  std::vector<std::string> paths;
  for (const DomainFiles& of_domain : observed_files(files)) {
    paths.push_back(of_domain.paths.front());
  }
  for (const std::string& part : split_paths(files.items)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) continue;
    for (std::string& path : files_of_features(part.substr(equals + 1))) {
      paths.push_back(std::move(path));
    }
  }
  return paths;
}

}  // namespace micrec
