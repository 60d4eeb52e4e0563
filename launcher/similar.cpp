#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "cluster/job.h"
#include "io/paths.h"
#include "io/result_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/filter/filter_files.h"
#include "serve/recommender.h"
#include "serve/similar_items.h"

namespace micrec {
namespace {

struct SimilarOptions {
  TrainedRunOptions run;
  std::string items;
  std::string domain;
  std::int64_t k = 10;
  FilterOptions filter;
  JobOptions job = job_of("similar");
};

int similar(const SimilarOptions& options, Job& job) {
  require_one_process("similar", job);
  const auto run = open_trained_run(options.run, job);
  const DatasetFile& dataset = run->dataset;
  const std::vector<int> wanted = domains_named(options.domain, dataset);
  const FilterFiles filters(options.filter, options.domain, dataset);
  refuse_output_over_inputs("--out", options.run.out, filters.paths());
  refuse_output_over_inputs("--out", options.run.out, files_of_items(options.items));
  const std::vector<DomainItem> items = read_items(options.items, dataset, std::cerr);

  const Recommender recommender(*run);
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

std::vector<Flag> flags_of(SimilarOptions& options) {
  const std::vector<Flag> items = {
      {"items", "Items", "",
       "whose likes are listed: DOMAIN:KEY with commas between, or a FILE with one a line",
       options.items, required()},
      {"domain", "Items", "", "list items of this domain alone; empty: of every domain",
       options.domain}};
  const std::vector<Flag> results = {
      single_k_flag(options.k),
      out_flag(options.run.out, "the CSV file to write; empty: standard output", false)};
  return trained_run_flags(options.run, items + filter_flags(options.filter) + results,
                           options.job);
}

}  // namespace

Command similar_command() {
  Command command;
  command.name = "similar";
  command.summary = "list the items that are most like some items, of their domain and of others";
  command.usage = "micrec similar --run_dir=FOLDER --items=DOMAIN:KEY,... [flags]";
  command.example = "micrec similar --run_dir=runs/fk --items=food:B001H3201Q --k=10";
  const auto options = std::make_shared<SimilarOptions>();
  command.flags = flags_of(*options);
  command.run = [options](const Arguments& arguments) {
    check_output_of_run(options->run, arguments);
    return run_job(options->job, [&](Job& self) { return similar(*options, self); });
  };
  return command;
}

}  // namespace micrec
