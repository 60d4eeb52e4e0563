#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/health/failure.h"
#include "cluster/host_communicator.h"

namespace micrec {

/// MPI between its start and its end; one object a process, and before any MpiCommunicator.
class MpiSession {
 public:
  /// Starts MPI. Ranks: collective over all processes of the launch.
  /// Errors   Error(Cause::cluster) if MPI cannot serve calls from more than one thread in turn.
  MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Ends MPI; waits for all ranks. Ranks: collective. A failing process calls end_all instead.
  void finish();

  /// Ends all processes of the launch; mpirun and srun return `exit_code`.
  [[noreturn]] static void end_all(int exit_code);

 private:
  int rank_ = 0;
  int size_ = 1;
};

/// Rank of a group of processes.
///
/// All groups of a run share MPI's communicators: a group is a list of ranks and a part of its
/// messages' tags, so that making one is no more than an exchange, under the deadline like any
/// other, and a failure announced anywhere is heard in every group.
///
/// Calls are nonblocking and polled against the deadline, first by yielding the core, then by short
/// naps, since ranks may be more than cores. While it waits a rank also listens for failures that
/// others announce.
class MpiCommunicator final : public HostCommunicator {
 public:
  /// Longer messages travel in pieces: MPI counts bytes in 31 bits, and each piece that has arrived
  /// shows a waiting rank that it need not nap.
  static constexpr std::int64_t kMostMessageBytes = std::int64_t{4} << 20;

  /// All processes of the launch. Ranks: collective.
  static std::unique_ptr<MpiCommunicator> world(
      const CommunicatorOptions& options, std::int64_t most_message_bytes = kMostMessageBytes);
  /// The processes on this machine. Ranks: collective over the world.
  static std::unique_ptr<MpiCommunicator> this_machine(const CommunicatorOptions& options);

  ~MpiCommunicator() override;

  void abort(const std::string& why) noexcept override;

  /// Tells all others of the run, once; later calls do nothing. Ranks: not collective.
  void announce(const RankFailure& failure) noexcept;

  /// The failures announced so far, this rank's own included; returns when every rank has failed,
  /// at the latest after `seconds`. Ranks: not collective.
  RankFailures collect_failures(double seconds) noexcept;

 private:
  struct State;
  struct Requests;

  MpiCommunicator(std::shared_ptr<State> state, Membership membership,
                  const CommunicatorOptions& options);
  static std::unique_ptr<MpiCommunicator> over(std::shared_ptr<State> state,
                                               const CommunicatorOptions& options);

  std::unique_ptr<Communicator> make_subgroup(Membership membership) override;
  std::unique_ptr<Transfer> post(Messages messages) override;
  void finish(Transfer& transfer) override;
  void advance(std::vector<std::unique_ptr<Transfer>>& transfers) override;
  void listen(const std::function<std::string()>& where) override;

  /// Whether a message of the transfer was finished.
  bool test(Requests& transfer);
  std::vector<std::string> missing_in(const Requests& transfer) const;
  bool settle_in_flight() noexcept;

  std::shared_ptr<State> state_;  // of all groups of the run
};

}  // namespace micrec
