#include "cluster/host_communicator.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/text.h"
#include "cluster/health/progress_board.h"
#include "cluster/rows_of_collectives.h"

namespace micrec {
namespace {

// Up to here an all_reduce is one exchange of everything with everyone.
constexpr std::int64_t kSmallBytes = 16 * 1024;

const char* name_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::barrier:
      return "barrier";
    case CollectiveKind::all_gather:
      return "all_gather";
    case CollectiveKind::reduce_scatter:
      return "reduce_scatter";
    case CollectiveKind::all_to_all:
      return "all_to_all";
    case CollectiveKind::all_reduce:
      return "all_reduce";
    case CollectiveKind::broadcast:
      return "broadcast";
  }
  return "unknown";
}

double seconds_between(Transfer::Clock::time_point begin, Transfer::Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

void check_tensor(const char* name, const at::Tensor& tensor) {
  CHECK(tensor.defined()) << name;
  CHECK(tensor.is_cpu()) << name << ": a host communicator got a tensor on " << tensor.device();
  CHECK(tensor.is_contiguous()) << name << ": the tensor is not contiguous";
}

const std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}
// The data pointer itself and not mutable_data_ptr's checks of autograd: collectives act below it.
std::byte* writable_bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}

void copy_bytes(std::byte* to, const std::byte* from, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

template <typename T>
T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(b)) return b;
  }
  return b > a ? b : a;
}

template <typename T>
T smaller(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(b)) return b;
  }
  return b < a ? b : a;
}

template <typename T>
void reduce_into(std::byte* into_bytes, const std::byte* from_bytes, std::int64_t count,
                 Reduction reduction) {
  T* into = reinterpret_cast<T*>(into_bytes);
  const T* from = reinterpret_cast<const T*>(from_bytes);
  switch (reduction) {
    case Reduction::sum:
      for (std::int64_t i = 0; i < count; ++i) into[i] += from[i];
      break;
    case Reduction::min:
      for (std::int64_t i = 0; i < count; ++i) into[i] = smaller(into[i], from[i]);
      break;
    case Reduction::max:
      for (std::int64_t i = 0; i < count; ++i) into[i] = larger(into[i], from[i]);
      break;
  }
}

void check_reducible(const char* name, at::ScalarType dtype) {
  CHECK(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kInt || dtype == at::kLong)
      << name << ": cannot reduce " << c10::toString(dtype)
      << "; float32, float64, int32 and int64 can be";
}

void reduce_into(at::ScalarType dtype, std::byte* into, const std::byte* from, std::int64_t count,
                 Reduction reduction) {
  switch (dtype) {
    case at::kFloat:
      return reduce_into<float>(into, from, count, reduction);
    case at::kDouble:
      return reduce_into<double>(into, from, count, reduction);
    case at::kInt:
      return reduce_into<std::int32_t>(into, from, count, reduction);
    case at::kLong:
      return reduce_into<std::int64_t>(into, from, count, reduction);
    default:
      LOG(FATAL) << "check_reducible comes first";
  }
}

}  // namespace

// What the ranks compare in the checked mode, as it travels.
struct HostCommunicator::Header {
  std::array<char, 64> name{};
  std::array<char, 64> group{};  // empty: the whole run
  std::uint64_t number = 0;
  CollectiveKind kind = CollectiveKind::barrier;
  std::int32_t dtype = -1;
  std::int32_t reduction = -1;
  std::int32_t root = -1;
  std::int64_t row_bytes = 0;
  std::int64_t rows_to_you = 0;    // from the sender of the header to its receiver
  std::int64_t rows_from_you = 0;  // that its sender expects of its receiver

  Header() = default;
  Header(CollectiveKind the_kind, const char* the_name) : kind(the_kind) {
    std::strncpy(name.data(), the_name, name.size() - 1);
  }
  std::string place() const {
    return HostCommunicator::place(name.data(), number,
                                   group.front() == '\0' ? nullptr : group.data());
  }
  std::string describe() const {
    std::string description = text(name_of(kind), " ", place());
    if (dtype >= 0) {
      description += text(" of ", c10::toString(static_cast<at::ScalarType>(dtype)), ", ",
                          row_bytes, " bytes a row");
    }
    if (reduction >= 0) {
      constexpr std::array<const char*, 3> kWords = {"sum", "min", "max"};
      description += text(", ", kWords[reduction]);
    }
    if (root >= 0) description += text(", root ", root);
    return description;
  }
};

