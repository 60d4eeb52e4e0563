#include <gflags/gflags.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "data/additions.h"
#include "data/append.h"
#include "data/core_filter.h"
#include "data/dataset_writer.h"
#include "data/domain_files.h"
#include "data/feature_matching.h"
#include "data/hold_out.h"
#include "data/split_rule.h"
#include "io/feature_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/preparation.h"

DEFINE_string(
    features, "",
    "feature files, MODALITY:DOMAIN=FILE with commas between, as in "
    "text:food=food_text.h5,text:kitchen=kitchen_text.h5 (a path with commas in double quotes); "
    "items that a file does not have lack the modality");
DEFINE_string(core, "",
              "drop users and items with fewer interactions until none is left (k-core): 5, "
              "user:5,item:3, or 5,kitchen/item:3 for another threshold in one domain; 0 or empty: "
              "keep all");
DEFINE_string(hold_out, "",
              "keep from training, to measure how what is new is served: any of "
              "interactions:0.2,users:0.2,items:0.2,cold_items:0.1");
DEFINE_string(
    columns, "",
    "columns of the files, USER,ITEM[,TIME[,RATING[,SPLIT]]] by name or, without a header line, by "
    "number from 1; empty: by the names the files have");
DEFINE_string(
    separator, "",
    "what stands between the fields of the files: a character or more, as in ; or ::, tab "
    "or space; empty: a comma in .csv, a tab in .tsv and .inter, else as the contents say");
DEFINE_string(quotes, "auto",
              "what a double quote is in the files: twice (it stands around fields, and in them is "
              "written twice), none (a character like others), or auto (none where tabs or several "
              "characters separate the fields, else twice)");
DEFINE_string(
    append, "",
    "a dataset to which the files are added: what is in it stays, number by number, and "
    "the result says what it extends; the rule of --split is then for what is added, that "
    "of the dataset unless it is given");
DEFINE_string(min_rating, "", "leave out interactions with a lower rating; empty: keep all");

