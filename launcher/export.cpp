#include <memory>

#include "base/text.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/embedding_file.h"

namespace micrec {
namespace {

int export_run(const TrainedRunOptions& options, Job& job) {
  const Timer timer;
  const auto run = open_trained_run(options, job);
  const at::Tensor z = run->model->embeddings(run->epoch);
  export_embeddings(run->dataset, run->summary.space, run->shard.ownership,
                    {z, run->coefficients()}, run->model->item_regression().mixes(),
                    {.model = name_of(run->model->config().kind), .checkpoint = run->checkpoint},
                    options.out, job.communicator());
  const NodeSpace& space = run->summary.space;
  job.log_once() << options.out << ": " << z.size(1) << " columns for "
                 << with_commas(space.users()) << " users and "
                 << with_commas(space.nodes() - space.users()) << " items of " << space.domains()
                 << (space.domains() == 1 ? " domain" : " domains") << ", from " << run->checkpoint
                 << ", in " << in_time(timer.seconds()) << "\n"
                 << std::flush;
  return 0;
}

}  // namespace

Command export_command() {
  Command command;
  command.name = "export";
  command.summary = "write the final embeddings of all users and items, for use without micrec";
  command.usage = "mpirun -np RANKS micrec export --run_dir=FOLDER --out=FILE [flags]";
  command.example = "micrec export --run_dir=runs/fk --out=embeddings.h5";
  struct Options {
    TrainedRunOptions run;
    JobOptions job = job_of("export");
  };
  const auto options = std::make_shared<Options>();
  command.flags = trained_run_flags(
      options->run,
      {out_flag(options->run.out,
                "the HDF5 file to write; docs/formats.md has the lines that score a pair from it",
                true)},
      options->job);
  command.run = [options](const Arguments& arguments) {
    check_output_of_run(options->run, arguments);
    return run_job(0, nullptr, options->job,
                   [&](Job& rank) { return export_run(options->run, rank); });
  };
  return command;
}

}  // namespace micrec
