#include "launcher/additions.h"

#include <gflags/gflags.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "data/domain_files.h"
#include "data/feature_matching.h"
#include "io/feature_file.h"
#include "launcher/common_flags.h"

DEFINE_string(
    observed, "",
    "what people did since the dataset was made, old and new ones with old and new items: "
    "DOMAIN=FILE with commas between, files as micrec prepare reads them; they join the "
    "graph, nothing is retrained");

// Of prepare, which reads such files too.
DECLARE_string(columns);
DECLARE_string(separator);
DECLARE_string(quotes);

namespace micrec {
namespace {

std::vector<DomainFiles> observed_files() {
  std::vector<DomainFiles> files;
  for (const std::string& part : split_paths(FLAGS_observed)) {
    DomainFiles file = parse_domain_files(part, /*is_split=*/false);
    if (std::ranges::find(files, file.name, &DomainFiles::name) != files.end()) {
      throw Error(Cause::usage, text("--observed names two files for the domain ", file.name,
                                     "; put them together in one"));
    }
    files.push_back(std::move(file));
  }
  return files;
}

/// The feature files of --items; their domains must be among these.
std::vector<FeatureInput> item_files(const std::vector<std::string>& domains) {
  return parse_feature_inputs(FLAGS_items, domains, "--items");
}

}  // namespace

std::vector<FlagSpec> addition_flags() {
  return {{"items",
           "What came later",
           "MODALITY:DOMAIN=FILE",
           {},
           "",
           "feature files of new items with commas between, as in text:food=new_food_text.h5; each "
           "key is an item that the dataset does not have, and joins the catalogue"},
          {"observed", "What came later", "DOMAIN=FILE"},
          {"columns", "What came later", ""},
          {"separator", "What came later", ""},
          {"quotes", "What came later", "", one_of({"auto", "twice", "none"})}};
}

AdditionsReader additions_from_flags() {
  if (FLAGS_items.empty() && FLAGS_observed.empty()) return nullptr;
  InteractionsOptions reading;
  reading.columns = FLAGS_columns;
  reading.separator = FLAGS_separator;
  reading.quotes = parse_quotes(FLAGS_quotes);
  return [reading](const DatasetFile& dataset, std::ostream& report) {
    std::vector<std::string> domains;
    for (const DomainInfo& domain : dataset.domains()) domains.push_back(domain.name);
    std::vector<RawDomain> raw;
    const std::vector<DomainFiles> observed = observed_files();
    for (const DomainFiles& files : observed) dataset.domain_number(files.name);
    for (const DomainFiles& files : observed) raw.push_back(read_domain(files, reading, report));
    return make_additions(dataset, std::move(raw), item_files(domains), FeaturesOf::new_items,
                          SplitKind::ratio, report);
  };
}

std::vector<std::string> files_of_additions() {
  std::vector<std::string> paths;
  for (const DomainFiles& files : observed_files()) paths.push_back(files.paths.front());
  for (const std::string& part : split_paths(FLAGS_items)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) continue;
    for (std::string& path : files_of_features(part.substr(equals + 1))) {
      paths.push_back(std::move(path));
    }
  }
  return paths;
}

}  // namespace micrec
