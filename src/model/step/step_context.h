#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "data/batches.h"
#include "graph/operators.h"
#include "graph/row_exchange.h"
#include "kernels/selected_rows.h"
#include "kernels/upload.h"
#include "model/step/column_exchange.h"
#include "model/step/column_sums.h"
#include "model/step/dense_inputs.h"
#include "model/step/row_groups.h"
#include "model/step/shard.h"
#include "model/step/step_parts.h"
#include "model/step/step_shape.h"

namespace micrec {

/// When a step happens; everything random in it is a function of this and the seed.
struct StepTime {
  std::int64_t step = 0;       // since the start of training
  std::int64_t epoch = 0;      // decides the annealing
  StepParts* parts = nullptr;  // is told when planning ends and the forward part begins
};

/// The parts of a step's loss over all ranks, as weighted in the total.
struct StepLoss {
  /// By the names that logs have, in the order in which they are added.
  std::vector<std::pair<std::string, double>> by_name;

  double of(std::string_view name) const;  ///< 0 where there is no such part
  double total() const;
};

/// The same numbers where the model computes them: on a GPU, reading them waits for it.
struct LossValues {
  std::vector<const char*> parts;  // their names
  at::Tensor values;               // (parts) float64

  StepLoss read() const;
};

/// A step's loss before its backward pass: what autograd goes back from, and this rank's shares of
/// the parts. All on the device of the model, float64; an undefined share is zero.
struct StepShare {
  std::vector<at::Tensor> terms;        // scalars, of which it is the sum
  std::vector<const char*> parts;       // their names
  std::vector<at::Tensor> of_summands;  // of each part (summands of this rank), once a row part
  std::vector<at::Tensor> of_rank;      // of each part a scalar, once a rank
};

/// A rank's part of the contrastive batch of one pair of domains.
struct ContrastiveBatch {
  std::vector<std::int32_t> first_rows;   // (people of the row part) owned rows in one domain
  std::vector<std::int32_t> second_rows;  // and in the other
  // (ranks of the world) people of the batch whose whole rows each rank takes
  std::vector<std::int64_t> rows_per_rank;
  // (people) the place in the step's choice of every person of the batch, rank 0's people first;
  // rising within a rank
  std::vector<std::int32_t> positions;
};

/// What a step needs of the items of its batch, from their owners in one exchange.
class BatchItems {
 public:
  /// Names what was added.
  enum class Handle : int {};

  /// Shapes   of_requested: (requested rows, width) float32, of the owned rows that any rank asks
  /// for, in their order.
  Handle add(const at::Tensor& of_requested);
  /// Ranks: collective, one exchange each way.
  void exchange(const RowExchange& exchange, const char* name);
  /// Shapes   returns (2n, width), of the triples' positives, then of their negatives.
  const at::Tensor& of(Handle handle) const { return parts_.at(static_cast<std::size_t>(handle)); }

  /// The exchange of final rows, and that a part adds so many rows of each item.
  static void declare(const RankPlace& at, StepCosts& costs);
  static void declare_added(const RankPlace& at, double rows, StepCosts& costs);

 private:
  std::vector<at::Tensor> parts_;
};

/// What the parts of the model share in one training step, from its batch to its loss; or, where it
/// is made of an epoch alone, in an inference without gradient and dropout.
///
/// A step is planned first: who needs which rows, and all that is drawn. That reads nothing that
/// training changes, so it may be done ahead on another thread, and all of it goes to a GPU in one
/// copy.
class StepContext {
 public:
  /// All references outlive it. `batch_rows`: triples of all ranks together; `parts`: names of
  /// the loss's. Ranks: collective in the row group.
  StepContext(const Shard& shard, const ColumnSums& sums, std::uint64_t seed, TripleBatch batch,
              std::int64_t batch_rows, StepTime time, std::vector<const char*> parts);
  /// Ranks: local.
  StepContext(const Shard& shard, const ColumnSums& sums, std::int64_t epoch);

  const Shard& shard;
  const ColumnSums& sums;
  DenseInputs dense;
  const StepTime time;
  const std::uint64_t seed = 0;

  bool trains() const { return batch_.has_value(); }
  const TripleBatch& batch() const { return *batch_; }
  std::int64_t batch_rows() const { return batch_rows_; }
  std::int64_t triples() const { return batch_->size(); }  ///< n, of this rank

  /// Names rows that were wanted.
  enum class Wanted : int {};
  /// Names numbers that were planned.
  enum class Planned : int {};