Membership Membership::whole_run(int rank, int size) {
  Membership membership;
  membership.rank = rank;
  membership.ranks_in_run.resize(static_cast<std::size_t>(size));
  std::iota(membership.ranks_in_run.begin(), membership.ranks_in_run.end(), 0);
  membership.run_size = size;
  membership.ledger = std::make_shared<Ledger>();
  return membership;
}

HostCommunicator::HostCommunicator(Membership membership, const CommunicatorOptions& options)
    : membership_(std::move(membership)),
      rank_(membership_.rank),
      size_(static_cast<int>(membership_.ranks_in_run.size())),
      options_(options) {
  CHECK_GE(rank_, 0);
  CHECK_LT(rank_, size_);
  CHECK_GT(options.deadline_seconds, 0);
}

std::string HostCommunicator::this_rank() const {
  return text("rank ", rank_in_run(rank_), " of ", membership_.run_size);
}

std::string HostCommunicator::place(const char* name, std::uint64_t number, const char* group) {
  return text("'", name, "' (collective ", number, ")",
              group == nullptr ? "" : text(" of '", group, "'"));
}

std::unique_ptr<Communicator> HostCommunicator::split(const char* name, int color) {
  at::Tensor own = at::empty({1}, at::kInt);
  *own.mutable_data_ptr<std::int32_t>() = color;
  const at::Tensor all =
      all_gather(name, own, std::vector<std::int64_t>(static_cast<std::size_t>(size_), 1));
  const auto* colors = all.const_data_ptr<std::int32_t>();
  Membership group;
  group.group = name;
  group.run_size = membership_.run_size;
  group.progress = membership_.progress;
  group.ledger = membership_.ledger;
  int first = 0;
  while (colors[first] != color) ++first;
  for (int q = first; q < size_; ++q) {
    if (colors[q] != color) continue;
    if (q == rank_) group.rank = static_cast<int>(group.ranks_in_run.size());
    group.ranks_in_run.push_back(rank_in_run(q));
  }
  // The group this one was split from, when, and its first member are the same for no other group.
  group.key = membership_.key;
  for (const std::uint64_t part : {number_, static_cast<std::uint64_t>(first) + 1}) {
    group.key = (group.key ^ part) * 0x9e3779b97f4a7c15U;
    group.key ^= group.key >> 29;
  }
  return make_subgroup(std::move(group));
}

void HostCommunicator::poll(const char* name) {
  if (!failed_in_.empty()) {
    throw Error(Cause::cluster, text(this_rank(), " cannot go on in '", name,
                                     "': the communicator failed earlier, in ", failed_in_));
  }
  try {
    advance(in_flight_);
  } catch (...) {
    failed_in_ = text("'", name, "' (after collective ", number_, ")");
    throw;
  }
  listen([&] { return text("'", name, "' (after collective ", number_, ")"); });
}

Exchange HostCommunicator::new_exchange(const char* name) const {
  Exchange exchange;
  exchange.name = name;
  exchange.group = membership_.group;
  exchange.number = number_;
  const auto ranks = static_cast<std::size_t>(size_);
  exchange.send.resize(ranks);
  exchange.send_bytes.resize(ranks);
  exchange.receive.resize(ranks);
  exchange.receive_bytes.resize(ranks);
  return exchange;
}

// What a collective of one exchange needs: where its result will be.
struct HostCommunicator::Prepared {
  Exchange exchange;
  at::Tensor result;
  std::vector<at::Tensor> buffers;
};

class HostCommunicator::Pending final : public PendingTensor {
 public:
  Pending(HostCommunicator& communicator, Transfer* transfer, at::Tensor result)
      : communicator_(communicator),
        transfer_(transfer),
        result_(std::move(result)),
        started_(Transfer::Clock::now()) {}

  ~Pending() override {
    if (transfer_ != nullptr && communicator_.failed_in_.empty()) {
      communicator_.failed_in_ = place(transfer_->exchange) + ", which nobody waited for";
    }
  }

