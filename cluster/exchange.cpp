#include "cluster/exchange.h"

#include <ATen/ops/empty.h>
#include <glog/logging.h>

#include <cstring>
#include <numeric>
#include <utility>

#include "cluster/rank_reduction.h"

namespace micrec {
namespace {

template <typename T, Reduction reduction>
void reduce_parts(const Rounds& rounds, std::size_t ranks) {
  T* const into = reinterpret_cast<T*>(rounds.into);
  const T* part = rounds.parts.const_data_ptr<T>();
  std::memcpy(into, part, static_cast<std::size_t>(rounds.count) * sizeof(T));
  for (std::size_t q = 1; q < ranks; ++q) {
    part += rounds.count;
    for (std::int64_t i = 0; i < rounds.count; ++i) {
      into[i] = combined<T, static_cast<int>(reduction)>(into[i], part[i]);
    }
  }
}

template <typename T>
void reduce_parts(const Rounds& rounds, std::size_t ranks, Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return reduce_parts<T, Reduction::sum>(rounds, ranks);
    case Reduction::min:
      return reduce_parts<T, Reduction::min>(rounds, ranks);
    case Reduction::max:
      return reduce_parts<T, Reduction::max>(rounds, ranks);
  }
}

class Finished final : public PendingTensor {
 public:
  explicit Finished(at::Tensor result) : result_(std::move(result)) {}
  at::Tensor wait() override { return std::move(result_); }

 private:
  at::Tensor result_;
};

// Each rank reduces one run of elements, or all of them if they are few, and then shows it around.
Rounds rounds_of_all_reduce(const Exchange& exchange, int rank, std::int64_t small_bytes) {
  const auto ranks = std::ssize(exchange.sent.rows);
  const at::Tensor& values = exchange.given;
  const std::int64_t count = values.numel();
  const bool small = count * exchange.row_bytes * ranks <= small_bytes;
  Runs runs;  // that each rank reduces
  for (std::int64_t q = 0; q < ranks; ++q) {
    runs.first.push_back(small ? 0 : count * q / ranks);
    runs.rows.push_back(small ? count : count * (q + 1) / ranks - runs.first.back());
  }
  const std::int64_t own_first = runs.first[rank];
  const std::int64_t own_count = runs.rows[rank];
  Rounds rounds;
  rounds.parts = at::empty({ranks * own_count}, values.options().requires_grad(false));
  rounds.first =
      messages_between(exchange.name, values, runs, rounds.parts,
                       Runs::consecutive(std::vector<std::int64_t>(runs.rows.size(), own_count)),
                       exchange.row_bytes);
  rounds.into = writable_bytes_of(values) + own_first * exchange.row_bytes;
  rounds.count = own_count;
  if (!small) {
    const Runs own = Runs::shared(static_cast<int>(ranks), own_first, own_count);
    rounds.second = messages_between(exchange.name, values, own, values, runs, exchange.row_bytes);
  }
  return rounds;
}

}  // namespace

Runs Runs::consecutive(const std::vector<std::int64_t>& rows) {
  Runs runs{std::vector<std::int64_t>(rows.size()), rows};
  std::exclusive_scan(rows.begin(), rows.end(), runs.first.begin(), std::int64_t{0});
  return runs;
}

Runs Runs::shared(int ranks, std::int64_t first, std::int64_t rows) {
  const auto each = static_cast<std::size_t>(ranks);
  return {std::vector<std::int64_t>(each, first), std::vector<std::int64_t>(each, rows)};
}

Messages messages_between(const char* name, const at::Tensor& rows_of, const Runs& sent,
                          const at::Tensor& into, const Runs& received, std::int64_t row_bytes) {
  Messages messages;
  messages.name = name;
  messages.buffers = {rows_of, into};
  for (std::size_t q = 0; q < sent.rows.size(); ++q) {
    messages.send.push_back(bytes_of(rows_of) + sent.first[q] * row_bytes);
    messages.send_bytes.push_back(sent.rows[q] * row_bytes);
    messages.receive.push_back(writable_bytes_of(into) + received.first[q] * row_bytes);
    messages.receive_bytes.push_back(received.rows[q] * row_bytes);
  }
  return messages;
}

Rounds rounds_of(const Exchange& exchange, int rank, std::int64_t small_bytes) {
  const auto ranks = static_cast<int>(exchange.sent.rows.size());
  const auto straight = [&](const Runs& sent, const at::Tensor& into, const Runs& received) {
    return messages_between(exchange.name, exchange.given, sent, into, received,
                            exchange.row_bytes);
  };
  Rounds rounds;
  switch (exchange.kind) {
    case CollectiveKind::barrier:
    case CollectiveKind::all_gather:
    case CollectiveKind::all_to_all:
      rounds.first = straight(exchange.sent, exchange.result, exchange.received);
      break;
    case CollectiveKind::all_reduce:
      return rounds_of_all_reduce(exchange, rank, small_bytes);
    case CollectiveKind::broadcast: {
      const bool is_root = rank == exchange.root;
      const Runs sent = Runs::shared(ranks, 0, is_root ? exchange.given.numel() : 0);
      Runs received = Runs::shared(ranks, 0, 0);
      received.rows[exchange.root] = exchange.given.numel();
      rounds.first = straight(sent, exchange.result, received);
      break;
    }
  }
  return rounds;
}

void reduce_over_ranks(const Exchange& exchange, const Rounds& rounds) {
  if (rounds.count == 0) return;
  const std::size_t ranks = exchange.sent.rows.size();
  switch (exchange.given.scalar_type()) {
    case at::kFloat:
      return reduce_parts<float>(rounds, ranks, exchange.reduction);
    case at::kDouble:
      return reduce_parts<double>(rounds, ranks, exchange.reduction);
    case at::kInt:
      return reduce_parts<std::int32_t>(rounds, ranks, exchange.reduction);
    case at::kLong:
      return reduce_parts<std::int64_t>(rounds, ranks, exchange.reduction);
    default:
      LOG(FATAL) << "what can be reduced is checked first";
  }
}

void exchange_alone(const Exchange& exchange) {
  if (exchange.result.is_same(exchange.given)) return;
  exchange.result.detach()
      .narrow(0, exchange.received.first.front(), exchange.received.rows.front())
      .copy_(exchange.given.detach());
}

std::unique_ptr<PendingTensor> finished(at::Tensor result) {
  return std::make_unique<Finished>(std::move(result));
}

std::int64_t total(const std::vector<std::int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

std::int64_t row_bytes_of(const char* name, const at::Tensor& tensor) {
  CHECK_GE(tensor.dim(), 1) << name << ": a tensor of rows has at least one dimension";
  auto bytes = static_cast<std::int64_t>(tensor.element_size());
  for (std::int64_t d = 1; d < tensor.dim(); ++d) bytes *= tensor.size(d);
  return bytes;
}

at::Tensor empty_rows(const at::Tensor& like, std::int64_t rows) {
  std::vector<std::int64_t> shape = like.sizes().vec();
  shape[0] = rows;
  return at::empty(shape, like.options().requires_grad(false));
}

}  // namespace micrec
