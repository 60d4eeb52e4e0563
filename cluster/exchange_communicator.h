#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <vector>

#include "cluster/exchange.h"

namespace micrec {

/// Builds every collective, once for all backends: checks its arguments, makes room for its result
/// and says, as an Exchange, who gets which rows of whom. A backend only does the exchange.
class ExchangeCommunicator : public Communicator {
 public:
  void barrier(const char* name) final;
  at::Tensor all_gather(const char* name, const at::Tensor& local,
                        const std::vector<std::int64_t>& rows_per_rank) final;
  at::Tensor all_to_all(const char* name, const at::Tensor& send,
                        const std::vector<std::int64_t>& send_rows,
                        const std::vector<std::int64_t>& receive_rows) final;
  std::unique_ptr<PendingTensor> start_all_to_all_into(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
      const std::vector<std::int64_t>& first_rows) final;
  void all_reduce(const char* name, at::Tensor& values, Reduction reduction = Reduction::sum) final;
  void broadcast(const char* name, at::Tensor& values, int root) final;

  /// Does the exchange, or begins to: the result is what wait() returns.
  /// Ranks    collective. Errors   as the collectives.
  virtual std::unique_ptr<PendingTensor> start(const Exchange& exchange) = 0;
  /// Does it and waits for it.
  virtual at::Tensor run(const Exchange& exchange) { return start(exchange)->wait(); }

 protected:
  /// Where tensors may be, besides main memory.
  virtual c10::Device device() const = 0;

 private:
  Exchange exchange_of(const char* name, CollectiveKind kind, const at::Tensor& given) const;
  Exchange of_all_to_all(const char* name, const at::Tensor& send,
                         const std::vector<std::int64_t>& send_rows,
                         const std::vector<std::int64_t>& receive_rows) const;
  /// CHECK: one number a rank, none below zero.
  void check_rows(const char* name, const std::vector<std::int64_t>& rows) const;
};

}  // namespace micrec
