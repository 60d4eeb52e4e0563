#include "cluster/communicator.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <utility>

namespace micrec {
namespace {

class Finished final : public PendingTensor {
 public:
  explicit Finished(at::Tensor result) : result_(std::move(result)) {}
  at::Tensor wait() override { return std::move(result_); }

 private:
  at::Tensor result_;
};

}  // namespace

std::unique_ptr<PendingTensor> Communicator::start_all_gather(
    const char* name, const at::Tensor& local, const std::vector<std::int64_t>& rows_per_rank) {
  return std::make_unique<Finished>(all_gather(name, local, rows_per_rank));
}

std::unique_ptr<PendingTensor> Communicator::start_all_to_all(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows) {
  return std::make_unique<Finished>(all_to_all(name, send, send_rows, receive_rows));
}

std::unique_ptr<PendingTensor> Communicator::start_all_to_all_into(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
    const std::vector<std::int64_t>& first_rows) {
  const at::Tensor received = all_to_all(name, send, send_rows, receive_rows);
  std::int64_t row = 0;
  for (std::size_t q = 0; q < receive_rows.size(); ++q) {
    into.narrow(0, first_rows.at(q), receive_rows[q])
        .copy_(received.narrow(0, row, receive_rows[q]));
    row += receive_rows[q];
  }
  return std::make_unique<Finished>(into);
}

std::vector<std::int64_t> gather_counts(Communicator& communicator, const char* name,
                                        std::int64_t own) {
  const at::Tensor counts = communicator.all_gather(
      name, at::full({1}, own, at::kLong), std::vector<std::int64_t>(communicator.size(), 1));
  const auto* begin = counts.const_data_ptr<std::int64_t>();
  return {begin, begin + communicator.size()};
}

std::vector<std::vector<std::int32_t>> exchange_lists(
    Communicator& communicator, const char* name,
    const std::vector<std::vector<std::int32_t>>& lists) {
  const int ranks = communicator.size();
  CHECK_EQ(static_cast<int>(lists.size()), ranks) << name << ": one list a rank";
  std::vector<std::int64_t> send_rows;
  std::int64_t total = 0;
  for (const std::vector<std::int32_t>& list : lists) {
    send_rows.push_back(static_cast<std::int64_t>(list.size()));
    total += send_rows.back();
  }
  at::Tensor send_counts = at::empty({ranks}, at::kLong);
  std::copy(send_rows.begin(), send_rows.end(), send_counts.mutable_data_ptr<std::int64_t>());
  const std::vector<std::int64_t> one_each(static_cast<std::size_t>(ranks), 1);
  const at::Tensor receive_counts = communicator.all_to_all(name, send_counts, one_each, one_each);
  const auto* counts = receive_counts.const_data_ptr<std::int64_t>();
  const std::vector<std::int64_t> receive_rows(counts, counts + ranks);

  at::Tensor send = at::empty({total}, at::kInt);
  auto* out = send.mutable_data_ptr<std::int32_t>();
  for (const std::vector<std::int32_t>& list : lists) {
    out = std::copy(list.begin(), list.end(), out);
  }
  const at::Tensor received = communicator.all_to_all(name, send, send_rows, receive_rows);
  const auto* next = received.const_data_ptr<std::int32_t>();
  std::vector<std::vector<std::int32_t>> result;
  for (const std::int64_t rows : receive_rows) {
    result.emplace_back(next, next + rows);
    next += rows;
  }
  return result;
}

bool on_any_rank(Communicator& communicator, const char* name, bool own) {
  at::Tensor any = at::full({1}, own ? 1 : 0, at::kInt);
  communicator.all_reduce(name, any, Reduction::max);
  return *any.const_data_ptr<std::int32_t>() != 0;
}

}  // namespace micrec
