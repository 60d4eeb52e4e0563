#include "base/text.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "evaluate/embedding_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/trained_run.h"

namespace micrec {
namespace {

int export_run(const TrainedRunOptions& options, const std::string& out, Job& job) {
  const Timer timer;
  const auto run = open_trained_run(options, job);
  const at::Tensor z = run->model->embeddings(run->epoch);
  export_embeddings(run->dataset, run->summary.space, run->shard.ownership, z,
                    {.model = name_of(run->model->config().kind), .checkpoint = run->checkpoint},
                    out, job.communicator());
  const NodeSpace& space = run->summary.space;
  job.log_once() << out << ": " << z.size(1) << " columns for " << with_commas(space.users())
                 << " users and " << with_commas(space.nodes() - space.users()) << " items of "
                 << space.domains() << (space.domains() == 1 ? " domain" : " domains") << ", from "
                 << run->checkpoint << ", in " << in_time(timer.seconds()) << "\n"
                 << std::flush;
  return 0;
}

int run_export(const Arguments& arguments) {
  const TrainedRunOptions options = {.run_dir = FLAGS_run_dir,
                                     .checkpoint = FLAGS_checkpoint,
                                     .dataset = FLAGS_dataset,
                                     .out = FLAGS_out};
  check_output("--out", FLAGS_out, arguments, files_of_run(FLAGS_run_dir));
  return run_ranks_of("export", [&](Job& rank) { return export_run(options, FLAGS_out, rank); });
}

}  // namespace

Command export_command() {
  Command command;
  command.name = "export";
  command.summary = "write the final embeddings of all users and items, for use without micrec";
  command.usage = "mpirun -np RANKS micrec export --run_dir=FOLDER --out=FILE [flags]";
  command.example = "micrec export --run_dir=runs/fk --out=embeddings.h5";
  FlagSpec run_dir = run_dir_flag();
  run_dir.bound = required();
  FlagSpec dataset = dataset_flag();
  dataset.meaning = "the dataset, if it is no longer where it was in training";
  command.flags = {run_dir,
                   checkpoint_flag(),
                   dataset,
                   out_flag("the HDF5 file to write; the score of a pair is the dot product of its "
                            "rows",
                            true),
                   device_flag(),
                   threads_flag()};
  for (const FlagSpec& flag : cluster_flags()) command.flags.push_back(flag);
  command.run = run_export;
  return command;
}

}  // namespace micrec
