#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "partition/ownership.h"
#include "partition/planning/step_needs.h"
#include "partition/process_grid.h"

namespace micrec {

// The words in which the parts of a model declare, each in its own file, what a training step makes
// one rank send, hold and do. A plan is the sum of what they declare.

inline constexpr double kFloatBytes = 4;
inline constexpr double kDoubleBytes = 8;
inline constexpr double kNodeBytes = 4;  ///< of a node's number

/// The ranks among which an exchange is made.
enum class Group { rows, columns, world };
int ranks_of(Group group, ProcessGrid grid);

/// What memory is for. The last four are not needed at the same time: a rank needs the largest of
/// them beside all others.
enum class MemoryKind {
  program,          ///< code and libraries of a process, before any data
  graph,            ///< interactions, lists of the halo, sampling, evaluation's lists
  embeddings,       ///< trained rows
  optimizer,        ///< Adam's two moments
  features,         ///< inputs of the content term
  checkpoint_copy,  ///< of rows and moments, while a save goes on in the background
  loading,          ///< features on their way in
  activations,      ///< rows of a step and their gradients
  halo_buffers,     ///< rows of others, sent and received, beside the activations
  evaluation,       ///< final rows, and the items that all users are compared with
};
inline constexpr int kMemoryKinds = 10;

/// Sizes that a data set has as a whole.
struct DatasetShape {
  std::int64_t nodes = 0;
  std::int64_t users = 0;
  std::vector<std::int64_t> items_of_domain;
  std::vector<std::int64_t> feature_width;  ///< of each modality used, as stored
  bool has_evaluation = true;
};

/// What a step's costs depend on besides the model, over all row parts.
struct StepLoads {
  std::vector<RankLoad> loads;              // (row parts)
  std::vector<std::int64_t> user_nonzeros;  // (row parts) training interactions of its users
  StepNeeds needs;                          // (row parts)
  std::vector<SemanticHalo> semantic;       // of each modality with semantic neighbours
  DatasetShape dataset;
};

/// A rank of a grid, and what is known of its share.
struct RankPlace {
  const StepLoads& of;
  ProcessGrid grid;
  double dim = 0;      ///< columns of an embedding
  int row = 0;         ///< row part
  double columns = 0;  ///< of the embedding, on this rank
  bool on_gpu = false;

  const StepNeeds& needs() const { return of.needs; }
  double items() const { return static_cast<double>(of.loads[row].items); }
  double rows() const { return static_cast<double>(of.loads[row].users) + items(); }
  double nonzeros() const { return static_cast<double>(of.loads[row].nonzeros); }
  double triples() const { return of.needs.triples[row]; }
  double halo_sent() const { return static_cast<double>(of.needs.halo.sent[row]); }
  double halo_received() const { return static_cast<double>(of.needs.halo.received[row]); }
  double row_bytes() const { return columns * kFloatBytes; }    ///< of a row's own columns
  double matrix_bytes() const { return rows() * row_bytes(); }  ///< of all owned rows
  /// What a product reads of each nonzero: its number, and of the neighbour's row whole lines of
  /// the cache, so that narrow columns save nothing.
  double nonzero_bytes() const { return std::max(row_bytes(), 64.0) + kNodeBytes; }

  /// What a rank sends for a sum over the ranks of a group that all of them need ...
  double summed_bytes(Group group, double numbers) const;
  /// ... and where it sends its summand to all others, all float64.
  double gathered_bytes(Group group, double numbers) const;
};

/// What one rank sends, holds and does in a training step.
class StepCosts {
 public:
  explicit StepCosts(ProcessGrid grid) : grid_(grid) {}

  /// An exchange, by its name in the code, that is made `calls` times a step, with the bytes that
  /// this rank sends in all of them together. What nobody takes part in is left out.
  void exchange(const char* name, Group group, double calls, double bytes);
  /// Bytes that travel in an exchange that another part makes.
  void joins(const char* name, double bytes) { joined_[name] += bytes; }

  void memory(MemoryKind kind, double bytes) { memory_[static_cast<int>(kind)] += bytes; }
  /// Memory that is given back before the next such is taken: the largest counts.
  void memory_in_turn(MemoryKind kind, double bytes) {
    double& most = memory_[static_cast<int>(kind)];
    most = std::max(most, bytes);
  }

  void neighbour_bytes(double bytes) { neighbour_bytes_ += bytes; }  ///< read by neighbour sums
  void matrix_operations(double operations) { matrix_operations_ += operations; }
  void copied_bytes(double bytes) { copied_bytes_ += bytes; }  ///< read and written once each

  struct Exchange {
    const char* name;
    double calls;
    double messages;  // to other ranks
    double bytes;
  };
  /// In the order in which they are first met.
  std::vector<Exchange> exchanges() const;
  const std::array<double, kMemoryKinds>& memory() const { return memory_; }
  double neighbour_bytes() const { return neighbour_bytes_; }
  double matrix_operations() const { return matrix_operations_; }
  double copied_bytes() const { return copied_bytes_; }

 private:
  ProcessGrid grid_;
  std::vector<Exchange> exchanges_;
  std::map<std::string, double> joined_;
  std::array<double, kMemoryKinds> memory_{};
  double neighbour_bytes_ = 0;
  double matrix_operations_ = 0;
  double copied_bytes_ = 0;
};

/// A training step, as far as a plan depends on it.
struct StepShape {
  std::int64_t dim = 64;  ///< columns over all column parts
  BatchShape batch;
  int moments = 2;      ///< that the optimizer keeps of each number of an embedding
  bool on_gpu = false;  ///< where it is computed, else on a CPU
  int semantic_modalities = 0;
  int semantic_neighbours = 0;
  /// What the parts of the model declare for a rank.
  std::function<void(const RankPlace& at, StepCosts& costs)> declare;
};

/// What every rank of the grid declares. Shapes   loads have grid.rows parts; returns
/// (grid.ranks()). Cost     ranks * exchanges.
std::vector<StepCosts> costs_of_ranks(const StepShape& shape, ProcessGrid grid,
                                      const StepLoads& loads);

}  // namespace micrec
