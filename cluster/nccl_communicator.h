#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/timer.h"
#include "cluster/communicator.h"
#include "cluster/nccl_link.h"

namespace micrec {

/// Rank of a group whose tensors are on GPUs: NCCL moves those, and a host communicator of the same
/// ranks moves what is in main memory, and control.
///
/// Before anything of a collective is given to the GPU, the ranks tell each other through the host
/// communicator which one they are in and how much they send and expect. So a rank that does not
/// come, or comes with something else, is found and named there as on a CPU, in every mode, and
/// NCCL, which knows neither names nor sizes, is never left waiting for it. What NCCL then moves is
/// polled against the deadline, together with its asynchronous errors and the failures that other
/// ranks announce; each of these ends NCCL's work on the GPU.
///
/// Messages are grouped sends and receives, and a reduction adds what came from the ranks in their
/// order by a kernel of ours, since NCCL's own sums have an order of its choosing.
///
/// Cost     One small host exchange a collective. A rank sends (ranks - 1) messages; all_reduce
///          moves ranks * bytes while that is little and 2 * bytes otherwise; reduce_scatter takes
///          as much memory again as `full`.
class NcclCommunicator final : public Communicator {
 public:
  /// Makes an id on rank 0 and shows it to all. Ranks: collective.
  static NcclId share_id(Communicator& host, NcclLink& link);

  /// Connects the ranks of `host`, which must outlive this object. Ranks: collective.
  /// Errors   Error(Cause::cluster) where the library is of another version than the header, or the
  ///          ranks do not connect before the deadline.
  NcclCommunicator(Communicator& host, std::unique_ptr<NcclLink> link, const NcclId& id,
                   const CommunicatorOptions& options);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  int rank_in_run(int rank) const override { return host_->rank_in_run(rank); }
  int ranks_in_run() const override { return host_->ranks_in_run(); }
  std::uint64_t latest_number() const override { return host_->latest_number(); }

  std::unique_ptr<Communicator> split(const char* name, int color) override;
  void barrier(const char* name) override;
  at::Tensor all_gather(const char* name, const at::Tensor& local,
                        const std::vector<std::int64_t>& rows_per_rank) override;
  at::Tensor reduce_scatter(const char* name, const at::Tensor& full,
                            const std::vector<std::int64_t>& rows_per_rank) override;
  at::Tensor all_to_all(const char* name, const at::Tensor& send,
                        const std::vector<std::int64_t>& send_rows,
                        const std::vector<std::int64_t>& receive_rows) override;
  std::unique_ptr<PendingTensor> start_all_gather(
      const char* name, const at::Tensor& local,
      const std::vector<std::int64_t>& rows_per_rank) override;
  std::unique_ptr<PendingTensor> start_all_to_all(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows) override;
  std::unique_ptr<PendingTensor> start_all_to_all_into(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
      const std::vector<std::int64_t>& first_rows) override;
  void all_reduce(const char* name, at::Tensor& values,
                  Reduction reduction = Reduction::sum) override;
  void broadcast(const char* name, at::Tensor& values, int root) override;
  void poll(const char* name) override;
  Ledger& ledger() override { return host_->ledger(); }
  void abort(const std::string& why) noexcept override;

 private:
  struct Call;
  struct Transfer;
  class Pending;

  NcclCommunicator(const char* group, std::unique_ptr<Communicator> host,
                   std::unique_ptr<NcclLink> link, const NcclId& id,
                   const CommunicatorOptions& options);
  void join(const NcclId& id);

  bool on_gpu(const char* name, const at::Tensor& tensor) const;
  Transfer new_transfer() const;
  std::string this_rank() const;
  std::string place(const char* name, std::uint64_t number) const;
  std::string place(const char* name) const { return place(name, latest_number()); }
  void refuse_if_failed(const char* name) const;
  void fail(const std::string& where);

  /// Runs `body` and makes the communicator unusable if it throws.
  void guarded(const char* name, const std::function<void()>& body);
  void meet(const Call& call, const std::vector<std::int64_t>& rows_to,
            const std::vector<std::int64_t>& rows_from);
  void move(const char* name, const Transfer& transfer);
  std::unique_ptr<PendingTensor> start_exchange(const char* name, const at::Tensor& send,
                                                const std::vector<std::int64_t>& send_rows,
                                                const std::vector<std::int64_t>& receive_rows,
                                                const at::Tensor& into,
                                                const std::vector<std::int64_t>& first_rows);
  std::unique_ptr<PendingTensor> start(const char* name, const at::Tensor& result,
                                       const Transfer& transfer, const Timer& timer);
  void finish(const char* name, const Timer& timer);
  void record(const char* name, double waited_seconds, double hidden_seconds);
  void wait(const char* name, const std::string& where, const char* what,
            const std::function<bool()>& done);

  std::unique_ptr<Communicator> owned_host_;  // of a group that split() made
  Communicator* host_;
  std::unique_ptr<NcclLink> link_;
  CommunicatorOptions options_;
  const char* group_ = nullptr;  // what split() called it
  int exceptions_before_;        // in flight when this object was made
  std::string failed_in_;        // the place of the failure that made this communicator unusable
  LedgerEntry moved_;            // by the collective that goes on, not yet in the ledger
  std::vector<Pending*> in_flight_;
};

}  // namespace micrec