  at::Tensor wait() override {
    CHECK(result_.defined()) << "the result was waited for before";
    if (transfer_ != nullptr) {
      const auto came = Transfer::Clock::now();
      const char* const name = transfer_->exchange.name;
      if (communicator_.has_failed()) {
        throw Error(Cause::cluster,
                    text(communicator_.this_rank(), " cannot finish ", place(transfer_->exchange),
                         ": the communicator failed earlier, in ", communicator_.failed_in_));
      }
      Transfer& transfer = *transfer_;
      communicator_.finish_or_fail(transfer);
      LedgerEntry entry;
      entry.waited_seconds = seconds_between(came, Transfer::Clock::now());
      entry.hidden_seconds =
          std::max(0.0, seconds_between(started_, std::min(came, transfer.over_at)));
      communicator_.ledger().record(name, entry);
      transfer_ = nullptr;
      communicator_.forget(transfer);
    }
    return std::move(result_);
  }

 private:
  HostCommunicator& communicator_;
  Transfer* transfer_;  // null where nothing travels, and once it is over
  at::Tensor result_;
  Transfer::Clock::time_point started_;
};

Transfer* HostCommunicator::launch(const Exchange& wanted, const std::vector<at::Tensor>& buffers) {
  Exchange exchange = wanted;
  CHECK_EQ(exchange.send_bytes[rank_], exchange.receive_bytes[rank_]) << exchange.name;
  copy_bytes(exchange.receive[rank_], exchange.send[rank_], exchange.send_bytes[rank_]);
  exchange.send_bytes[rank_] = 0;
  exchange.receive_bytes[rank_] = 0;
  if (size_ == 1) return nullptr;
  LedgerEntry entry;
  entry.bytes_sent = total(exchange.send_bytes);
  entry.bytes_received = total(exchange.receive_bytes);
  const auto began = Transfer::Clock::now();
  try {
    in_flight_.push_back(post(exchange, buffers));
  } catch (...) {
    failed_in_ = place(exchange);
    throw;
  }
  entry.waited_seconds = seconds_between(began, Transfer::Clock::now());
  ledger().record(exchange.name, entry);
  return in_flight_.back().get();
}

void HostCommunicator::finish_or_fail(Transfer& transfer) {
  ProgressBoard* const board = membership_.progress;
  const Exchange& exchange = transfer.exchange;
  // Not left after a failure: what a rank was in when it failed stays visible.
  if (board != nullptr) board->enter(exchange.name, exchange.number, exchange.group);
  try {
    finish(transfer);
    if (board != nullptr) board->leave();
  } catch (...) {
    failed_in_ = place(transfer.exchange);
    throw;
  }
}

void HostCommunicator::forget(const Transfer& transfer) {
  const auto found = std::find_if(in_flight_.begin(), in_flight_.end(),
                                  [&](const auto& known) { return known.get() == &transfer; });
  in_flight_.erase(found);
}

void HostCommunicator::run(const Exchange& exchange, const std::vector<at::Tensor>& buffers) {
  Transfer* const transfer = launch(exchange, buffers);
  if (transfer == nullptr) return;
  const auto began = Transfer::Clock::now();
  finish_or_fail(*transfer);
  LedgerEntry entry;
  entry.waited_seconds = seconds_between(began, Transfer::Clock::now());
  ledger().record(exchange.name, entry);
  forget(*transfer);
}

std::unique_ptr<PendingTensor> HostCommunicator::start(const Prepared& prepared) {
  Transfer* const transfer = launch(prepared.exchange, prepared.buffers);
  return std::make_unique<Pending>(*this, transfer, prepared.result);
}

void HostCommunicator::begin(const char* name, const Header& header,
                             const std::vector<std::int64_t>& rows_to,
                             const std::vector<std::int64_t>& rows_from) {
  ++number_;
  LedgerEntry call;
  call.calls = 1;
  ledger().record(name, call);
  if (!failed_in_.empty()) {
    throw Error(Cause::cluster,
                text(this_rank(), " cannot begin ", place(name, number_, membership_.group),
                     ": the communicator failed earlier, in ", failed_in_));
  }
  if (options_.check_collectives && size_ > 1) check(name, header, rows_to, rows_from);
}

