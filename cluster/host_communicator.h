#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

class ProgressBoard;

/// A rank waited for its peers until the deadline: it saw that somebody hangs, but not why.
class DeadlinePassed : public Error {
 public:
  explicit DeadlinePassed(const std::string& message) : Error(Cause::cluster, message) {}
};

/// A rank's place in a group, and the group's in the whole run.
struct Membership {
  const char* group = nullptr;  ///< what split() called it; null: the whole run
  std::uint64_t key = 0;        ///< the same on all ranks of the group, and of this group alone
  int rank = 0;
  std::vector<int> ranks_in_run;  ///< (ranks of the group)
  int run_size = 1;
  std::shared_ptr<Ledger> ledger;     ///< of this rank, in all its groups
  ProgressBoard* progress = nullptr;  ///< where this rank shows what it waits in; may be null

  static Membership whole_run(int rank, int size);
};

enum class CollectiveKind : std::int32_t {
  barrier,
  all_gather,
  reduce_scatter,
  all_to_all,
  all_reduce,
  broadcast,
};

/// A collective as the ranks compare it in the checked mode; -1 where a kind has no such thing.
struct CollectiveCall {
  const char* name = nullptr;
  CollectiveKind kind = CollectiveKind::barrier;
  std::int32_t dtype = -1;
  std::int32_t reduction = -1;
  std::int32_t root = -1;
  std::int64_t row_bytes = 0;
};

/// What one rank sends to and receives from every other rank in one step of a collective. The
/// entries of the rank itself have no bytes.
struct Exchange {
  const char* name = nullptr;
  const char* group = nullptr;  ///< null: the whole run
  std::uint64_t number =
      0;                  ///< of the collective, from 1; one collective may take several exchanges
  bool of_check = false;  ///< belongs to the checked mode, so name and number may differ by rank
  std::vector<const std::byte*> send;       // (ranks)
  std::vector<std::int64_t> send_bytes;     // (ranks)
  std::vector<std::byte*> receive;          // (ranks)
  std::vector<std::int64_t> receive_bytes;  // (ranks)
};

/// An exchange that was posted. A backend derives its own.
struct Transfer {
  using Clock = std::chrono::steady_clock;

  virtual ~Transfer() = default;

  Exchange exchange;
  std::vector<at::Tensor> buffers;  // what the exchange points into, alive until it is over
  bool is_over = false;             // this rank need not wait for another any more
  Clock::time_point over_at;        // when this rank noticed
};

/// All collectives on host memory from one primitive, a variable-size exchange of bytes.
///
/// Reductions are an exchange and a sum in rank order by the one rank that keeps the element, so
/// the bits do not depend on the backend, on the size or on who arrives first.
///
/// Cost     A rank sends (ranks - 1) messages an exchange. all_reduce moves ranks * bytes while
/// that
///          is little and 2 * bytes otherwise; reduce_scatter takes as much memory again as `full`.
class HostCommunicator : public Communicator {
 public:
  HostCommunicator(const HostCommunicator&) = delete;
  HostCommunicator& operator=(const HostCommunicator&) = delete;

  int rank() const final { return rank_; }
  int size() const final { return size_; }
  int rank_in_run(int rank) const final { return membership_.ranks_in_run.at(rank); }
  int ranks_in_run() const final { return membership_.run_size; }
  std::uint64_t latest_number() const final { return number_; }

  /// Shows there which collective this rank is in, from now on, in this group and those that are
  /// split from it later; `board` outlives them and may be null. Ranks: not collective.
  void show_progress_on(ProgressBoard* board) { membership_.progress = board; }

  /// Begins a collective whose data another transport moves beside this one: it has the next number
  /// here, counts in the ledger, is this rank's latest on the board, and in the checked mode is
  /// compared like any other.
  /// Shapes   rows_to, rows_from: (ranks), rows to and from each rank.
  /// Ranks    collective in the checked mode alone. Errors: as the collectives.
  /// Returns what names it to show_waiting_beside.
  std::uint64_t begin_beside(const CollectiveCall& call, const std::vector<std::int64_t>& rows_to,
                             const std::vector<std::int64_t>& rows_from);

  // Of such a collective, from any thread:
  /// Shows that this rank waits in it, wherever its own thread is; null: it no longer does.
  void show_waiting_beside(const char* name, std::uint64_t number, std::uint64_t begun);
  void hide_waiting_beside();
  /// The failure that another rank has announced, as an exception said to have been met in `where`;
  /// null: none, or none that can be heard beside the rank's own thread.
  virtual std::exception_ptr heard_beside(const std::string& where) const;
  /// The ranks that have not begun it, or of this machine's those that wait in nothing, as "rank 1,
  /// last seen in ..."; empty where none is known.
  virtual std::string behind_in(std::uint64_t number) const;

