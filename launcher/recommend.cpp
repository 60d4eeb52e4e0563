#include <gflags/gflags.h>

#include <iostream>
#include <numeric>
#include <optional>

#include "base/text.h"
#include "cluster/job.h"
#include "io/paths.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/filter_flags.h"
#include "launcher/outputs.h"
#include "launcher/trained_run.h"
#include "serve/explanation.h"
#include "serve/filter_files.h"
#include "serve/list_writer.h"
#include "serve/recommender.h"

DEFINE_string(domain, "", "recommend items of this domain alone; empty: of every domain");
DEFINE_string(
    history, "",
    "what new people have interacted with: a file as micrec prepare reads it (user_id and "
    "item_id), for several domains DOMAIN=FILE with commas between; they are inferred "
    "from it, nothing is retrained");
DEFINE_string(
    exclude, "observed",
    "what users of the dataset are not recommended again: observed (what the model has "
    "seen of them, the default), all (their validation and test interactions too) or none "
    "(nothing is left out, a history neither)");
DEFINE_bool(why, false,
            "say beside each item which items of the person's history carried its score: shares "
            "that add up to it");

// Of prepare, which reads such files too.
DECLARE_string(columns);
DECLARE_string(separator);
DECLARE_string(quotes);

namespace micrec {
namespace {

struct RecommendOptions {
  TrainedRunOptions run;
  std::string domain;
  std::string history;
  InteractionsOptions reading;     // of the history's files
  std::vector<std::string> users;  // keys; empty: everyone
  FilterOptions filter;
  ListOptions lists;
  bool why = false;
};

int recommend(const RecommendOptions& options, Job& job) {
  require_one_process("recommend", job);
  const auto run = open_trained_run(options.run, job);
  std::vector<int> wanted(run->dataset.domains().size());
  std::iota(wanted.begin(), wanted.end(), 0);
  if (!options.domain.empty()) wanted = {run->dataset.domain_number(options.domain)};
  const FilterFiles filters(options.filter, options.domain, run->dataset);
  refuse_output_over_inputs("--out", options.run.out, filters.paths());

  Recommender recommender(run->dataset, *run->model, run->epoch, run->coefficients(),
                          run->model->item_regression().mixes());
  for (const auto& [domain, path] :
       parse_domain_files("--history", options.history, options.domain, run->dataset)) {
    refuse_output_over_inputs("--out", options.run.out, {path});
    recommender.set_history(domain, read_history(path, options.reading, domain, run->dataset,
                                                 recommender.users(domain), std::cerr));
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

int run_recommend(const Arguments& arguments) {
  RecommendOptions options;
  options.domain = FLAGS_domain;
  options.history = FLAGS_history;
  options.reading.columns = FLAGS_columns;
  options.reading.separator = FLAGS_separator;
  options.reading.quotes = parse_quotes(FLAGS_quotes);
  options.users = split(FLAGS_users, ',');
  options.lists.k = integer_list("k").front();
  options.lists.exclude = FLAGS_exclude == "all"    ? Exclude::all
                          : FLAGS_exclude == "none" ? Exclude::none
                                                    : Exclude::observed;
  options.filter = filter_options_from_flags();
  options.why = FLAGS_why;
  options.run = trained_run_from_flags(arguments);
  return run_ranks_of("recommend", [&](Job& self) { return recommend(options, self); });
}

}  // namespace

Command recommend_command() {
  Command command;
  command.name = "recommend";
  command.summary = "recommend items to users of the dataset and to people it has never seen";
  command.usage = "micrec recommend --run_dir=FOLDER [--users=KEY,...] [--history=FILE] [flags]";
  command.example = "micrec recommend --run_dir=runs/fk --history=food=new.csv --k=20";
  std::vector<FlagSpec> flags = {
      {"history", "People", "FILE"},
      {"columns", "People", ""},
      {"separator", "People", ""},
      {"quotes", "People", "", one_of({"auto", "twice", "none"})},
      {"users",
       "People",
       "keys",
       {},
       "",
       "whom to recommend to, with commas between; empty: everyone in --history, or without it "
       "everyone in the dataset"},
      {"domain", "Results", ""},
      single_k_flag(20),
      {"why", "Results", ""},
      {"exclude", "Items", "", one_of({"observed", "all", "none"})}};
  const std::vector<FlagSpec> filters = filter_flags();
  flags.insert(flags.end(), filters.begin(), filters.end());
  flags.push_back(out_flag("the CSV file to write; empty: standard output", false));
  command.flags = trained_run_flags(flags);
  command.run = run_recommend;
  return command;
}

}  // namespace micrec
