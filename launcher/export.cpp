#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "checkpoints/run_folder.h"
#include "cluster/job.h"
#include "io/paths.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/export/embedding_arrays.h"
#include "serve/export/embedding_file.h"
#include "serve/export/product_index.h"

namespace micrec {
namespace {

/// One file of HDF5 where it has no value.
using ExportFormat = std::optional<ArrayFormat>;

struct ExportOptions {
  TrainedRunOptions run;
  ExportFormat format;
  JobOptions job = job_of("export");
};

/// Writes the embeddings alone, over no file that was read. `z`: (owned rows, dim) float32. Ranks:
/// collective.
void export_as_arrays(const TrainedRun& run, const at::Tensor& z, ArrayFormat format,
                      const std::string& out, Job& job) {
  const std::vector<ScoreMix> mixes = run.model->item_regression().mixes();
  if (run.coefficients() != nullptr && std::ranges::none_of(mixes, &ScoreMix::embeddings)) {
    throw Error(Cause::usage, "the scores of ", run.checkpoint,
                " are item regression alone, which has no embeddings to write; "
                "give --format=hdf5");
  }
  for (const std::string& file : files_of_arrays(run.dataset, format, out)) {
    refuse_output_over_inputs("--out", file, {run.dataset.path()});
    refuse_file_of_run("--out", file);
  }
  export_arrays(run.dataset, run.summary.space, run.shard.ownership, z, format, out,
                job.communicator(), std::cerr);
  if (run.coefficients() != nullptr) {
    job.log_once() << "these are the embeddings alone; item regression, which scores beside them, "
                      "is in what --format=hdf5 writes\n";
  }
}

int export_run(const ExportOptions& options, Job& job) {
  const Timer timer;
  const std::string& out = options.run.out;
  const auto run = open_trained_run(options.run, job);
  const at::Tensor z = run->model->embeddings(run->epoch).cpu();
  if (options.format) {
    export_as_arrays(*run, z, *options.format, out, job);
  } else {
    export_embeddings(run->dataset, run->summary.space, run->shard.ownership,
                      {z, run->coefficients(), run->model->item_regression().half_life()},
                      run->model->item_regression().mixes(),
                      {.model = name_of(run->model->config().kind), .checkpoint = run->checkpoint},
                      out, job.communicator());
  }
  const NodeSpace& space = run->summary.space;
  job.log_once() << out << (options.format ? ".*" : "") << ": " << z.size(1) << " columns for "
                 << with_commas(space.users()) << " users and " << with_commas(space.items())
                 << " items of " << space.domains()
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
  const auto options = std::make_shared<ExportOptions>();
  const std::vector<Flag> own = {
      out_flag(options->run.out,
               "the HDF5 file to write, or what names of other files begin with, as in "
               "OUT.food.items.npy; docs/formats.md has the lines that score a pair",
               true),
      {"format", "Files", "",
       "what to write: hdf5 (one file, with item regression), npy (arrays and lists of keys, a "
       "set "
       "of files a domain) or faiss (the same with the items in an exact index by inner product)",
       one_of(options->format,
              {{"hdf5", std::nullopt}, {"npy", ArrayFormat::npy}, {"faiss", ArrayFormat::faiss}})}};
  command.flags =
      trained_run_flags(options->run, own + addition_flags(options->run.later), options->job);
  command.run = [options](const Arguments& arguments) {
    check_output_of_run(options->run, arguments);
    if (options->format == ArrayFormat::faiss) require_faiss();
    return run_job(options->job, [&](Job& rank) { return export_run(*options, rank); });
  };
  return command;
}

}  // namespace micrec