std::uint64_t HostCommunicator::begin_beside(const CollectiveCall& call,
                                             const std::vector<std::int64_t>& rows_to,
                                             const std::vector<std::int64_t>& rows_from) {
  Header header(call.kind, call.name);
  header.dtype = call.dtype;
  header.reduction = call.reduction;
  header.root = call.root;
  header.row_bytes = call.row_bytes;
  begin(call.name, header, rows_to, rows_from);
  note_begun(call.name, number_);
  ProgressBoard* const board = membership_.progress;
  return board == nullptr ? 0 : board->begin(call.name, number_, membership_.group);
}

void HostCommunicator::show_waiting_beside(const char* name, std::uint64_t number,
                                           std::uint64_t begun) {
  ProgressBoard* const board = membership_.progress;
  if (board != nullptr) board->wait_beside(this, name, number, membership_.group, begun);
}

void HostCommunicator::hide_waiting_beside() {
  if (membership_.progress != nullptr) membership_.progress->leave_beside(this);
}

std::exception_ptr HostCommunicator::heard_beside(const std::string& where) const {
  if (membership_.progress == nullptr) return nullptr;
  const std::optional<Verdict> verdict = membership_.progress->verdict();
  if (!verdict || verdict->rank == rank_in_run(rank_)) return nullptr;
  return std::make_exception_ptr(
      PeerFailure(verdict->rank, text(this_rank(), " gave up in ", where, " because rank ",
                                      verdict->rank, " failed: ", verdict->message)));
}

std::string HostCommunicator::behind_in(std::uint64_t /*number*/) const {
  if (membership_.progress == nullptr) return "";
  using State = RankProgress::State;
  const std::vector<int>& members = membership_.ranks_in_run;
  std::vector<std::string> behind;
  for (const RankProgress& other : membership_.progress->read_all()) {
    const bool is_member = std::find(members.begin(), members.end(), other.rank) != members.end();
    const bool waits = other.state == State::waiting || other.state == State::failing;
    if (!is_member || waits || other.rank == rank_in_run(rank_)) continue;
    behind.push_back(text("rank ", other.rank, ", ", other.describe()));
  }
  return join(behind, "; ");
}

void HostCommunicator::check(const char* name, const Header& header,
                             const std::vector<std::int64_t>& rows_to,
                             const std::vector<std::int64_t>& rows_from) {
  constexpr auto kHeaderBytes = static_cast<std::int64_t>(sizeof(Header));
  const auto bytes_of_header = [](const at::Tensor& tensor, int q) {
    return writable_bytes_of(tensor) + q * kHeaderBytes;
  };
  const at::Tensor mine = at::zeros({size_, kHeaderBytes}, at::kByte);
  const at::Tensor theirs = at::empty({size_, kHeaderBytes}, at::kByte);
  Exchange headers = new_exchange(name);
  headers.of_check = true;
  for (int q = 0; q < size_; ++q) {
    Header to = header;
    to.number = number_;
    if (membership_.group != nullptr) {
      std::strncpy(to.group.data(), membership_.group, to.group.size() - 1);
    }
    to.rows_to_you = rows_to[q];
    to.rows_from_you = rows_from[q];
    std::memcpy(bytes_of_header(mine, q), &to, sizeof(Header));
    headers.send[q] = bytes_of_header(mine, q);
    headers.receive[q] = bytes_of_header(theirs, q);
    headers.send_bytes[q] = headers.receive_bytes[q] = kHeaderBytes;
  }
  run(headers, {mine, theirs});

  std::string mismatch;
  for (int q = 0; q < size_ && mismatch.empty(); ++q) {
    Header own;
    Header other;
    std::memcpy(&own, bytes_of_header(mine, q), sizeof(Header));
    std::memcpy(&other, bytes_of_header(theirs, q), sizeof(Header));
    if (own.name != other.name || own.group != other.group || own.number != other.number ||
        own.kind != other.kind || own.dtype != other.dtype || own.reduction != other.reduction ||
        own.root != other.root || own.row_bytes != other.row_bytes) {
      mismatch = text("rank ", rank_in_run(rank_), " is in ", own.describe(), " while rank ",
                      rank_in_run(q), " is in ", other.describe());
    } else if (own.rows_from_you != other.rows_to_you) {
      mismatch =
          text("in ", own.describe(), " rank ", rank_in_run(rank_), " expects ", own.rows_from_you,
               " rows of rank ", rank_in_run(q), ", which sends ", other.rows_to_you);
    } else if (own.rows_to_you != other.rows_from_you) {
      mismatch =
          text("in ", own.describe(), " rank ", rank_in_run(rank_), " sends ", own.rows_to_you,
               " rows to rank ", rank_in_run(q), ", which expects ", other.rows_from_you);
    }
  }

  // Ranks whose own pairs agree must end too, and with the same sentence: the lowest rank's.
  constexpr std::int64_t kTextBytes = 512;
  const at::Tensor own_text = at::zeros({kTextBytes}, at::kByte);
  const at::Tensor texts = at::empty({size_, kTextBytes}, at::kByte);
  std::memcpy(writable_bytes_of(own_text), mismatch.data(),
              std::min<std::size_t>(mismatch.size(), kTextBytes - 1));
  Exchange verdicts = new_exchange(name);
  verdicts.of_check = true;
  for (int q = 0; q < size_; ++q) {
    verdicts.send[q] = bytes_of(own_text);
    verdicts.receive[q] = writable_bytes_of(texts) + q * kTextBytes;
    verdicts.send_bytes[q] = verdicts.receive_bytes[q] = kTextBytes;
  }
  run(verdicts, {own_text, texts});
  for (int q = 0; q < size_; ++q) {
    const std::string verdict(reinterpret_cast<const char*>(bytes_of(texts) + q * kTextBytes));
    if (verdict.empty()) continue;
    failed_in_ = place(headers);
    throw Error(Cause::cluster, text("the ranks disagree: ", verdict));
  }
}

