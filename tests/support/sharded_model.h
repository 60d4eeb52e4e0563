#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cluster/communicator.h"
#include "data/batches.h"
#include "data/dataset_file.h"
#include "model/model.h"
#include "model/step/shard.h"
#include "tests/support/dense_model.h"

namespace micrec {

/// Tensors of all ranks put together, by name: sharded ones by global node, replicated ones once.
using WholeTensors = std::map<std::string, at::Tensor>;

/// Owners by a hash, people together; with three ranks or more some own nothing.
Ownership scattered_ownership(const DatasetSummary& summary, int ranks);

/// One rank of a model that lives on several thread ranks.
struct ModelRank {
  Communicator& communicator;  // of all ranks
  const DatasetFile& dataset;
  const Shard& shard;
  Model& model;
};

/// One call of Model::new_user_rows().
inline at::Tensor new_user_embeddings(Model& model, int domain,
                                      const std::vector<std::vector<std::int32_t>>& history,
                                      std::int64_t epoch) {
  return model.new_user_rows(epoch)(domain, history);
}

/// What the ranks run over and how; a value that tests change in one place.
struct ShardedSetting {
  int ranks = 1;    // row parts; with column parts there are more ranks
  int columns = 1;  // column parts
  /// Parts over which dense gradients are summed in a fixed order whatever the grid; 0: one a row
  /// part.
  int summands = 0;
  Observed observed = Observed::training;
  std::uint64_t seed = 3;
  bool initialise = true;
  bool checks_collectives = true;  // which sends more
  c10::Device device{c10::kCPU};
  /// For a device with a communicator of its own: what makes it over a rank's.
  std::function<std::unique_ptr<Communicator>(Communicator& host)> over;
};

/// The semantic neighbours of each modality, for a model that takes from them. Collective.
std::vector<SemanticLists> search_semantic_neighbours(const DatasetFile& dataset,
                                                      const Shard& shard,
                                                      const ModelConfig& config);

/// Builds the model on the thread ranks of the setting's grid, each with its own shard of the data
/// set, and calls `body` on every one. `config` need not be resolved.
void on_ranks(const DatasetFile& dataset, const ModelConfig& config, const ShardedSetting& setting,
              const std::function<void(ModelRank&)>& body);

/// Puts values into the parameters (or buffers), each rank its rows. CHECK: the names agree.
void fill_parameters(Model& model, const WholeTensors& values);
void fill_buffers(Model& model, const WholeTensors& values);

/// Collects whole rows (those of Shard::whole_nodes) on rank 0, by global node; undefined
/// elsewhere. Collective.
at::Tensor gather_rows(ModelRank& rank, const at::Tensor& rows);
/// The same of a tensor of a parameter's shape; one that is not sharded by rows is whole on all
/// ranks.
at::Tensor gather_like(ModelRank& rank, const Parameter& parameter, const at::Tensor& value);
WholeTensors gather_parameters(ModelRank& rank);
WholeTensors gather_buffers(ModelRank& rank);

/// Parameters to test at: initial values are too regular (gates of one, scalars of zero). Made for
/// every name and shape of the dense model, as float32.
WholeTensors make_parameters(const DenseModel& model, std::uint64_t seed);

/// A step's loss and gradients, put together.
struct ShardedStep {
  StepLoss loss;
  WholeTensors gradients;  // zero where a parameter has none
  WholeTensors buffers;
  std::vector<DenseTriple> triples;  // of all ranks
  std::int64_t batch_rows = 0;
};

/// Loss and gradients of one step at given parameters (those of initialise() where there are none).
ShardedStep sharded_step(const DatasetFile& dataset, const ModelConfig& config,
                         const ShardedSetting& setting, const WholeTensors& parameters,
                         std::int64_t batch_size, StepTime time);

/// Final rows of all nodes by global number at given parameters and buffers; empty maps: initial
/// ones.
at::Tensor sharded_embeddings(const DatasetFile& dataset, const ModelConfig& config,
                              const ShardedSetting& setting, const WholeTensors& parameters,
                              const WholeTensors& buffers, std::int64_t epoch);

}  // namespace micrec