namespace micrec {
namespace {

std::string check_number(const std::string& value) {
  return value.empty() || parse_real(value) ? "" : "a number";
}

/// Every file that the domains and features are read from.
std::vector<std::string> files_to_read(const std::vector<DomainFiles>& domains,
                                       const std::vector<FeatureInput>& features) {
  std::vector<std::string> paths;
  for (const DomainFiles& domain : domains) {
    paths.insert(paths.end(), domain.paths.begin(), domain.paths.end());
  }
  for (const FeatureInput& feature : features) {
    for (std::string& path : files_of_features(feature.path)) paths.push_back(std::move(path));
  }
  if (!FLAGS_append.empty()) paths.push_back(FLAGS_append);
  return paths;
}

/// The files of each domain, as the plain arguments name them.
std::vector<DomainFiles> domains_of(const Arguments& arguments, bool by_split) {
  std::vector<DomainFiles> domains;
  for (const std::string& argument : arguments.plain) {
    DomainFiles files = parse_domain_files(argument, by_split);
    if (std::ranges::find(domains, files.name, &DomainFiles::name) != domains.end()) {
      throw Error(Cause::usage, text("The domain ", files.name,
                                     " is given twice; every domain is one argument."));
    }
    domains.push_back(std::move(files));
  }
  return domains;
}

/// What is of whole datasets, and not of what is added to one.
void refuse_with_append(const Arguments& arguments) {
  for (const char* flag : {"core", "hold_out", "seed"}) {
    if (!arguments.is_given(flag)) continue;
    throw Error(Cause::usage, text("--", flag,
                                   " is decided when a dataset is made, and stays as it "
                                   "is in --append=",
                                   FLAGS_append, "; leave it out."));
  }
}

/// The dataset that is appended to, every byte of it looked at; none: a new one is made.
std::shared_ptr<const DatasetFile> dataset_to_extend(const Arguments& arguments) {
  if (FLAGS_append.empty()) return nullptr;
  refuse_with_append(arguments);
  auto old = std::make_shared<const DatasetFile>(DatasetFile::open(FLAGS_append));
  old->verify();
  return old;
}

int run_prepare(const Arguments& arguments) {
  const Timer timer;
  const std::shared_ptr<const DatasetFile> old = dataset_to_extend(arguments);
  if (old && !arguments.is_given("split")) FLAGS_split = old->split_rule();
  const PreparationOptions options = preparation_options_from_flags(prepare_command(), arguments);
  InteractionsOptions reading;
  reading.columns = FLAGS_columns;
  reading.separator = FLAGS_separator;
  reading.quotes = parse_quotes(FLAGS_quotes);
  reading.split_column = options.split.kind == SplitKind::column;
  if (!FLAGS_min_rating.empty()) reading.min_rating = parse_real(FLAGS_min_rating);
  const std::vector<DomainFiles> domains =
      domains_of(arguments, options.split.kind == SplitKind::files);
  std::vector<std::string> names;
  for (const DomainFiles& domain : domains) names.push_back(domain.name);
  const std::vector<FeatureInput> features = parse_feature_inputs(FLAGS_features, names);
  check_output("--out", FLAGS_out, arguments, files_to_read(domains, features));

  if (old) {
    for (const std::string& name : names) old->domain_number(name);  // refuses unknown ones
  }
  std::vector<RawDomain> raw;
  for (const DomainFiles& domain : domains) raw.push_back(read_domain(domain, reading, std::cerr));
  if (old) {
    Additions additions = make_additions(*old, std::move(raw), features, FeaturesOf::met_items,
                                         options.split.kind, std::cerr);
    write_and_tell(
        append(old, std::move(additions), {options.split, options.provenance}, std::cerr), timer);
    return 0;
  }
  write_and_tell(
      prepare(std::move(raw), options, features_from_files(features, std::cerr), std::cerr), timer);
  return 0;
}

}  // namespace

PreparationOptions preparation_options_from_flags(const Command& command,
                                                  const Arguments& arguments) {
  PreparationOptions options;
  options.split = parse_split_rule(FLAGS_split);
  options.core = parse_core_rule(FLAGS_core);
  options.hold_out = parse_hold_out(FLAGS_hold_out);
  options.seed = FLAGS_seed;
  options.provenance = "micrec " + command.name;
  for (const FlagSpec& spec : command.flags) {
    if (!arguments.is_given(spec.name)) continue;
    options.provenance += text(" --", spec.name, "=", flag_value(spec.name));
  }
  for (const std::string& argument : arguments.plain) options.provenance += " " + argument;
  return options;
}

void write_and_tell(const PreparedDataset& dataset, const Timer& timer) {
  print_summary(dataset, std::cerr);
  const std::string fingerprint = write_dataset(dataset, FLAGS_out);
  std::cerr << FLAGS_out << " written in " << in_time(timer.seconds()) << " with "
            << in_bytes(peak_memory_bytes()) << " of memory at most; fingerprint " << fingerprint
            << "\n";
}

Command prepare_command() {
  Command command;
  command.name = "prepare";
  command.summary = "make a dataset of raw files: filter, split, match people and features";
  command.usage = "micrec prepare --out=FILE [flags] DOMAIN=FILE [DOMAIN=FILE ...]";
  command.example =
      "micrec prepare --out=fk.h5 --features=text:food=food_text.h5 food=food.csv.gz "
      "kitchen=kitchen.csv.gz";
  command.flags = {
      out_flag("the dataset file to write", true),
      {"append", "Files", "FILE"},
      {"features", "Files", "MODALITY:DOMAIN=FILE"},
      {"columns", "Files", ""},
      {"separator", "Files", ""},
      {"quotes", "Files", "", one_of({"auto", "twice", "none"})},
      {"min_rating", "Choosing", "", written_as("a number", check_number)},
      {"core", "Choosing", "interactions", written_as("5, user:5,item:3 or 5,kitchen/item:3")},
      {"split", "Protocol", "",
       written_as("ratio:8:1:1, time:8:1:1, global_time:8:1:1, leave_one_out, files or column"),
       "ratio:8:1:1",
       "how interactions are divided into training, validation and test: ratio (per user, at "
       "random), time (per user, the latest last), global_time (two points in time for all), "
       "leave_one_out, files (as the arguments have it: DOMAIN=TRAIN,TEST or "
       "DOMAIN=TRAIN,VALID,TEST) or column (as x_label or the fifth of --columns has it: 0 "
       "training, 1 validation, 2 test)"},
      {"hold_out", "Protocol", "shares",
       written_as("interactions:0.2,users:0.2,items:0.2,cold_items:0.1, or some of them")},
      seed_flag(),
  };
  command.min_arguments = 1;
  command.max_arguments = 1000;
  command.arguments =
      "a file of interactions for each domain, written DOMAIN=FILE, as in food=food.csv.gz";
  command.run = run_prepare;
  return command;
}

}  // namespace micrec
