#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "data/batches.h"
#include "data/dataset_file.h"
#include "model/content_term.h"
#include "model/item_regression/item_regression.h"
#include "model/losses.h"
#include "model/model_config.h"
#include "model/model_part.h"
#include "model/propagation.h"
#include "model/ridge_map.h"
#include "model/semantic_neighbours.h"
#include "model/solved/table_fit.h"
#include "model/step/column_sums.h"
#include "model/step/parameter.h"
#include "model/step/shard.h"
#include "model/step/step_context.h"
#include "model/template_embedding.h"
#include "partition/overlap.h"

namespace micrec {

/// MICRec and the baselines it contains (mf, lightgcn, inmo_mf, inmo), or beside it (ials,
/// popularity, item_regression), on one rank's shard: what joins the parts, each of which has a
/// file of its own.
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
  /// model. `semantic`: the semantic neighbours of each modality, of a model that takes from them.
  /// Errors: Error(usage) where a modality is unknown, Error(data) where widths differ.
  Model(const ModelConfig& config, const DatasetFile& dataset, const Shard& shard,
        std::uint64_t seed, const std::vector<SemanticLists>& semantic);

  /// Draws the initial tables, chooses the templates, fits the feature statistics, and refreshes.
  /// The shard must be the training graph.
  void initialise();
  /// Recomputes what follows from the buffers and the graph: template counts, inputs of the content
  /// term.
  void refresh();

  /// Takes in nodes of this graph that are not of the one whose tensors were restored: see
  /// TemplateEmbedding::let_in(). Of kinds with gradients. Shapes   is_new: (owned rows) bool.
  void let_in(const at::Tensor& is_new, std::int64_t epoch) { embedding_.let_in(is_new, epoch); }

  std::deque<Parameter>& parameters() { return state_.parameters; }
  std::deque<Buffer>& buffers() { return state_.buffers; }
  const ModelConfig& config() const { return config_; }
  const Shard& shard() const { return *shard_; }

  /// Plans a step: what it needs that follows from its batch alone. `batch_rows`: triples of all
  /// ranks together. The ranks of a row part are given the same triples. It reads nothing that a
  /// step changes, and may be called while one is computed. Ranks: collective in the row group, so
  /// that with one row part it is local.
  std::unique_ptr<StepContext> plan(TripleBatch batch, std::int64_t batch_rows, StepTime time);

  /// Computes this rank's share of the loss of a planned step, once.
  void loss(StepContext& step);

  /// The backward pass of loss(): afterwards grad() of every parameter is its gradient of the whole
  /// loss (undefined where there is none). `votes`: (n) float64 of this rank, summed over all ranks
  /// in the same exchange; beside a GPU in one of the host's own, for which no host waits on its
  /// GPU.
  LossValues backward(StepContext& step, at::Tensor& votes);

  /// The step of a kind that is_solved(), instead of loss() and backward(): an epoch, which
  /// computes the table anew. `votes` as in backward().
  LossValues solve(at::Tensor& votes);

  /// Final embeddings z after `epoch` epochs, without gradient: score = <z_u, z_i>. Includes
  /// strictly cold items and, once fit_ridge() was called or restored, people seen in another
  /// domain only. Shapes   (whole rows, dim) float32, of Shard::whole_nodes, on the shard's device.
  at::Tensor embeddings(std::int64_t epoch);

  /// Fits the maps of people seen in another domain only on embeddings() of the training graph.
  /// There are none where all users have one row: of popularity and of item regression alone.
  void fit_ridge(const at::Tensor& z) {
    if (config_.dim > 1 || !config_.is_solved()) ridge_.fit(z);
  }

  /// What gives people who join after training their final rows, one-directionally: they read the
  /// rows of the items they interacted with and change nobody else's. It holds while the model
  /// stays as it is, and several threads may call it at once. `history`: (users) item numbers of
  /// one domain, each rising without repeats. A person with an empty history gets the row of an
  /// unknown user (token or mean of the old users). Shapes   returns (users, dim) float32 on the
  /// host.
  ///
  /// Ranks    one alone.
  /// Cost     making it, an inference of the whole graph and a row of it a node; a call, the rows
  ///          of the histories.
  using NewUserRows =
      std::function<at::Tensor(int domain, const std::vector<std::vector<std::int32_t>>& history)>;
  NewUserRows new_user_rows(std::int64_t epoch);

  /// What gives, of somebody who joins later, what each item of their history adds to their row,
  /// and in the last row what belongs to no item: a row of new_user_rows() is the sum. Of the kinds
  /// that are solved rows belong to no item. It holds while the model stays as it is. Shapes
  /// returns (items + 1, dim) float32 on the host. Ranks: one alone.
  using NewUserShares =
      std::function<at::Tensor(int domain, const std::vector<std::int32_t>& history)>;
  NewUserShares new_user_shares(std::int64_t epoch);

  /// The second term of the score.
  ItemRegression& item_regression() { return item_regression_; }
  const ItemRegression& item_regression() const { return item_regression_; }

  /// How its semantic neighbours were found.
  const std::vector<NamedSearch>& neighbour_searches() const { return semantic_.searches(); }

  /// What the semantic neighbours of each modality make the row parts send; empty where there are
  /// none. Ranks: collective.
  std::vector<SemanticHalo> semantic_halos() const { return semantic_.halos(); }

  /// z of people of `domain` for another domain they have no interaction in: rows [z, 1] M. Nothing
  /// where no map exists. Shapes   z: (n, dim) final rows in domain `from`; returns (n, dim).
  std::optional<at::Tensor> map_to_domain(const at::Tensor& z, int from, int to) const {
    return ridge_.map_to_domain(z, from, to);
  }

  /// What a training step makes a rank send, hold and do: the sum of what the parts declare.
  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  at::Tensor read_by_new(std::int64_t epoch);
  RowsOfNew rows_of_new(std::int64_t epoch);
  PartInputs inputs(const DatasetFile& dataset, const std::vector<SemanticLists>& semantic);

  ModelConfig config_;
  const Shard* shard_;
  std::uint64_t seed_;
  ColumnSums sums_;
  std::vector<OverlapPair> overlaps_;
  ModelState state_;
  at::Tensor one_, zero_;  // float64 scalars on the shard's device

  TemplateEmbedding embedding_;
  std::unique_ptr<TableFit> fit_;  // of a kind that is_solved()
  std::vector<std::unique_ptr<LossTerm>> losses_;
  ContentTerm content_;
  SemanticNeighbours semantic_;
  Propagation propagation_;
  RidgeMaps ridge_;
  ItemRegression item_regression_;
};

}  // namespace micrec
