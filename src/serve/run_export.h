#pragma once

#include <ATen/core/Tensor.h>

#include <ostream>
#include <string>

#include "cluster/communicator.h"
#include "serve/embedding_arrays.h"
#include "serve/trained_run.h"

namespace micrec {

/// export_arrays() of a run, whose data set and own files it does not replace. Arrays and indexes know
/// nothing of item regression, which `told` says where the run has it.
///
/// Shapes   z: (owned rows, dim) float32.
/// Ranks    collective.
/// Errors   those of export_arrays(); Error(Cause::usage) where the scores have no embeddings.
void export_as_arrays(const TrainedRun& run, const at::Tensor& z, ArrayFormat format,
                      const std::string& prefix, Communicator& communicator, std::ostream& report,
                      std::ostream& told);

}  // namespace micrec
