#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cluster/health/nccl_watch.h"
#include "cluster/host_communicator.h"
#include "cluster/nccl_link.h"

namespace micrec {

/// Rank of a group whose tensors are on GPUs: NCCL moves those, and a host communicator of the same
/// ranks moves what is in main memory, and control.
///
/// The host gives a collective to a stream of its own, lets the current stream wait for it and goes
/// on. A thread beside it (NcclWatch) watches the deadline, NCCL's errors and the failures that
/// other ranks announce, and ends NCCL's work at each of these; the next call throws it. Who keeps
/// the others waiting is seen on the progress board, where every collective is shown as it begins.
/// NCCL knows neither names nor sizes: ranks that do not do the same hang until the deadline. With
/// check_collectives they compare, through the host communicator, what they are about to do.
///
/// Equal shares move by NCCL's own collectives, and nearly equal ones too, padded; others by
/// grouped sends and receives. A reduction whose order matters (`reproducible`), and a minimum or
/// maximum that must keep a NaN, is an exchange and a kernel of ours.
///
/// A group of one rank touches neither NCCL nor a link.
///
/// In the ledger `waited_seconds` is what the host spent to give the work, `hidden_seconds` from
/// then to its end on the GPU, what it queued behind included, as noticed to 2 ms. Bytes are those
/// of a ring, padding included; NCCL may find a shorter way.
///
/// Cost     An all_gather moves (ranks - 1) shares a rank, all_reduce 2 * (ranks - 1) / ranks of
///          its bytes. Uneven shares and our own reductions send (ranks - 1) messages; the latter
///          take as much memory again as what they reduce.
class NcclCommunicator final : public ExchangeCommunicator {
 public:
  /// Padding may take a tenth of the bytes again.
  static constexpr double kMostPadding = 0.1;

  /// Makes an id on rank 0 and shows it to all. Ranks: collective.
  static NcclId share_id(Communicator& host, NcclLink& link);

  /// Connects the ranks of `host`, which must outlive this object; `link` is on `device`, and may
  /// be null where there is one rank alone. Ranks: collective.
  /// Errors   Error(Cause::cluster) where the library is not one that the header describes, or the
  ///          ranks do not connect before the deadline.
  NcclCommunicator(HostCommunicator& host, c10::Device device, std::unique_ptr<NcclLink> link,
                   const NcclId& id, const CommunicatorOptions& options);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  int rank_in_run(int rank) const override { return host_->rank_in_run(rank); }
  int ranks_in_run() const override { return host_->ranks_in_run(); }

  std::unique_ptr<Communicator> split(const char* name, int color) override;
  std::unique_ptr<PendingTensor> start(const Exchange& exchange) override;
  at::Tensor run(const Exchange& exchange) override;
  void poll(const char* name) override;
  Ledger& ledger() override { return host_->ledger(); }
  void abort(const std::string& why) noexcept override;

  /// Throws what has ended this communicator or one of its groups, unless a call has thrown it.
  void throw_untold();
  /// Waits until nothing is under way, and throws as throw_untold.
  void settle();

 private:
  class Pending;
  class Collective;

  NcclCommunicator(std::unique_ptr<Communicator> host, const NcclCommunicator& whole,
                   std::unique_ptr<NcclLink> link, const NcclId& id);
  void join(const NcclId& id);

  c10::Device device() const override { return device_; }
  bool on_gpu(const Exchange& exchange) const;
  std::string place(const char* name) const { return host_->place(name, host_->latest_number()); }
  [[noreturn]] void refuse(const std::string& what);
  void refuse_if_failed(const char* name);
  void fail(const std::string& where);

  /// Runs `body` and makes the communicator unusable if it throws.
  void guarded(const char* name, const std::function<void()>& body);
  void wait_until_ready(const char* name, std::uint64_t begun, const char* what,
                        double deadline_seconds);

  std::unique_ptr<Communicator> owned_host_;  // of a group that split() made
  HostCommunicator* host_;
  c10::Device device_;
  std::unique_ptr<NcclLink> link_;  // null where there is one rank
  CommunicatorOptions options_;
  int exceptions_before_;  // in flight when this object was made
  std::shared_ptr<NcclFailure> failure_;
  std::unique_ptr<NcclWatch> watch_;  // null as the link
};

}  // namespace micrec
