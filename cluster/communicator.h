#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "cluster/ledger.h"

namespace micrec {

enum class Reduction { sum, min, max };

/// Between hosts an all_reduce of at most so many bytes, all ranks' together, is one round of
/// everything to everyone; of more each rank reduces a share first.
inline constexpr std::int64_t kOneRoundBytes = 16 * 1024;

/// How a communicator treats its collectives.
struct CommunicatorOptions {
  /// Longest wait of a rank for its peers inside one collective.
  double deadline_seconds = 300;
  /// Longest wait for the ranks' GPUs to connect, which takes seconds.
  double connect_seconds = 120;
  /// Compares name, kind, dtype and sizes of each collective on all ranks before it runs: two small
  /// exchanges more, for which ranks on GPUs stand still. For tests and for the search for a hang.
  bool check_collectives = false;
  /// Keeps sums in rank order on GPUs too, where NCCL's own go in an order of its choosing.
  bool reproducible = false;
};

/// A collective ended because another rank failed: a consequence, never the cause.
class PeerFailure : public Error {
 public:
  /// `this_rank` ("rank 2 of 4") met it in `where` ("'halo.propagation' (collective 12)").
  PeerFailure(const std::string& this_rank, const std::string& where, int failed_rank,
              const std::string& why);
  int failed_rank() const { return failed_rank_; }

 private:
  int failed_rank_;
};

/// A collective that was started and whose result may still be travelling.
///
/// It is destroyed before its communicator; without wait() that counts as a failure, after which
/// the communicator can only be destroyed too.
class PendingTensor {
 public:
  PendingTensor() = default;
  PendingTensor(const PendingTensor&) = delete;
  PendingTensor& operator=(const PendingTensor&) = delete;
  virtual ~PendingTensor() = default;

  /// The result, once it is there; called once.
  /// Errors   as the collective; its deadline counts from here.
  virtual at::Tensor wait() = 0;
};

/// Collectives among the ranks of a group, on tensors, by name and with a deadline.
///
/// Every rank calls the same collectives in the same order. `name` is a literal
/// ("halo.propagation") that appears in logs and timeouts. Tensors are contiguous and on this
/// communicator's device; data of any dtype moves, and float32, float64, int32 and int64 can be
/// reduced. Reductions go in rank order (rank 0 first), so results have the same bits in every run
/// at the same number of ranks; on GPUs only with CommunicatorOptions::reproducible. A minimum or
/// maximum over a NaN is NaN. Results share no memory with arguments. After an error the
/// communicator can only be destroyed.
///
/// On a GPU a result is there for what the current stream is given next, and the host does not wait
/// for it. An error is then thrown by a later call, poll() included, and what was read of results
/// before that is worth nothing.
///
/// Messages name a rank by its number in the whole run, whichever group it acts in: "rank 5 of 8"
/// is always the same process.
///
/// Errors   Error(Cause::cluster) naming the collective, its number and the rank when a peer fails,
///          when the deadline passes, or when sizes disagree (on GPUs only with check_collectives);
///          CHECK on arguments that are wrong on this rank alone.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// The number in the whole run of a rank of this group, and how many ranks the run has.
  virtual int rank_in_run(int rank) const = 0;
  virtual int ranks_in_run() const = 0;

  /// The ranks of this group that gave the same colour, in the order of their ranks here, with the
  /// options of this group. A failure of any rank of the run ends the collectives of every group.
  /// Groups that share ranks are used in one order by all of them. `name` stays the group's in
  /// messages.
  /// Ranks    collective. This communicator must outlive the result.
  virtual std::unique_ptr<Communicator> split(const char* name, int color) = 0;

  virtual void barrier(const char* name) = 0;

  /// Rows of all ranks one after the other, rank 0's first.
  /// Shapes   local: (rows_per_rank[rank()], ...); returns (sum of rows_per_rank, ...).
  virtual at::Tensor all_gather(const char* name, const at::Tensor& local,
                                const std::vector<std::int64_t>& rows_per_rank) = 0;

  /// Sends the q-th block of rows to rank q and returns the blocks received, rank 0's first.
  /// Shapes   send: (sum of send_rows, ...); returns (sum of receive_rows, ...).
  virtual at::Tensor all_to_all(const char* name, const at::Tensor& send,
                                const std::vector<std::int64_t>& send_rows,
                                const std::vector<std::int64_t>& receive_rows) = 0;

  /// As all_to_all, but returns at once: the rows travel while the caller does something else,
  /// provided it calls poll() now and then. What was given must not change before wait() has
  /// returned. Several may be in flight and other collectives may come between; all ranks start and
  /// wait in one order.
  ///
  /// What is received goes into a tensor made beforehand, the rows of rank q to first_rows[q] and
  /// after. What is there may be read and written meanwhile but for those rows; wait() returns
  /// `into`.
  /// Shapes   into: (any number of rows, ...) as send's; first_rows: (ranks), so that no rows meet.
  virtual std::unique_ptr<PendingTensor> start_all_to_all_into(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
      const std::vector<std::int64_t>& first_rows) = 0;

  /// Reduces in place over all ranks; shapes agree everywhere.
  virtual void all_reduce(const char* name, at::Tensor& values,
                          Reduction reduction = Reduction::sum) = 0;

  /// Copies root's values to all ranks, in place; shapes agree everywhere.
  virtual void broadcast(const char* name, at::Tensor& values, int root) = 0;

  /// Moves what is in flight along, and throws a PeerFailure if another rank of the run has
  /// announced its failure: for a rank that works, or waits for something other than a collective.
  /// Ranks    not collective. Cost     about a microsecond.
  virtual void poll(const char* name) = 0;

  /// What this rank's collectives moved, in this group and in all that share its run. A backend
  /// adds what it moves by Ledger::record.
  virtual Ledger& ledger() = 0;

  /// Tells the other ranks of the run that this one has failed: the collective they are in, or
  /// enter next, in whatever group, ends with a PeerFailure that quotes `why`. Ranks    not
  /// collective.
  virtual void abort(const std::string& why) noexcept = 0;
};

/// The same number of bytes from every rank, one rank's after the other's. Ranks: collective.
std::vector<std::byte> gather_bytes(Communicator& communicator, const char* name, const void* own,
                                    std::size_t bytes);

/// Every rank's value, in rank order. Ranks: collective.
template <typename T>
std::vector<T> gather_values(Communicator& communicator, const char* name, const T& own) {
  static_assert(std::is_trivially_copyable_v<T>, "its bytes travel");
  const std::vector<std::byte> bytes = gather_bytes(communicator, name, &own, sizeof own);
  std::vector<T> values(bytes.size() / sizeof own);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// How many rows each rank holds, from this rank's own count. Ranks: collective.
std::vector<std::int64_t> gather_counts(Communicator& communicator, const char* name,
                                        std::int64_t own);

/// Variable-size exchange of host numbers: element q of the result is what rank q sent to this
/// rank. Ranks: collective.
std::vector<std::vector<std::int32_t>> exchange_lists(
    Communicator& communicator, const char* name,
    const std::vector<std::vector<std::int32_t>>& lists);

/// Whether `own` holds on at least one rank. Ranks: collective.
bool on_any_rank(Communicator& communicator, const char* name, bool own);

}  // namespace micrec
