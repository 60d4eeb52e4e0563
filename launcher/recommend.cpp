#include <iostream>
#include <memory>
#include <optional>

#include "cluster/job.h"
#include "io/paths.h"
#include "io/result_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/explanation.h"
#include "serve/filter/filter_files.h"
#include "serve/list_writer.h"
#include "serve/recommender.h"

namespace micrec {
namespace {

struct RecommendOptions {
  TrainedRunOptions run;
  std::string domain;
  std::string history;
  std::vector<std::string> users;  // keys; empty: everyone
  FilterOptions filter;
  ListOptions lists;
  bool why = false;
  JobOptions job = job_of("recommend");
};

int recommend(const RecommendOptions& options, Job& job) {
  require_one_process("recommend", job);
  const auto run = open_trained_run(options.run, job);
  const std::vector<int> wanted = domains_named(options.domain, run->dataset);
  const FilterFiles filters(options.filter, options.domain, run->dataset);
  refuse_output_over_inputs("--out", options.run.out, filters.paths());

  Recommender recommender(*run);
  for (const auto& [domain, path] :
       parse_domain_files("--history", options.history, options.domain, run->dataset)) {
    refuse_output_over_inputs("--out", options.run.out, {path});
    recommender.set_history(
        domain, read_history(path, options.run.later.reading, domain, run->dataset,
                             recommender.users(domain), recommender.fades(), std::cerr));
  }

  std::optional<Explainer> explainer;
  if (options.why) explainer.emplace(recommender, run->model->new_user_shares(run->epoch));

  ResultFile result(options.run.out);
  result.stream() << list_columns(options.why) << "\n";
  for (const int domain : wanted) {
    const std::optional<ItemFilter> filter =
        filters.read(domain, run->degree_of_items(domain), std::cerr);
    ListOptions lists = options.lists;
    if (filter) lists.filter = &*filter;
    const std::vector<std::string> keys =
        options.users.empty() ? recommender.everyone(domain) : options.users;
    write_lists(recommender, domain, keys, lists, explainer ? &*explainer : nullptr,
                result.stream(), std::cerr);
  }
  result.finish(run->checkpoint);
  return 0;
}

std::vector<Flag> flags_of(RecommendOptions& options) {
  std::vector<Flag> people = {
      {"history", "People", "FILE",
       "what new people have interacted with: a file as micrec prepare reads it (user_id and "
       "item_id), for several domains DOMAIN=FILE with commas between; they are inferred from it, "
       "nothing is retrained",
       options.history}};
  people.push_back(
      {"users", "People", "keys",
       "whom to recommend to, with commas between, a key with commas in double quotes; empty: "
       "everyone in --history, or "
       "without it everyone in the dataset",
       options.users});
  const std::vector<Flag> results = {
      {"domain", "Results", "", "recommend items of this domain alone; empty: of every domain",
       options.domain},
      single_k_flag(options.lists.k),
      {"why", "Results", "",
       "say beside each item which items of the person's history carried its score: shares that "
       "add up to it",
       options.why},
      out_flag(options.run.out, "the CSV file to write; empty: standard output", false)};
  const std::vector<Flag> items = {
      {"exclude", "Items", "",
       "what is not listed again: observed (a person's history, and what the model has seen of a "
       "user of the dataset), all (their validation and test interactions too) or none (all is "
       "listed)",
       one_of(options.lists.exclude,
              {{"observed", Exclude::observed}, {"all", Exclude::all}, {"none", Exclude::none}})}};
  return trained_run_flags(options.run,
                           people + addition_flags(options.run.later, &options.history) + items +
                               filter_flags(options.filter) + results,
                           options.job);
}

}  // namespace

Command recommend_command() {
  Command command;
  command.name = "recommend";
  command.summary = "recommend items to users of the dataset and to people it has never seen";
  command.usage = "micrec recommend --run_dir=FOLDER [--users=KEY,...] [--history=FILE] [flags]";
  command.example = "micrec recommend --run_dir=runs/fk --history=food=new.csv --k=20";
  const auto options = std::make_shared<RecommendOptions>();
  command.flags = flags_of(*options);
  command.run = [options](const Arguments& arguments) {
    check_output_of_run(options->run, arguments);
    return run_job(options->job, [&](Job& self) { return recommend(*options, self); });
  };
  return command;
}

}  // namespace micrec
