#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"
#include "cluster/cores.h"
#include "data/core_filter.h"
#include "data/dataset_files.h"
#include "data/dataset_writer.h"
#include "data/hold_out.h"
#include "data/split_rule.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/preparation.h"

namespace micrec {
namespace {

struct PrepareOptions {
  PreparationFlags common;
  std::string append;
  std::string features;
  InteractionsOptions reading;
  int threads = 0;
};

/// The dataset that is appended to, every byte of it looked at; none: a new one is made.
/// Errors   Error(usage) where a flag is given that is of whole datasets.
std::shared_ptr<const DatasetFile> dataset_to_extend(const PrepareOptions& options,
                                                     const Arguments& arguments) {
  if (options.append.empty()) return nullptr;
  for (const char* flag : {"core", "hold_out", "seed"}) {
    if (!arguments.is_given(flag)) continue;
    throw Error(Cause::usage, "--", flag,
                " is decided when a dataset is made, and stays as it is in --append=",
                options.append, "; leave it out.");
  }
  auto old = std::make_shared<const DatasetFile>(DatasetFile::open(options.append));
  old->verify();
  return old;
}

int run_prepare(PrepareOptions& options, const std::vector<Flag>& flags,
                const Arguments& arguments) {
  const Timer timer;
  const ComputeThreads threads(chosen_threads(options.threads));
  const std::string& out = options.common.out;
  const std::shared_ptr<const DatasetFile> old = dataset_to_extend(options, arguments);
  if (old && !arguments.is_given("split")) options.common.split = old->origin().split_rule;
  const PreparationOptions preparation =
      preparation_options("prepare", options.common, flags, arguments);
  if (old && !arguments.is_given("split") && is_given(preparation.split.kind)) {
    std::cerr << options.append << " has --split=" << options.common.split
              << ", which what is added must have too; --split=ratio:1:0:0 trains on all of it\n";
  }
  options.reading.split_column = preparation.split.kind == SplitKind::column;
  DatasetFiles files{parse_domains(arguments.plain, preparation.split.kind == SplitKind::files),
                     options.reading,
                     {}};
  std::vector<std::string> names;
  for (const DomainFiles& domain : files.domains) names.push_back(domain.name);
  std::vector<std::string> with_old = names;
  for (const std::string& name : old ? old->domain_names() : names) {
    if (std::ranges::find(names, name) == names.end()) with_old.push_back(name);
  }
  files.features = parse_feature_inputs(options.features, with_old);
  check_output("--out", out, arguments, files_to_read(files, options.append));
  for (const std::string& name : names) {
    if (old) old->domain_number(name);  // refuses unknown ones
  }

  write_and_tell(prepare_files(files, preparation, old, std::cerr), out, timer);
  return 0;
}

std::vector<Flag> flags_of(PrepareOptions& options) {
  const std::vector<Flag> files = {
      out_flag(options.common.out, "the dataset file to write", true),
      {"append", "Files", "FILE",
       "a dataset to which the files are added: what is in it stays, number by number, and the "
       "result says what it extends; the rule of --split is then for what is added, that of the "
       "dataset where it is not given",
       options.append},
      {"features", "Files", "MODALITY:DOMAIN=FILE",
       "feature files, MODALITY:DOMAIN=FILE with commas between, as in "
       "text:food=food_text.h5,text:kitchen=kitchen_text.h5 (a path with commas in double quotes); "
       "items that a file does not have lack the modality",
       options.features}};
  const std::vector<Flag> choosing = {
      {"min_rating", "Choosing", "", "leave out interactions with a lower rating; empty: keep all",
       options.reading.min_rating, written_as("a number")},
      core_flag(options.common, "Choosing", "kitchen"),
      split_rule_flag(
          options.common,
          "ratio:8:1:1, time:8:1:1, global_time:8:1:1, leave_one_out, files or column",
          "how interactions are divided into training, validation and test: ratio (per user, at "
          "random), time (per user, the latest last), global_time (two points in time for all), "
          "leave_one_out, files (as the arguments have it: DOMAIN=TRAIN,TEST or "
          "DOMAIN=TRAIN,VALID,TEST) or column (as x_label or the fifth of --columns has it: 0 "
          "training, 1 validation, 2 test)"),
      hold_out_flag(options.common),
      seed_flag(options.common.seed),
      threads_flag(options.threads),
  };
  return files + table_flags("Files", options.reading) + choosing;
}

}  // namespace

Flag core_flag(PreparationFlags& options, const std::string& group, const std::string& domain) {
  return {"core",
          group,
          "interactions",
          "drop users and items with fewer interactions until none is left (k-core): 5, "
          "user:5,item:3, or 5,kitchen/item:3 for another threshold in one domain; 0 or empty: "
          "keep all",
          options.core,
          written_as(text("5, user:5,item:3 or 5,", domain, "/item:3"))};
}

Flag split_rule_flag(PreparationFlags& options, const std::string& rules,
                     const std::string& meaning) {
  return {"split", "Protocol", "", meaning, options.split, written_as(rules)};
}

Flag hold_out_flag(PreparationFlags& options) {
  return {"hold_out",
          "Protocol",
          "shares",
          "keep from training, to measure how what is new is served: any of "
          "interactions:0.2,users:0.2,items:0.2,cold_items:0.1",
          options.hold_out,
          written_as("interactions:0.2,users:0.2,items:0.2,cold_items:0.1, or some of them")};
}

PreparationOptions preparation_options(const std::string& command, const PreparationFlags& flags,
                                       const std::vector<Flag>& table, const Arguments& arguments) {
  PreparationOptions options;
  options.split = parse_split_rule(flags.split);
  options.core = parse_core_rule(flags.core);
  options.hold_out = parse_hold_out(flags.hold_out);
  options.seed = flags.seed;
  options.provenance = "micrec " + command;
  for (const Flag& flag : table) {
    if (!arguments.is_given(flag.name)) continue;
    options.provenance += text(" --", flag.name, "=", flag.value.text());
  }
  for (const std::string& argument : arguments.plain) options.provenance += " " + argument;
  return options;
}

void write_and_tell(const PreparedDataset& dataset, const std::string& out, const Timer& timer) {
  print_summary(dataset, std::cerr);
  const std::string fingerprint = write_dataset(dataset, out);
  std::cerr << out << " written in " << in_time(timer.seconds()) << " with "
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
  const auto options = std::make_shared<PrepareOptions>();
  command.flags = flags_of(*options);
  command.min_arguments = 1;
  command.max_arguments = 1000;
  command.arguments =
      "a file of interactions for each domain, written DOMAIN=FILE, as in food=food.csv.gz";
  command.run = [options, flags = command.flags](const Arguments& arguments) {
    return run_prepare(*options, flags, arguments);
  };
  return command;
}

}  // namespace micrec