void HostCommunicator::barrier(const char* name) {
  const std::vector<std::int64_t> one_each(static_cast<std::size_t>(size_), 1);
  begin(name, Header(CollectiveKind::barrier, name), one_each, one_each);
  const at::Tensor sign = at::zeros({1}, at::kByte);
  const at::Tensor signs = at::empty({size_}, at::kByte);
  Exchange exchange = new_exchange(name);
  for (int q = 0; q < size_; ++q) {
    exchange.send[q] = bytes_of(sign);
    exchange.receive[q] = writable_bytes_of(signs) + q;
    exchange.send_bytes[q] = exchange.receive_bytes[q] = 1;
  }
  run(exchange, {sign, signs});
}

HostCommunicator::Prepared HostCommunicator::prepare_all_gather(
    const char* name, const at::Tensor& local, const std::vector<std::int64_t>& rows_per_rank) {
  check_tensor(name, local);
  check_rows(name, rows_per_rank, size_);
  const std::int64_t bytes = row_bytes(name, local);
  CHECK_EQ(local.size(0), rows_per_rank[rank_]) << name;
  Header header(CollectiveKind::all_gather, name);
  header.dtype = static_cast<std::int32_t>(local.scalar_type());
  header.row_bytes = bytes;
  begin(name, header, std::vector<std::int64_t>(static_cast<std::size_t>(size_), local.size(0)),
        rows_per_rank);

  const at::Tensor result = empty_rows(local, total(rows_per_rank));
  Exchange exchange = new_exchange(name);
  std::int64_t row = 0;
  for (int q = 0; q < size_; ++q) {
    exchange.send[q] = bytes_of(local);
    exchange.send_bytes[q] = local.size(0) * bytes;
    exchange.receive[q] = writable_bytes_of(result) + row * bytes;
    exchange.receive_bytes[q] = rows_per_rank[q] * bytes;
    row += rows_per_rank[q];
  }
  return {std::move(exchange), result, {local, result}};
}

at::Tensor HostCommunicator::all_gather(const char* name, const at::Tensor& local,
                                        const std::vector<std::int64_t>& rows_per_rank) {
  const Prepared prepared = prepare_all_gather(name, local, rows_per_rank);
  run(prepared.exchange, prepared.buffers);
  return prepared.result;
}

std::unique_ptr<PendingTensor> HostCommunicator::start_all_gather(
    const char* name, const at::Tensor& local, const std::vector<std::int64_t>& rows_per_rank) {
  return start(prepare_all_gather(name, local, rows_per_rank));
}

