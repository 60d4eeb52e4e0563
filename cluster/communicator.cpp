#include "cluster/communicator.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <cstring>

namespace micrec {

PeerFailure::PeerFailure(const std::string& this_rank, const std::string& where, int failed_rank,
                         const std::string& why)
    : Error(Cause::cluster, this_rank, " gave up in ", where, " because rank ", failed_rank,
            " failed: ", why),
      failed_rank_(failed_rank) {}

std::vector<std::byte> gather_bytes(Communicator& communicator, const char* name, const void* own,
                                    std::size_t bytes) {
  at::Tensor local = at::empty({1, static_cast<std::int64_t>(bytes)}, at::kByte);
  std::memcpy(local.mutable_data_ptr(), own, bytes);
  const at::Tensor all = communicator.all_gather(
      name, local, std::vector<std::int64_t>(static_cast<std::size_t>(communicator.size()), 1));
  const auto* const begin = static_cast<const std::byte*>(all.const_data_ptr());
  return {begin, begin + all.nbytes()};
}

std::vector<std::int64_t> gather_counts(Communicator& communicator, const char* name,
                                        std::int64_t own) {
  return gather_values(communicator, name, own);
}

std::vector<std::vector<std::int32_t>> exchange_lists(
    Communicator& communicator, const char* name,
    const std::vector<std::vector<std::int32_t>>& lists) {
  const int ranks = communicator.size();
  CHECK_EQ(static_cast<int>(lists.size()), ranks) << name << ": one list a rank";
  std::vector<std::int64_t> send_rows;
  std::int64_t total = 0;
  for (const std::vector<std::int32_t>& list : lists) {
    send_rows.push_back(std::ssize(list));
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