  // First, the plan: who needs which rows, in any order, and what is drawn.
  Wanted want(std::vector<std::int32_t> owned_rows);
  template <typename Number>
  Planned plan(std::vector<Number> numbers) {
    planned_.emplace_back(KeptNumbers<Number>(std::move(numbers)));
    return static_cast<Planned>(planned_.size() - 1);
  }
  /// Nobody wants more. Ranks: collective in the row group where propagates_wanted.
  void finish_plan();
  /// The loss begins to be computed: what was planned goes to the device.
  void begin_forward();

  /// Owned rows whose final rows somebody wants.
  const std::shared_ptr<const SelectedRows>& wanted_rows() const { return wanted_; }
  /// The same with what of their gradients travels, where propagates_wanted was set.
  const std::shared_ptr<const ActiveRows>& active_rows() const;
  /// Shapes   of_wanted: (wanted rows, width); returns (rows of `which`, width).
  at::Tensor rows_of(const at::Tensor& of_wanted, Wanted which) const;
  /// Shapes   returns (numbers) of their type, on the shard's device.
  at::Tensor planned(Planned which) const;
  /// Where the host has them, which were planned as double.
  const std::vector<double>& planned_here(Planned which) const;
  /// Of all owned rows those wanted, where takes_wanted was set.
  at::Tensor wanted_of(const at::Tensor& of_owned) const;
  at::Tensor rows_of_users(const at::Tensor& of_wanted) const { return rows_of(of_wanted, users_); }
  at::Tensor rows_of_requested(const at::Tensor& of_wanted) const {
    return rows_of(of_wanted, requested_);
  }
  /// Of a tensor of all owned rows those of the triples' users, and those of the items asked for.
  at::Tensor owned_of_users(const at::Tensor& of_owned) const;
  at::Tensor owned_of_requested(const at::Tensor& of_owned) const;

  // What parts have planned.
  struct People {
    ContrastiveBatch batch;
    ColumnExchange columns;    // to the ranks of the row part that take their whole rows
    Wanted first{}, second{};  // their rows in either domain
  };
  std::vector<People> people;  // of each pair of domains
  Planned triple_weights{};    // (n) float64
  Planned self_weights{};      // (n) float64, zero where a node is no template
  Planned modality_sets{};     // (3n) int32, of the content term
  Planned token_keep{};        // (owned rows) float32 factor of each token, where there is dropout
  Planned cold_items{};  // (owned rows) float32, 1 for those of SemanticNeighbours::plan_cold()

  /// How sums over the triples are grouped, over `blocks` rows for each of them, and those over
  /// the items asked for.
  RowGroups groups_of_triples(int blocks = 1) const;
  RowGroups groups_of_requested() const;

  bool takes_wanted = false;       // whether somebody asks for wanted_of(), ...
  bool propagates_wanted = false;  // ... and for active_rows(); both set before the plan ends
  bool wants_templates = false;    // whether somebody reads what follows; set where rows are wanted
  at::Tensor templates;            // (wanted rows, width) of the trained table
  at::Tensor z;                    // (wanted rows, width) graph rows
  BatchItems items;
  void exchange_items() { items.exchange(*exchange_, "batch.items"); }
  // (3n, width) final rows of the triples: of the users, of the positives, of the negatives
  at::Tensor final_rows;

  StepShare share;
  void add_loss(const at::Tensor& term);
  /// This rank's share of a part of the loss, for logs: by summand, the same on all ranks of the
  /// row part, or a number of its own, which is added to those before. Shapes   of_summands:
  /// (summands of this rank) float64, of_rank: a float64 scalar, both on the shard's device.
  void report(std::string_view part, const at::Tensor& of_summands);
  void report_of_rank(std::string_view part, const at::Tensor& of_rank);

  /// Who needs which items.
  static void declare(const RankPlace& at, StepCosts& costs);

 private:
  std::int64_t place_of(std::string_view part) const;

  /// Rows that were wanted, and once the plan is finished which of the wanted they are.
  struct WantedList {
    RowList owned;
    std::optional<TakenRows> taken;
  };
  using PlannedList =
      std::variant<KeptNumbers<float>, KeptNumbers<double>, KeptNumbers<std::int32_t>>;
  const WantedList& list_of(Wanted which) const {
    return lists_.at(static_cast<std::size_t>(which));
  }

  std::optional<TripleBatch> batch_;
  std::int64_t batch_rows_ = 0;
  std::optional<RowExchange> exchange_;
  std::vector<WantedList> lists_;
  std::vector<PlannedList> planned_;
  Wanted users_{};
  Wanted requested_{};
  std::shared_ptr<const SelectedRows> wanted_;
  std::shared_ptr<const ActiveRows> active_;
  std::optional<TakenRows> taken_;  // those wanted, of all owned
  UploadBatch uploads_{c10::Device(c10::kCPU)};
};

}  // namespace micrec
