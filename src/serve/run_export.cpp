#include "serve/run_export.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "io/paths.h"

namespace micrec {

void export_as_arrays(const TrainedRun& run, const at::Tensor& z, ArrayFormat format,
                      const std::string& prefix, Communicator& communicator, std::ostream& report,
                      std::ostream& told) {
  const std::vector<ScoreMix> mixes = run.model->item_regression().mixes();
  if (run.coefficients() != nullptr && std::ranges::none_of(mixes, &ScoreMix::embeddings)) {
    throw Error(Cause::usage, text("the scores of ", run.checkpoint,
                                   " are item regression alone, which has no embeddings to write; "
                                   "give --format=hdf5"));
  }
  for (const std::string& file : files_of_arrays(run.dataset, format, prefix)) {
    refuse_output_over_inputs("--out", file, {run.dataset.path()});
    refuse_file_of_run("--out", file);
  }
  export_arrays(run.dataset, run.summary.space, run.shard.ownership, z, format, prefix,
                communicator, report);
  if (run.coefficients() != nullptr) {
    told << "these are the embeddings alone; item regression, which scores beside them, "
            "is in what --format=hdf5 writes\n";
  }
}

}  // namespace micrec