  /// "rank 2 of 4", and "'halo.propagation' (collective 12) of 'grid.rows'".
  std::string this_rank() const;
  std::string place(const char* name, std::uint64_t number) const {
    return place(name, number, membership_.group);
  }

  std::unique_ptr<Communicator> split(const char* name, int color) final;
  void barrier(const char* name) final;
  at::Tensor all_gather(const char* name, const at::Tensor& local,
                        const std::vector<std::int64_t>& rows_per_rank) final;
  at::Tensor reduce_scatter(const char* name, const at::Tensor& full,
                            const std::vector<std::int64_t>& rows_per_rank) final;
  at::Tensor all_to_all(const char* name, const at::Tensor& send,
                        const std::vector<std::int64_t>& send_rows,
                        const std::vector<std::int64_t>& receive_rows) final;
  void all_reduce(const char* name, at::Tensor& values, Reduction reduction = Reduction::sum) final;
  void broadcast(const char* name, at::Tensor& values, int root) final;
  std::unique_ptr<PendingTensor> start_all_gather(
      const char* name, const at::Tensor& local,
      const std::vector<std::int64_t>& rows_per_rank) final;
  std::unique_ptr<PendingTensor> start_all_to_all(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows) final;
  std::unique_ptr<PendingTensor> start_all_to_all_into(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
      const std::vector<std::int64_t>& first_rows) final;
  Ledger& ledger() final { return *membership_.ledger; }
  void poll(const char* name) final;

 protected:
  HostCommunicator(Membership membership, const CommunicatorOptions& options);

  /// Posts the buffers and returns; at least two ranks. Ranks    collective.
  virtual std::unique_ptr<Transfer> post(const Exchange& exchange,
                                         std::vector<at::Tensor> buffers) = 0;

  /// Returns when the transfer is over, so that its buffers are free again. Ranks    collective.
  /// Errors   Error(Cause::cluster) as the collectives; PeerFailure.
  virtual void finish(Transfer& transfer) = 0;

  /// Moves transfers along that are not over, as far as that goes without waiting.
  virtual void advance(std::vector<std::unique_ptr<Transfer>>& transfers) = 0;

  /// The communicator of this rank in a group of ranks of this one, all of which call it.
  virtual std::unique_ptr<Communicator> make_subgroup(Membership membership) = 0;

  /// A collective beside this communicator has begun on this rank.
  virtual void note_begun(const char* /*name*/, std::uint64_t /*number*/) {}

  /// Throws a PeerFailure, said to have happened in `where()`, if another rank has failed.
  virtual void listen(const std::function<std::string()>& where) = 0;

  /// Whether an exchange failed or was abandoned; and those that are not over, whose buffers a
  /// transport may still touch.
  bool has_failed() const { return !failed_in_.empty(); }
  std::vector<std::unique_ptr<Transfer>>& in_flight() { return in_flight_; }

  const CommunicatorOptions& options() const { return options_; }
  const Membership& membership() const { return membership_; }
  static std::string place(const char* name, std::uint64_t number, const char* group);
  static std::string place(const Exchange& exchange) {
    return place(exchange.name, exchange.number, exchange.group);
  }

 private:
  struct Header;
  struct Prepared;
  class Pending;

  Exchange new_exchange(const char* name) const;
  Prepared prepare_all_gather(const char* name, const at::Tensor& local,
                              const std::vector<std::int64_t>& rows_per_rank);
  Prepared prepare_all_to_all(const char* name, const at::Tensor& send,
                              const std::vector<std::int64_t>& send_rows,
                              const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
                              const std::vector<std::int64_t>& first_rows);
  Prepared prepare_all_to_all(const char* name, const at::Tensor& send,
                              const std::vector<std::int64_t>& send_rows,
                              const std::vector<std::int64_t>& receive_rows);
  std::unique_ptr<PendingTensor> start(const Prepared& prepared);
  void run(const Exchange& exchange, const std::vector<at::Tensor>& buffers);
  Transfer* launch(const Exchange& exchange, const std::vector<at::Tensor>& buffers);
  void finish_or_fail(Transfer& transfer);
  void forget(const Transfer& transfer);
  void begin(const char* name, const Header& header, const std::vector<std::int64_t>& rows_to,
             const std::vector<std::int64_t>& rows_from);
  void check(const char* name, const Header& header, const std::vector<std::int64_t>& rows_to,
             const std::vector<std::int64_t>& rows_from);

  Membership membership_;
  int rank_;
  int size_;
  CommunicatorOptions options_;
  std::uint64_t number_ = 0;  // of the latest collective
  std::string failed_in_;     // the place of the failure that made this communicator unusable
  std::vector<std::unique_ptr<Transfer>> in_flight_;
};

}  // namespace micrec
