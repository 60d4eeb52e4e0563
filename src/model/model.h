#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/batches.h"
#include "data/dataset_file.h"
#include "kernels/row_set.h"
#include "model/column_sums.h"
#include "model/contrastive.h"
#include "model/dense_inputs.h"
#include "model/modality.h"
#include "model/model_config.h"
#include "model/parameter.h"
#include "model/ridge.h"
#include "model/semantic.h"
#include "model/shard.h"
#include "model/step_parts.h"
#include "partition/planning/byte_plan.h"

namespace micrec {

/// When a step happens; everything random in it is a function of this and the seed.
struct StepTime {
  std::int64_t step = 0;       // since the start of training
  std::int64_t epoch = 0;      // decides the annealing
  StepParts* parts = nullptr;  // is told when planning ends and the forward part begins
};

/// A step's loss before its backward pass: what autograd goes back from, and this rank's shares of
/// the parts.
struct StepShare {
  at::Tensor total;        // float64 scalar
  at::Tensor of_summands;  // (summands of this rank, 3) float64: ranking, l2, self; once a row part
  double contrastive = 0;  // once a rank
};

/// The parts of a step's loss over all ranks, as weighted in the total.
struct StepLoss {
  double ranking = 0;  // BPR
  double l2 = 0;
  double self = 0;
  double contrastive = 0;

  double total() const { return ranking + l2 + self + contrastive; }
};

/// MICRec and the baselines it contains (mf, lightgcn, inmo_mf, inmo), on one rank's shard.
///
/// Life: make it, then either initialise() it, or restore every tensor of parameters() and
/// buffers() in place and call refresh(). A model may be made on another graph than it was trained
/// on (Observed::all): the templates, the feature statistics and the annealing stay those of
/// training, new nodes are inferred.
///
/// Ranks    every function but the accessors is collective.
class Model {
 public:
  /// `config` must have been resolved; dataset, shard and the shard's communicator must outlive the
  /// model. Errors: Error(usage) where a modality is unknown, Error(data) where widths differ.
  Model(const ModelConfig& config, const DatasetFile& dataset, const Shard& shard,
        std::uint64_t seed);

  /// Draws the initial tables, chooses the templates, fits the feature statistics, and refreshes.
  /// The shard must be the training graph.
  void initialise();
  /// Recomputes what follows from the buffers and the graph: template counts, inputs of the content
  /// term.
  void refresh();

  std::vector<Parameter>& parameters() { return parameters_; }
  std::vector<Buffer>& buffers() { return buffers_; }
  const ModelConfig& config() const { return config_; }
  const Shard& shard() const { return *shard_; }

  /// This rank's share of the loss of a step. `batch_rows`: triples of all ranks together. The
  /// ranks of a row part are given the same triples.
  StepShare loss(const TripleBatch& batch, std::int64_t batch_rows, StepTime time);

  /// The backward pass of loss(): afterwards grad() of every parameter is its gradient of the whole
  /// loss (undefined where there is none). `votes`: (n) float64 of this rank, summed over all ranks
  /// in the same exchange.
  StepLoss backward(const StepShare& share, at::Tensor& votes);

  /// Final embeddings z after `epoch` epochs, without gradient: score = <z_u, z_i>. Includes
  /// strictly cold items and, once fit_ridge() was called or restored, people seen in another
  /// domain only. Shapes   (whole rows, dim) float32, of Shard::whole_nodes.
  at::Tensor embeddings(std::int64_t epoch);

  /// A tensor of a parameter's shape, or of a buffer, as checkpoints have it: the rows of
  /// Shard::whole_nodes with all columns. Without column parts these are the same tensor, no copy.
  at::Tensor to_whole(const at::Tensor& value, bool sharded, bool by_columns) const;
  /// One of that shape to read into, not initialised. Ranks: local.
  at::Tensor empty_whole(const at::Tensor& value, bool sharded, bool by_columns) const;
  /// Takes it back into `value`.
  void from_whole(const at::Tensor& whole, bool sharded, bool by_columns, at::Tensor value) const;