at::Tensor HostCommunicator::reduce_scatter(const char* name, const at::Tensor& full,
                                            const std::vector<std::int64_t>& rows_per_rank) {
  check_tensor(name, full);
  check_reducible(name, full.scalar_type());
  check_rows(name, rows_per_rank, size_);
  const std::int64_t bytes = row_bytes(name, full);
  CHECK_EQ(full.size(0), total(rows_per_rank)) << name;
  const std::int64_t own_rows = rows_per_rank[rank_];
  Header header(CollectiveKind::reduce_scatter, name);
  header.dtype = static_cast<std::int32_t>(full.scalar_type());
  header.row_bytes = bytes;
  begin(name, header, rows_per_rank,
        std::vector<std::int64_t>(static_cast<std::size_t>(size_), own_rows));

  const at::Tensor parts = empty_rows(full, own_rows * size_);
  Exchange exchange = new_exchange(name);
  std::int64_t row = 0;
  for (int q = 0; q < size_; ++q) {
    exchange.send[q] = bytes_of(full) + row * bytes;
    exchange.send_bytes[q] = rows_per_rank[q] * bytes;
    exchange.receive[q] = writable_bytes_of(parts) + q * own_rows * bytes;
    exchange.receive_bytes[q] = own_rows * bytes;
    row += rows_per_rank[q];
  }
  run(exchange, {full, parts});

  at::Tensor result = empty_rows(full, own_rows);
  std::byte* sums = writable_bytes_of(result);
  copy_bytes(sums, bytes_of(parts), own_rows * bytes);
  for (int q = 1; q < size_; ++q) {
    reduce_into(full.scalar_type(), sums, bytes_of(parts) + q * own_rows * bytes, result.numel(),
                Reduction::sum);
  }
  return result;
}

HostCommunicator::Prepared HostCommunicator::prepare_all_to_all(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
    const std::vector<std::int64_t>& first_rows) {
  check_tensor(name, send);
  check_tensor(name, into);
  check_rows(name, send_rows, size_);
  check_rows(name, receive_rows, size_);
  check_rows(name, first_rows, size_);
  const std::int64_t bytes = row_bytes(name, send);
  CHECK_EQ(send.size(0), total(send_rows)) << name;
  CHECK_EQ(send_rows[rank_], receive_rows[rank_]) << name << ": rows of this rank to itself";
  CHECK(into.scalar_type() == send.scalar_type() && row_bytes(name, into) == bytes)
      << name << ": what is received has other rows than what is sent";
  Header header(CollectiveKind::all_to_all, name);
  header.dtype = static_cast<std::int32_t>(send.scalar_type());
  header.row_bytes = bytes;
  begin(name, header, send_rows, receive_rows);

  Exchange exchange = new_exchange(name);
  std::int64_t sent = 0;
  for (int q = 0; q < size_; ++q) {
    CHECK_LE(first_rows[q] + receive_rows[q], into.size(0)) << name << ": rows of rank " << q;
    exchange.send[q] = bytes_of(send) + sent * bytes;
    exchange.send_bytes[q] = send_rows[q] * bytes;
    exchange.receive[q] = writable_bytes_of(into) + first_rows[q] * bytes;
    exchange.receive_bytes[q] = receive_rows[q] * bytes;
    sent += send_rows[q];
  }
  return {std::move(exchange), into, {send, into}};
}

HostCommunicator::Prepared HostCommunicator::prepare_all_to_all(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows) {
  check_rows(name, receive_rows, size_);
  row_bytes(name, send);
  std::vector<std::int64_t> first_rows;  // one rank's after the other's
  std::int64_t received = 0;
  for (const std::int64_t rows : receive_rows) {
    first_rows.push_back(received);
    received += rows;
  }
  return prepare_all_to_all(name, send, send_rows, receive_rows, empty_rows(send, received),
                            first_rows);
}

at::Tensor HostCommunicator::all_to_all(const char* name, const at::Tensor& send,
                                        const std::vector<std::int64_t>& send_rows,
                                        const std::vector<std::int64_t>& receive_rows) {
  const Prepared prepared = prepare_all_to_all(name, send, send_rows, receive_rows);
  run(prepared.exchange, prepared.buffers);
  return prepared.result;
}

