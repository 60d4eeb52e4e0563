#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/pattern.h"
#include "model/model_part.h"

namespace micrec {

struct EdgeDropout;

/// The rows of all nodes before the graph part. Inductive kinds make a node's from the trained rows
/// of the templates around it and a token of its kind:
///
///   e_v = s_v^(a/2 - 1) * (sum over templates t in N(v) of p_t + token of v's kind)
///
/// with s one more than the number of templates and an exponent that is annealed from epoch to
/// epoch. Other kinds have a table.
/// Source   INMO (Wu et al. 2022, arXiv:2107.05247).
class TemplateEmbedding {
 public:
  explicit TemplateEmbedding(const PartInputs& inputs);

  /// Draws the tables and chooses the templates. Ranks: collective.
  void initialise();
  /// Counts the templates around every node. Ranks: collective.
  void refresh();
  /// Chooses the templates anew, on this graph, where the rows are those of another: what was no
  /// template there begins with what is inferred for it, of a table with the mean of the others of
  /// its kind. Shapes   is_new: (owned rows) bool. Ranks: collective.
  void let_in(const at::Tensor& is_new, std::int64_t epoch);

  /// Draws which tokens dropout leaves in a step. Ranks: local.
  void plan(StepContext& step) const;
  /// Shapes   returns (owned rows, width), with dropout where the context trains. Ranks:
  /// collective, one halo exchange each way where the kind is inductive.
  at::Tensor rows(StepContext& context);
  /// The same without dropout, of new nodes too: a table has the mean of the old rows of their
  /// kind. Without gradient.
  at::Tensor inferred_rows(StepContext& context);
  /// Of people who join later. Ranks: one alone.
  RowsOfNew rows_of_new(std::int64_t epoch) const;

  /// What each of the owned rows that somebody of `domain` who joins later has interacted with adds
  /// to their row, and in the last row what belongs to none. Shapes   returns (rows + 1, dim).
  /// Ranks: one alone.
  at::Tensor shares_of_new(const at::Tensor& rows, int domain, std::int64_t epoch) const;

  /// Shapes   (owned rows, width), a leaf.
  const at::Tensor& table() const { return table_->value; }
  /// (2 domains, width) mean of the rows that training has seen: of the users of each domain, then
  /// of the items of each. Ranks: collective.
  at::Tensor means_of_old() const;
  /// Of a node of any rank.
  bool is_template(GlobalNode node) const { return templates_[value(node)] != 0; }

  static void declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs);

 private:
  void choose_templates();
  void give_tokens();
  /// Of every node a number that its owner has. Shapes   of_owned: (owned rows); returns (nodes).
  template <typename Number>
  std::vector<Number> of_all_nodes(const char* name, const at::Tensor& of_owned) const;
  /// `count`: (owned rows) of the templates around each
  bool mask_says_something(const at::Tensor& count) const;
  const at::Tensor& scale(std::int64_t epoch);  // (local rows) s^(a/2 - 1), kept for an epoch
  at::Tensor token_weight(const StepContext& context, const at::Tensor& own_scale) const;

  const ModelConfig& config_;
  const Shard& shard_;
  const ColumnSums& sums_;
  std::uint64_t seed_;
  StateTensor* table_;
  Parameter* tokens_ = nullptr;

  at::Tensor template_mask_;             // (owned rows) uint8, a buffer
  at::Tensor is_template_;               // (local rows) float32
  std::vector<std::uint8_t> templates_;  // (nodes) 1 for templates
  at::Tensor sum_mask_;              // is_template_, undefined where sums are the same without it
  at::Tensor template_count_;        // (local rows) s - 1: int32, or float32 with share_templates
  std::int64_t most_templates_ = 0;  // the largest of them, where they are int32
  std::int64_t scale_epoch_ = -1;
  at::Tensor scale_;
  at::Tensor token_of_;  // (owned rows) int32, of the summands' copies of the tokens
  Pattern token_rows_;   // (summands * 2 domains) the rows that have each of them
};

}  // namespace micrec
