#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/exchange_communicator.h"

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

/// Messages that were posted. A backend derives its own.
struct Transfer {
  using Clock = std::chrono::steady_clock;

  explicit Transfer(Messages posted) : messages(std::move(posted)) {}
  virtual ~Transfer() = default;

  Messages messages;
  bool is_over = false;       // this rank need not wait for another any more
  Clock::time_point over_at;  // when this rank noticed
};

/// All collectives on main memory, from messages that a backend posts and finishes.
///
/// It numbers the collectives, counts them in the ledger, compares them in the checked mode and
/// shows on the progress board where this rank waits.
///
/// Cost     A rank sends (ranks - 1) messages an exchange. all_reduce moves ranks * bytes while
///          that is little and 2 * bytes otherwise.
class HostCommunicator : public ExchangeCommunicator {
 public:
  HostCommunicator(const HostCommunicator&) = delete;
  HostCommunicator& operator=(const HostCommunicator&) = delete;

  int rank() const final { return rank_; }
  int size() const final { return size_; }
  int rank_in_run(int rank) const final { return membership_.ranks_in_run.at(rank); }
  int ranks_in_run() const final { return membership_.run_size; }
  std::unique_ptr<Communicator> split(const char* name, int color) final;
  Ledger& ledger() final { return *membership_.ledger; }
  void poll(const char* name) final;
  std::unique_ptr<PendingTensor> start(const Exchange& exchange) final;

  /// Shows there which collective this rank is in, from now on, in this group and those that are
  /// split from it later; `board` outlives them and may be null. Ranks: not collective.
  void show_progress_on(ProgressBoard* board) { membership_.progress = board; }

  /// Number of the collective that this rank has begun last in this group, 0 before the first.
  std::uint64_t latest_number() const { return number_; }
  /// "rank 2 of 4", and "'halo.propagation' (collective 12) of 'grid.rows'".
  std::string this_rank() const;
  std::string place(const char* name, std::uint64_t number) const;

  // For a collective whose data another transport moves beside this one.

  /// Begins it: it has the next number here, counts in the ledger, is this rank's latest on the
  /// board, and in the checked mode is compared like any other.
  /// Ranks    collective in the checked mode alone. Errors: as the collectives.
  /// Returns what names it to show_waiting_beside.
  std::uint64_t begin_beside(const Exchange& exchange);
  /// From any thread: shows that this rank waits in it, wherever its own thread is.
  void show_waiting_beside(const char* name, std::uint64_t number, std::uint64_t begun);
  void hide_waiting_beside();
  /// From any thread: the failure that another rank has announced, as an exception said to have
  /// been met in `where`; null: none, or none that can be heard beside the rank's own thread.
  virtual std::exception_ptr heard_beside(const std::string& where) const;
  /// From any thread: the ranks that have not begun it, or of this machine's those that wait in
  /// nothing, as "rank 1, last seen in ..."; empty where none is known.
  virtual std::string behind_in(std::uint64_t number) const;

 protected:
  HostCommunicator(Membership membership, const CommunicatorOptions& options);

  /// Posts messages to other ranks and returns; at least two ranks. Ranks    collective.
  virtual std::unique_ptr<Transfer> post(Messages messages) = 0;

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
  static std::string place(const Messages& messages);

 private:
  class Pending;

  c10::Device device() const final { return c10::Device(c10::kCPU); }
  [[noreturn]] void refuse(const std::string& what) const;
  void begin(const Exchange& exchange);
  void check(const Exchange& exchange);
  at::Tensor trade_rows(const char* name, const at::Tensor& mine);
  Transfer* launch(Messages messages);
  Transfer::Clock::time_point complete(Transfer& transfer);

  Membership membership_;
  int rank_;
  int size_;
  CommunicatorOptions options_;
  std::uint64_t number_ = 0;  // of the latest collective
  std::string failed_in_;     // the place of the failure that made this communicator unusable
  std::vector<std::unique_ptr<Transfer>> in_flight_;
};

}  // namespace micrec
