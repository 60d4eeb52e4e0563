#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset_file.h"
#include "model/model_config.h"
#include "model/step/shard.h"
#include "partition/node_space.h"

namespace micrec {

/// A data set as dense float64 matrices over all nodes.
struct DenseWorld {
  struct Features {
    std::int64_t width = 0;
    at::Tensor value;    // (nodes, width), zero where absent and for users
    at::Tensor present;  // (nodes, 1) 0 or 1
  };

  NodeSpace space;
  at::Tensor training;     // (nodes, nodes) symmetric, 0 or 1
  at::Tensor all;          // the same with the interactions observed later
  at::Tensor same_person;  // (nodes, nodes) 1 where two user nodes are one person in two domains
  at::Tensor kind;         // (nodes, 2 domains) one-hot: users of each domain, items of each
  std::map<std::string, Features> features;
  std::vector<std::vector<std::int32_t>> user_of_person;  // [domain] (people) node or -1

  const at::Tensor& graph(Observed observed) const {
    return observed == Observed::training ? training : all;
  }
};

DenseWorld read_dense_world(const DatasetFile& dataset);

/// Centre, principal directions and scale of a modality, from the singular value decomposition of
/// the centred training items.
struct DenseStatistics {
  at::Tensor mean;        // (width)
  at::Tensor components;  // (width, columns); undefined where nothing is projected
  double scale = 1;
  /// Turns the directions round that point against `reference`, as their sign is free.
  void align_signs(const at::Tensor& reference);
};
DenseStatistics dense_statistics(const DenseWorld& world, const std::string& modality, int columns);

struct DenseTriple {
  std::int64_t user = 0;
  std::int64_t positive = 0;
  std::int64_t negative = 0;
  int domain = 0;
  double weight = 1;
};

struct DenseLoss {
  at::Tensor total;                     // scalar float64, to call backward() on
  std::map<std::string, double> parts;  // those with a weight, as logs name them

  /// `weight` * `term`, a scalar float64, if there is a weight.
  void add(const std::string& part, double weight, const at::Tensor& term);
};

/// The whole model written once more from its description: one process, dense float64 matrices,
/// layers one by one, gradients by autograd. Nothing of src/model's computation is used.
class DenseModel {
 public:
  /// `config` must have been resolved.
  DenseModel(const ModelConfig& config, const DenseWorld& world, std::uint64_t seed);

  /// The trained tensors by name, float64 leaves; the names and shapes are those of
  /// Model::parameters().
  std::map<std::string, at::Tensor> parameters;
  at::Tensor templates;  // (nodes, 1) 1 where the node is a template
  std::map<std::string, DenseStatistics> statistics;
  std::map<std::pair<int, int>, at::Tensor> ridge;  // (from, to) -> (dim + 1, dim)

  /// Takes over values, of any float type, and makes them leaves that require gradients.
  void set_parameters(const std::map<std::string, at::Tensor>& values);

  DenseLoss loss(const std::vector<DenseTriple>& triples, std::int64_t batch_rows,
                 std::int64_t step, std::int64_t epoch) const;
  /// Final rows of all nodes, (nodes, dim).
  at::Tensor embeddings(Observed observed, std::int64_t epoch) const;
  /// Fits the ridge maps on final rows of the training graph.
  void fit_ridge(const at::Tensor& z);

  /// Template scores s(v) = sum of 1 / |N| over a node's neighbours. (nodes)
  at::Tensor template_scores() const;
  /// S^m: (nodes, nodes), a row's weights on the items most like it.
  at::Tensor semantic_matrix(const std::string& modality) const;

 private:
  at::Tensor base_rows(Observed observed, std::int64_t epoch, std::int64_t step,
                       bool training) const;
  at::Tensor graph_rows(const at::Tensor& e, Observed observed) const;
  at::Tensor semantic_sum(const at::Tensor& x) const;    // sum_m b^m S^m x
  at::Tensor inputs(const std::string& modality) const;  // (nodes, columns), zero where absent
  at::Tensor content(const std::vector<at::Tensor>& means,
                     const std::vector<at::Tensor>& present) const;
  std::vector<at::Tensor> shares(const std::vector<at::Tensor>& present,
                                 const std::string& logits) const;
  std::vector<std::pair<std::int64_t, std::int64_t>> people_in_both(int first, int second) const;

  ModelConfig config_;
  const DenseWorld& world_;
  std::uint64_t seed_;
  std::map<std::string, at::Tensor> semantic_;  // modality -> S^m
};

}  // namespace micrec
