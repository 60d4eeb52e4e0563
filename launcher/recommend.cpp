#include <cerrno>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "cluster/job.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/list_writer.h"
#include "serve/recommender.h"

namespace micrec {
namespace {

struct RecommendOptions {
  TrainedRunOptions run;
  std::string domain;
  std::string history;
  std::vector<std::string> users;  // keys; empty: everyone
  ListOptions lists;
  JobOptions job = job_of("recommend");
};

int recommend(const RecommendOptions& options, Job& job) {
  if (job.world_size() > 1) {
    throw Error(Cause::usage, text("recommend runs as one process, but was started as ",
                                   job.world_size(), "; start it without mpirun"));
  }
  const auto run = open_trained_run(options.run, job);
  std::vector<int> wanted(run->dataset.domains().size());
  std::iota(wanted.begin(), wanted.end(), 0);
  if (!options.domain.empty()) wanted = {run->dataset.domain_number(options.domain)};

  Recommender recommender(run->dataset, *run->model, run->epoch, run->coefficients(),
                          run->model->item_regression().mixes());
  for (const auto& [domain, path] :
       parse_history_files(options.history, options.domain, run->dataset)) {
    refuse_output_over_inputs("--out", options.run.out, {path});
    recommender.set_history(domain,
                            read_history(path, options.run.later.reading, domain, run->dataset,
                                         recommender.users(domain), std::cerr));
  }

  std::optional<UnfinishedFile> unfinished;
  std::ofstream file;
  if (!options.run.out.empty()) {
    unfinished.emplace(options.run.out);
    errno = 0;
    file.open(unfinished->name());
  }
  std::ostream& out = unfinished ? file : std::cout;
  out << kListColumns << "\n";
  for (const int domain : wanted) {
    const std::vector<std::string> keys =
        options.users.empty() ? recommender.everyone(domain) : options.users;
    write_lists(recommender, domain, keys, options.lists, out, std::cerr);
  }
  if (!unfinished) return 0;
  file.close();
  if (!file) refuse_path("write", options.run.out, errno);
  unfinished->finish();
  std::cerr << options.run.out << " written, from " << run->checkpoint << "\n";
  return 0;
}

std::vector<Flag> flags_of(RecommendOptions& options) {
  std::vector<Flag> people = {
      {"history", "People", "FILE",
       "what new people have interacted with: a file as micrec prepare reads it (user_id and "
       "item_id), for several domains DOMAIN=FILE with commas between; they are inferred from it, "
       "nothing is retrained",
       options.history}};
  people.push_back({"users", "People", "keys",
                    "whom to recommend to, with commas between; empty: everyone in --history, or "
                    "without it everyone in the dataset",
                    options.users});
  const std::vector<Flag> results = {
      {"domain", "Results", "", "recommend items of this domain alone; empty: of every domain",
       options.domain},
      single_k_flag(options.lists.k),
      {"exclude", "Results", "",
       "what users of the dataset are not recommended again: observed (what the model has seen of "
       "them) or all (their validation and test interactions too)",
       one_of(options.lists.exclude, {{"observed", Exclude::observed}, {"all", Exclude::all}})},
      out_flag(options.run.out, "the CSV file to write; empty: standard output", false)};
  return trained_run_flags(options.run, people + results, options.job);
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
    return run_job(0, nullptr, options->job, [&](Job& self) { return recommend(*options, self); });
  };
  return command;
}

}  // namespace micrec
