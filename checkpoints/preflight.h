#pragma once

#include <cstdint>
#include <string>

#include "checkpoints/checkpoint.h"
#include "cluster/communicator.h"

namespace micrec {

/// What a run is going to need.
struct PreflightNeeds {
  std::string run_dir;  ///< is there already
  Commit commit = Commit::rename;
  double checkpoint_bytes = 0;   ///< of one checkpoint, all ranks together
  double coefficient_bytes = 0;  ///< of files of coefficients, once; 0: none is to be written
  std::string dataset_fingerprint;
  std::string device = "cpu";  ///< where this rank computes, "cpu" or "cuda"
  int ranks_of_machine = 1;    ///< ranks that share this rank's machine, this one counted
};

/// Looks for what would end a run hours later, or let it compute something wrong: another program
/// or another dataset on some rank, different devices, too little shared memory, a run folder in
/// which a rank cannot save as it will have to, too little room there for two checkpoints and the
/// coefficients.
///
/// Ranks    collective.
/// Errors   Error(cluster|data|io) on all ranks, one sentence for the first thing that is wrong.
/// Cost     reads the program's file once and saves one small file a rank.
void preflight(const PreflightNeeds& needs, Communicator& communicator);

/// A checkpoint holds at most a row of `dim` parameters, with both moments of Adam, for each node,
/// and little else.
double most_checkpoint_bytes(std::int64_t nodes, std::int64_t dim);

}  // namespace micrec
