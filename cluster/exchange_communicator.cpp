#include "cluster/exchange_communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <glog/logging.h>

namespace micrec {
namespace {

void check_reducible(const char* name, at::ScalarType dtype) {
  CHECK(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kInt || dtype == at::kLong)
      << name << ": cannot reduce " << c10::toString(dtype)
      << "; float32, float64, int32 and int64 can be";
}

}  // namespace

void ExchangeCommunicator::check_rows(const char* name,
                                      const std::vector<std::int64_t>& rows) const {
  CHECK_EQ(static_cast<int>(rows.size()), size()) << name << ": one number of rows a rank";
  for (const std::int64_t count : rows) CHECK_GE(count, 0) << name;
}

Exchange ExchangeCommunicator::exchange_of(const char* name, CollectiveKind kind,
                                           const at::Tensor& given) const {
  CHECK(given.defined()) << name;
  CHECK(given.is_cpu() || given.device() == device())
      << name << ": a communicator of " << device() << " got a tensor on " << given.device();
  CHECK(given.is_contiguous()) << name << ": the tensor is not contiguous";
  Exchange exchange;
  exchange.name = name;
  exchange.kind = kind;
  exchange.given = given;
  const bool in_place = kind == CollectiveKind::all_reduce || kind == CollectiveKind::broadcast;
  if (in_place) {
    exchange.result = given;
    exchange.sent = exchange.received = Runs::shared(size(), 0, given.numel());
    exchange.row_bytes = static_cast<std::int64_t>(given.element_size());
  } else {
    exchange.row_bytes = row_bytes_of(name, given);
  }
  return exchange;
}

void ExchangeCommunicator::barrier(const char* name) {
  Exchange exchange = exchange_of(name, CollectiveKind::barrier, at::zeros({1}, at::kByte));
  exchange.result = at::empty({size()}, at::kByte);
  exchange.sent = Runs::shared(size(), 0, 1);
  exchange.received = Runs::consecutive(exchange.sent.rows);
  run(exchange);
}

at::Tensor ExchangeCommunicator::all_gather(const char* name, const at::Tensor& local,
                                            const std::vector<std::int64_t>& rows_per_rank) {
  Exchange exchange = exchange_of(name, CollectiveKind::all_gather, local);
  check_rows(name, rows_per_rank);
  CHECK_EQ(local.size(0), rows_per_rank[rank()]) << name;
  exchange.sent = Runs::shared(size(), 0, local.size(0));
  exchange.received = Runs::consecutive(rows_per_rank);
  exchange.result = empty_rows(local, total(rows_per_rank));
  return run(exchange);
}

Exchange ExchangeCommunicator::of_all_to_all(const char* name, const at::Tensor& send,
                                             const std::vector<std::int64_t>& send_rows,
                                             const std::vector<std::int64_t>& receive_rows) const {
  Exchange exchange = exchange_of(name, CollectiveKind::all_to_all, send);
  check_rows(name, send_rows);
  check_rows(name, receive_rows);
  CHECK_EQ(send.size(0), total(send_rows)) << name;
  CHECK_EQ(send_rows[rank()], receive_rows[rank()]) << name << ": rows of this rank to itself";
  exchange.sent = Runs::consecutive(send_rows);
  exchange.received = Runs::consecutive(receive_rows);
  return exchange;
}

at::Tensor ExchangeCommunicator::all_to_all(const char* name, const at::Tensor& send,
                                            const std::vector<std::int64_t>& send_rows,
                                            const std::vector<std::int64_t>& receive_rows) {
  Exchange exchange = of_all_to_all(name, send, send_rows, receive_rows);
  exchange.result = empty_rows(send, total(receive_rows));
  return run(exchange);
}

std::unique_ptr<PendingTensor> ExchangeCommunicator::start_all_to_all_into(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
    const std::vector<std::int64_t>& first_rows) {
  Exchange exchange = of_all_to_all(name, send, send_rows, receive_rows);
  CHECK(into.defined() && into.is_contiguous() && into.device() == send.device()) << name;
  CHECK(into.scalar_type() == send.scalar_type() && row_bytes_of(name, into) == exchange.row_bytes)
      << name << ": what is received has other rows than what is sent";
  check_rows(name, first_rows);
  for (int q = 0; q < size(); ++q) {
    CHECK_LE(first_rows[q] + receive_rows[q], into.size(0)) << name << ": rows of rank " << q;
  }
  exchange.received.first = first_rows;
  exchange.result = into;
  return start(exchange);
}

void ExchangeCommunicator::all_reduce(const char* name, at::Tensor& values, Reduction reduction) {
  Exchange exchange = exchange_of(name, CollectiveKind::all_reduce, values);
  check_reducible(name, values.scalar_type());
  exchange.reduction = reduction;
  run(exchange);
}

void ExchangeCommunicator::broadcast(const char* name, at::Tensor& values, int root) {
  Exchange exchange = exchange_of(name, CollectiveKind::broadcast, values);
  CHECK_GE(root, 0) << name;
  CHECK_LT(root, size()) << name;
  exchange.root = root;
  run(exchange);
}

}  // namespace micrec