std::unique_ptr<PendingTensor> HostCommunicator::start_all_to_all(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows) {
  return start(prepare_all_to_all(name, send, send_rows, receive_rows));
}

std::unique_ptr<PendingTensor> HostCommunicator::start_all_to_all_into(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
    const std::vector<std::int64_t>& first_rows) {
  return start(prepare_all_to_all(name, send, send_rows, receive_rows, into, first_rows));
}

void HostCommunicator::all_reduce(const char* name, at::Tensor& values, Reduction reduction) {
  check_tensor(name, values);
  check_reducible(name, values.scalar_type());
  const auto element_bytes = static_cast<std::int64_t>(values.element_size());
  const std::int64_t count = values.numel();
  const auto ranks = static_cast<std::size_t>(size_);
  Header header(CollectiveKind::all_reduce, name);
  header.dtype = static_cast<std::int32_t>(values.scalar_type());
  header.reduction = static_cast<std::int32_t>(reduction);
  header.row_bytes = element_bytes;
  begin(name, header, std::vector<std::int64_t>(ranks, count),
        std::vector<std::int64_t>(ranks, count));
  if (size_ == 1) return;

  // Each rank reduces one run of elements, or all of them if they are few, and then shows it
  // around.
  const bool small = count * element_bytes * size_ <= kSmallBytes;
  const auto run_begin = [&](int q) { return count * q / size_; };
  const std::int64_t own_begin = small ? 0 : run_begin(rank_);
  const std::int64_t own_count = small ? count : run_begin(rank_ + 1) - own_begin;
  const std::int64_t own_bytes = own_count * element_bytes;
  std::byte* data = writable_bytes_of(values);

  const at::Tensor parts = at::empty({size_ * own_bytes}, at::kByte);
  Exchange gather = new_exchange(name);
  for (int q = 0; q < size_; ++q) {
    const std::int64_t begin = small ? 0 : run_begin(q);
    const std::int64_t end = small ? count : run_begin(q + 1);
    gather.send[q] = data + begin * element_bytes;
    gather.send_bytes[q] = (end - begin) * element_bytes;
    gather.receive[q] = writable_bytes_of(parts) + q * own_bytes;
    gather.receive_bytes[q] = own_bytes;
  }
  run(gather, {values, parts});
  std::byte* reduced = writable_bytes_of(parts);
  for (int q = 1; q < size_; ++q) {
    reduce_into(values.scalar_type(), reduced, reduced + q * own_bytes, own_count, reduction);
  }
  if (small) {
    copy_bytes(data, reduced, own_bytes);
    return;
  }

  Exchange spread = new_exchange(name);
  for (int q = 0; q < size_; ++q) {
    spread.send[q] = reduced;
    spread.send_bytes[q] = own_bytes;
    spread.receive[q] = data + run_begin(q) * element_bytes;
    spread.receive_bytes[q] = (run_begin(q + 1) - run_begin(q)) * element_bytes;
  }
  run(spread, {values, parts});
}

void HostCommunicator::broadcast(const char* name, at::Tensor& values, int root) {
  check_tensor(name, values);
  CHECK_GE(root, 0) << name;
  CHECK_LT(root, size_) << name;
  const auto bytes = static_cast<std::int64_t>(values.element_size()) * values.numel();
  const auto ranks = static_cast<std::size_t>(size_);
  Header header(CollectiveKind::broadcast, name);
  header.dtype = static_cast<std::int32_t>(values.scalar_type());
  header.root = root;
  header.row_bytes = static_cast<std::int64_t>(values.element_size());
  begin(name, header, std::vector<std::int64_t>(ranks, values.numel()),
        std::vector<std::int64_t>(ranks, values.numel()));
  if (size_ == 1) return;

  Exchange exchange = new_exchange(name);
  if (rank_ == root) {
    for (int q = 0; q < size_; ++q) {
      exchange.send[q] = bytes_of(values);
      exchange.send_bytes[q] = q == rank_ ? 0 : bytes;
    }
  } else {
    exchange.receive[root] = writable_bytes_of(values);
    exchange.receive_bytes[root] = bytes;
  }
  run(exchange, {values});
}

}  // namespace micrec
