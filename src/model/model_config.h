#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/neighbour_search.h"

namespace micrec {

/// There is a coefficient for every set of them.
inline constexpr int kMostModalities = 10;

enum class ModelKind { mf, lightgcn, inmo_mf, inmo, micrec, ials, popularity, item_regression };
inline constexpr ModelKind kModelKinds[] = {
    ModelKind::mf,     ModelKind::lightgcn, ModelKind::inmo_mf,    ModelKind::inmo,
    ModelKind::micrec, ModelKind::ials,     ModelKind::popularity, ModelKind::item_regression};
enum class SemanticPlace { before, after };
enum class DomainWeights { uniform, balanced };
/// How item regression takes part in the score.
enum class ItemRegressionUse {
  off,        ///< the product of embeddings alone: the paper's model
  automatic,  ///< beside them, weighed on validation
  alone,      ///< without them
};

/// Everything that decides what the model computes; section numbers refer to the model's
/// description in docs/model.md.
struct ModelConfig {
  ModelKind kind = ModelKind::micrec;
  int dim = 64;              ///< columns of an embedding
  int layers = 3;            ///< propagation layers; 0 for the matrix-factorisation kinds
  double initial_std = 0.1;  ///< standard deviation of the initial tables
  double l2 = 0;             ///< weight of |z_u|^2 + |z_i|^2 + |z_j|^2
  DomainWeights domain_weights = DomainWeights::uniform;

  // Template-driven inductive embedding (inmo_mf, inmo, micrec).
  double template_ratio = 1;  ///< share of users and of items of each domain whose rows are trained
  double share_templates = 0;  ///< weight of a person's templates of other domains
  double dropout = 0;          ///< probability that a nonzero of the template operator is dropped
  double annealing = 0.99;     ///< factor a step of the exponent takes after each epoch
  double self_weight = 0.01;   ///< weight of the self-enhanced loss

  // Modalities (micrec).
  std::vector<std::string> modalities;  ///< empty: none
  bool content = true;                  ///< add the content term
  int feature_dim = 128;                ///< principal directions kept of a wider modality
  int semantic_neighbors = 10;          ///< 0: no semantic neighbours
  SemanticPlace semantic = SemanticPlace::before;
  double cold_simulation = 0;  ///< share of items treated as strictly cold in a training step

  // Cross-domain contrastive loss (micrec, two domains or more).
  double contrastive_weight = 0.01;
  double temperature = 0.2;
  std::int64_t contrastive_batch =
      1024;  ///< people a step and pair of domains; 0: all overlapping people

  ItemRegressionUse item_regression = ItemRegressionUse::off;

  /// Of semantic neighbours and of those that item regression takes by features.
  NeighbourSearch neighbor_search = NeighbourSearch::automatic;

  // Implicit ALS (ials).
  double ials_weight = 0.01;  ///< weight of every pair beside the interactions, whose weight is 1
  double ials_reg = 0.006;    ///< factor of the rows' squared norms, see ImplicitAls

  /// Its table is computed whole, an epoch a step, not by gradients; its rows are not cut.
  bool is_solved() const {
    return kind == ModelKind::ials || kind == ModelKind::popularity ||
           kind == ModelKind::item_regression;
  }
  bool inductive() const {
    return kind == ModelKind::inmo_mf || kind == ModelKind::inmo || kind == ModelKind::micrec;
  }
  bool has_content() const { return content && !modalities.empty(); }
  bool has_semantic() const { return semantic_neighbors > 0 && !modalities.empty(); }
};

/// The configuration with the parts its kind does not have switched off, so that the rest of the
/// program looks at switches alone. Errors: Error(Cause::usage) on a value out of range.
ModelConfig resolve(ModelConfig config, int domains);

/// The word of a kind on the command line.
const char* name_of(ModelKind kind);

}  // namespace micrec
