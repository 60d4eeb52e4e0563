#include <gflags/gflags.h>

#include <iostream>
#include <numeric>
#include <optional>
#include <vector>

#include "cluster/job.h"
#include "io/paths.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/filter_flags.h"
#include "launcher/outputs.h"
#include "launcher/trained_run.h"
#include "serve/filter_files.h"
#include "serve/recommender.h"
#include "serve/similar_items.h"

DECLARE_string(domain);  // of recommend

namespace micrec {
namespace {

struct SimilarOptions {
  TrainedRunOptions run;
  std::string items;
  std::string domain;
  std::int64_t k = 10;
  FilterOptions filter;
};

int similar(const SimilarOptions& options, Job& job) {
  require_one_process("similar", job);
  const auto run = open_trained_run(options.run, job);
  const DatasetFile& dataset = run->dataset;
  std::vector<int> wanted(dataset.domains().size());
  std::iota(wanted.begin(), wanted.end(), 0);
  if (!options.domain.empty()) wanted = {dataset.domain_number(options.domain)};
  const FilterFiles filters(options.filter, options.domain, dataset);
  refuse_output_over_inputs("--out", options.run.out, filters.paths());
  refuse_output_over_inputs("--out", options.run.out, files_of_items(options.items));
  const std::vector<DomainItem> items = read_items(options.items, dataset, std::cerr);

  const Recommender recommender(dataset, *run->model, run->epoch, run->coefficients(),
                                run->model->item_regression().mixes());
  ResultFile result(options.run.out);
  result.stream() << kSimilarColumns << "\n";
  for (const int domain : wanted) {
    const std::optional<ItemFilter> filter =
        filters.read(domain, run->degree_of_items(domain), std::cerr);
    write_similar(recommender, items, domain, options.k, filter ? &*filter : nullptr,
                  result.stream(), std::cerr);
  }
  result.finish(run->checkpoint);
  return 0;
}

int run_similar(const Arguments& arguments) {
  SimilarOptions options;
  options.items = FLAGS_items;
  options.domain = FLAGS_domain;
  options.k = integer_list("k").front();
  options.filter = filter_options_from_flags();
  options.run = trained_run_from_flags(arguments);
  return run_ranks_of("similar", [&](Job& self) { return similar(options, self); });
}

}  // namespace

Command similar_command() {
  Command command;
  command.name = "similar";
  command.summary = "list the items that are most like some items, of their domain and of others";
  command.usage = "micrec similar --run_dir=FOLDER --items=DOMAIN:KEY,... [flags]";
  command.example = "micrec similar --run_dir=runs/fk --items=food:B001H3201Q --k=10";
  FlagSpec domain = {"domain", "Items", ""};
  domain.meaning = "list items of this domain alone; empty: of every domain";
  std::vector<FlagSpec> flags = {
      {"items", "Items", "", required(), "",
       "whose likes are listed: DOMAIN:KEY with commas between, or a FILE with one a line"},
      domain,
      single_k_flag(10)};
  const std::vector<FlagSpec> filters = filter_flags();
  flags.insert(flags.end(), filters.begin(), filters.end());
  flags.push_back(out_flag("the CSV file to write; empty: standard output", false));
  command.flags = trained_run_flags(flags);
  command.run = run_similar;
  return command;
}

}  // namespace micrec