  /// Fits the maps of people seen in another domain only on embeddings() of the training graph.
  void fit_ridge(const at::Tensor& z);

  /// Final rows of people who join after training, one-directionally: they read the rows of the
  /// items they interacted with and change nobody else's. `history`: (users) item numbers of one
  /// domain, each rising without repeats; one rank only. A person with an empty history gets the
  /// row of an unknown user (token or mean of the old users). Shapes   (users, dim) float32.
  at::Tensor new_user_embeddings(int domain, const std::vector<std::vector<std::int32_t>>& history,
                                 std::int64_t epoch);

  /// What the semantic neighbours of each modality make the row parts send; empty where there are
  /// none. Ranks: collective.
  std::vector<SemanticHalo> semantic_halos() const;

  /// z of people of `domain` for another domain they have no interaction in: rows [z, 1] M. Nothing
  /// where no map exists. Shapes   z: (n, dim) final rows in domain `from`; returns (n, dim).
  std::optional<at::Tensor> map_to_domain(const at::Tensor& z, int from, int to) const;

 private:
  struct Modality {
    FeatureStatistics statistics;
    ContentInputs content;        // where the content term is on
    SemanticNeighbours semantic;  // where semantic neighbours are on
  };

  at::Tensor parameter(const std::string& name) const;
  at::Tensor dense(const std::string& name);  // as row functions read it
  void add_parameter(const std::string& name, at::Tensor value, bool sharded, bool by_columns,
                     const std::string& description);
  void add_buffer(const std::string& name, const at::Tensor& value, bool sharded,
                  const std::string& description);
  void number_semantic_sets();
  void fill_initial_values();
  void choose_templates();

  const at::Tensor& row_scale(std::int64_t epoch);  // (local rows) s^(a/2 - 1), kept for an epoch
  at::Tensor base_rows(std::int64_t epoch, float dropout, std::uint32_t dropout_seed);
  at::Tensor inferred_base_rows(std::int64_t epoch);
  at::Tensor semantic_sum(const at::Tensor& e);
  at::Tensor semantic_mean(const at::Tensor& z);
  at::Tensor graph_rows(const at::Tensor& e, const std::vector<std::int32_t>* rows);
  at::Tensor means_of_old() const;  // (2 domains, dim): users of each domain, items of each
  std::vector<at::Tensor> content_tables();
  at::Tensor content_of(const std::vector<at::Tensor>& sums, const std::vector<at::Tensor>& counts);
  at::Tensor contrastive_loss(const at::Tensor& z, const RowSet& rows,
                              const ContrastiveBatch& part);

  ModelConfig config_;
  const DatasetFile* dataset_;
  const Shard* shard_;
  std::uint64_t seed_;
  std::vector<Parameter> parameters_;
  std::vector<Buffer> buffers_;
  Range columns_;  // of the embedding, on this rank
  std::int64_t width_ = 0;
  ColumnSums sums_;
  DenseInputs dense_;  // of the step that is being computed

  std::vector<Modality> modalities_;
  at::Tensor modality_sets_;  // every_modality_set() of them
  std::vector<OverlapPair> overlaps_;
  std::vector<RidgeMap> ridge_;
  at::Tensor ridge_fitted_;  // (1) uint8, a buffer

  at::Tensor template_mask_;   // (owned rows) uint8, a buffer
  at::Tensor template_local_;  // (local rows) float32
  at::Tensor template_count_;  // (local rows) float32, s - 1
  std::int64_t scale_epoch_ = -1;
  at::Tensor scale_;
  at::Tensor has_semantic_;  // (owned rows, 1) float32: has neighbours in some modality
  // Of every owned row the set of modalities it has neighbours in, and that set within the row's
  // domain; -1 where there is none. (owned rows) int32
  at::Tensor semantic_set_;
  at::Tensor semantic_set_of_domain_;
  std::vector<float> domain_weight_;  // (domains)
};

}  // namespace micrec
