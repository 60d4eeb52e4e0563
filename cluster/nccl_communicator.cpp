#include "cluster/nccl_communicator.h"

#include <ATen/Functions.h>
#include <glog/logging.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "base/text.h"
#include "cluster/device.h"
#include "cluster/rows_of_collectives.h"

namespace micrec {
namespace {

// Up to here an all_reduce is one group of messages of everything to everyone.
constexpr std::int64_t kSmallBytes = 256 * 1024;
constexpr double kLeaveSeconds = 5;
constexpr double kSpinSeconds = 2e-3;  // a wait this long does not let the core sleep
constexpr int kLooksPerPoll = 16;      // at the GPU, for one at the ranks

enum class Kind : std::int64_t { all_gather, reduce_scatter, all_to_all, all_reduce, broadcast };

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::all_gather:
      return "all_gather";
    case Kind::reduce_scatter:
      return "reduce_scatter";
    case Kind::all_to_all:
      return "all_to_all";
    case Kind::all_reduce:
      return "all_reduce";
    case Kind::broadcast:
      return "broadcast";
  }
  return "unknown";
}

void check_reducible(const char* name, at::ScalarType dtype) {
  CHECK(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kInt || dtype == at::kLong)
      << name << ": cannot reduce " << c10::toString(dtype)
      << "; float32, float64, int32 and int64 can be";
}

const std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}
std::byte* writable_bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}

}  // namespace

/// A collective on the GPU as the ranks compare it.
struct NcclCommunicator::Call {
  const char* name = nullptr;
  Kind kind = Kind::all_gather;
  std::int64_t dtype = -1;
  std::int64_t reduction = -1;
  std::int64_t root = -1;
  std::int64_t row_bytes = 0;
};

/// The messages of one group, this rank's to itself included, and the tensors they lie in.
struct NcclCommunicator::Transfer {
  std::vector<const std::byte*> send;       // (ranks)
  std::vector<std::int64_t> send_bytes;     // (ranks)
  std::vector<std::byte*> receive;          // (ranks)
  std::vector<std::int64_t> receive_bytes;  // (ranks)
  std::vector<at::Tensor> tensors;
};

/// A transfer that the GPU was given, and what it will have brought.
class NcclCommunicator::Pending final : public PendingTensor {
 public:
  Pending(NcclCommunicator& communicator, const char* name, at::Tensor result, Transfer transfer,
          std::unique_ptr<NcclLink::Mark> mark, const Timer& timer)
      : communicator_(communicator),
        name_(name),
        where_(communicator.place(name)),
        result_(std::move(result)),
        transfer_(std::move(transfer)),
        mark_(std::move(mark)),
        moved_(std::exchange(communicator.moved_, {})),
        waited_seconds_(timer.seconds()) {
    communicator_.in_flight_.push_back(this);
  }
  ~Pending() override {
    auto& all = communicator_.in_flight_;
    all.erase(std::remove(all.begin(), all.end(), this), all.end());
    if (!done_) communicator_.fail(where_ + ", which nobody waited for");
  }

  at::Tensor wait() override {
    communicator_.refuse_if_failed(name_);
    look();
    const double hidden_seconds = passed_ ? seconds_when_passed_ : since_start_.seconds();
    const Timer timer;
    try {
      mark_->lead_current_stream();
      communicator_.wait(name_, where_, "to move the data", [&] { return mark_->has_passed(); });
    } catch (...) {
      communicator_.fail(where_);
      throw;
    }
    done_ = true;
    communicator_.moved_ = moved_;
    communicator_.record(name_, waited_seconds_ + timer.seconds(), hidden_seconds);
    return std::move(result_);
  }

  /// Notices whether it is over.
  void look() {
    if (passed_ || done_ || !mark_->has_passed()) return;
    passed_ = true;
    seconds_when_passed_ = since_start_.seconds();
  }

 private:
  NcclCommunicator& communicator_;
  const char* name_;
  std::string where_;
  at::Tensor result_;
  Transfer transfer_;
  std::unique_ptr<NcclLink::Mark> mark_;
  LedgerEntry moved_;
  double waited_seconds_;  // in the start
  Timer since_start_;
  bool passed_ = false;
  double seconds_when_passed_ = 0;
  bool done_ = false;
};

NcclId NcclCommunicator::share_id(Communicator& host, NcclLink& link) {
  NcclId id{};
  at::Tensor bytes = at::zeros({static_cast<std::int64_t>(id.size())}, at::kByte);
  if (host.rank() == 0 && host.size() > 1) {
    id = link.make_id();
    std::memcpy(bytes.mutable_data_ptr(), id.data(), id.size());
  }
  host.broadcast("nccl.id", bytes, 0);
  std::memcpy(id.data(), bytes.const_data_ptr(), id.size());
  return id;
}

NcclCommunicator::NcclCommunicator(Communicator& host, std::unique_ptr<NcclLink> link,
                                   const NcclId& id, const CommunicatorOptions& options)
    : host_(&host),
      link_(std::move(link)),
      options_(options),
      exceptions_before_(std::uncaught_exceptions()) {
  join(id);
}

NcclCommunicator::NcclCommunicator(const char* group, std::unique_ptr<Communicator> host,
                                   std::unique_ptr<NcclLink> link, const NcclId& id,
                                   const CommunicatorOptions& options)
    : owned_host_(std::move(host)),
      host_(owned_host_.get()),
      link_(std::move(link)),
      options_(options),
      group_(group),
      exceptions_before_(std::uncaught_exceptions()) {
  join(id);
}

NcclCommunicator::~NcclCommunicator() {
  // After a failure, or on the way out because of one, the other ranks will not come to leave.
  if (!failed_in_.empty() || std::uncaught_exceptions() > exceptions_before_) {
    link_->abort();
  } else if (size() > 1) {
    link_->leave(kLeaveSeconds);
  }
}

void NcclCommunicator::join(const NcclId& id) {
  const NcclLink::Versions versions = link_->versions();
  // The last number of a version changes neither functions nor structures.
  if (versions.header / 100 != versions.library / 100) {
    throw Error(Cause::cluster,
                text("this program was built with NCCL ", nccl_version_name(versions.header),
                     " and has loaded NCCL ", nccl_version_name(versions.library),
                     "; build it with the header of that library, or put the library of that "
                     "header first in LD_LIBRARY_PATH"));
  }
  if (size() == 1) return;
  constexpr const char* kName = "nccl.join";
  try {
    link_->begin_join(id, rank(), size());
    wait(kName, place(kName), "to connect the ranks' GPUs",
         [&] { return link_->progress().state == NcclLink::State::ready; });
  } catch (...) {
    link_->abort();
    throw;
  }
}

std::string NcclCommunicator::this_rank() const {
  return text("rank ", rank_in_run(rank()), " of ", ranks_in_run());
}

std::string NcclCommunicator::place(const char* name, std::uint64_t number) const {
  return text("'", name, "' (collective ", number, ")", group_ ? text(" of '", group_, "'") : "");
}

bool NcclCommunicator::on_gpu(const char* name, const at::Tensor& tensor) const {
  CHECK(tensor.defined()) << name;
  if (tensor.device() != link_->device()) {
    CHECK(tensor.is_cpu()) << name << ": a communicator of " << link_->device()
                           << " got a tensor on " << tensor.device();
    return false;
  }
  CHECK(tensor.is_contiguous()) << name << ": the tensor is not contiguous";
  return true;
}

NcclCommunicator::Transfer NcclCommunicator::new_transfer() const {
  const auto ranks = static_cast<std::size_t>(size());
  Transfer transfer;
  transfer.send.resize(ranks);
  transfer.send_bytes.resize(ranks);
  transfer.receive.resize(ranks);
  transfer.receive_bytes.resize(ranks);
  return transfer;
}

void NcclCommunicator::refuse_if_failed(const char* name) const {
  if (failed_in_.empty()) return;
  throw Error(Cause::cluster, text(this_rank(), " cannot begin ", place(name, latest_number() + 1),
                                   ": the communicator failed earlier, in ", failed_in_));
}

void NcclCommunicator::fail(const std::string& where) {
  if (!failed_in_.empty()) return;
  failed_in_ = where;
  link_->abort();
}

void NcclCommunicator::guarded(const char* name, const std::function<void()>& body) {
  try {
    body();
  } catch (...) {
    fail(place(name));
    throw;
  }
}

void NcclCommunicator::meet(const Call& call, const std::vector<std::int64_t>& rows_to,
                            const std::vector<std::int64_t>& rows_from) {
  if (size() == 1) {
    moved_.calls = 1;
    return;
  }
  // The fields of a call, then the rows to the receiver of the report, and those expected of it.
  constexpr std::int64_t kFields = 7;
  at::Tensor sent = at::empty({size(), kFields}, at::kLong);
  auto* out = sent.mutable_data_ptr<std::int64_t>();
  for (int q = 0; q < size(); ++q) {
    for (const std::int64_t field :
         {static_cast<std::int64_t>(call.kind), call.dtype, call.reduction, call.root,
          call.row_bytes, rows_to[q], rows_from[q]}) {
      *out++ = field;
    }
  }
  const std::vector<std::int64_t> one_each(static_cast<std::size_t>(size()), 1);
  const at::Tensor received = host_->all_to_all(call.name, sent, one_each, one_each);
  // It has counted the call in the ledger, and its own bytes, which are not the collective's.
  const auto own_bytes = (size() - 1) * kFields * static_cast<std::int64_t>(sizeof(std::int64_t));
  moved_.bytes_sent -= own_bytes;
  moved_.bytes_received -= own_bytes;
  const auto* in = received.const_data_ptr<std::int64_t>();
  const auto describe = [&](const Call& other) {
    std::string description = text(name_of(other.kind), " ", place(call.name));
    if (other.dtype >= 0) {
      description += text(" of ", c10::toString(static_cast<at::ScalarType>(other.dtype)), ", ",
                          other.row_bytes, " bytes a row");
    }
    if (other.reduction >= 0) {
      constexpr std::array<const char*, 3> kWords = {"sum", "min", "max"};
      description += text(", ", kWords.at(static_cast<std::size_t>(other.reduction)));
    }
    if (other.root >= 0) description += text(", root ", other.root);
    return description;
  };
  for (int q = 0; q < size(); ++q, in += kFields) {
    const Call other{call.name, static_cast<Kind>(in[0]), in[1], in[2], in[3], in[4]};
    if (other.kind != call.kind || other.dtype != call.dtype || other.reduction != call.reduction ||
        other.root != call.root || other.row_bytes != call.row_bytes) {
      throw Error(Cause::cluster,
                  text("the ranks disagree: ", this_rank(), " is in ", describe(call),
                       " while rank ", rank_in_run(q), " is in ", describe(other)));
    }
    const std::int64_t sends = in[5];
    const std::int64_t expects = in[6];
    if (sends != rows_from[q]) {
      throw Error(Cause::cluster,
                  text("the ranks disagree: in ", describe(call), " ", this_rank(), " expects ",
                       rows_from[q], " rows of rank ", rank_in_run(q), ", which sends ", sends));
    }
    if (expects != rows_to[q]) {
      throw Error(Cause::cluster,
                  text("the ranks disagree: in ", describe(call), " ", this_rank(), " sends ",
                       rows_to[q], " rows to rank ", rank_in_run(q), ", which expects ", expects));
    }
  }
}

void NcclCommunicator::wait(const char* name, const std::string& where, const char* what,
                            const std::function<bool()>& done) {
  const Timer timer;
  for (std::int64_t looks = 1; !done(); ++looks) {
    const double seconds = timer.seconds();
    if (seconds > options_.deadline_seconds) {
      throw Error(Cause::cluster,
                  text(this_rank(), " waited ", options_.deadline_seconds, " s in ", where,
                       " for NCCL ", what,
                       ", which all ranks have begun; NCCL_DEBUG=INFO says what each of them does, "
                       "and a longer deadline helps only if a link is slow, not stuck"));
    }
    const bool sleeps = seconds > kSpinSeconds;
    if (sleeps || looks % kLooksPerPoll == 0) {
      if (const NcclLink::Progress progress = link_->progress();
          progress.state == NcclLink::State::failed) {
        // The rank that is to blame for it may have said so.
        host_->poll(name);
        throw Error(Cause::cluster, text(this_rank(), " heard of a failure of NCCL in ", where,
                                         ": ", progress.failure));
      }
      host_->poll(name);
    }
    if (sleeps) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    } else {
      sched_yield();
    }
  }
}

void NcclCommunicator::move(const char* name, const Transfer& transfer) {
  const int own = rank();
  for (const at::Tensor& tensor : transfer.tensors) link_->keep(tensor);
  CHECK_EQ(transfer.send_bytes[own], transfer.receive_bytes[own]) << name;
  if (transfer.send_bytes[own] > 0 && transfer.send[own] != transfer.receive[own]) {
    link_->copy(transfer.receive[own], transfer.send[own], transfer.send_bytes[own]);
  }
  if (size() == 1) return;
  link_->begin_group();
  for (int step = 1; step < size(); ++step) {
    // Each rank begins with its neighbours, so that not all send to rank 0 first.
    const int from = (own + size() - step) % size();
    const int to = (own + step) % size();
    if (transfer.receive_bytes[from] > 0) {
      link_->receive(transfer.receive[from], transfer.receive_bytes[from], from);
      moved_.bytes_received += transfer.receive_bytes[from];
    }
    if (transfer.send_bytes[to] > 0) {
      link_->send(transfer.send[to], transfer.send_bytes[to], to);
      moved_.bytes_sent += transfer.send_bytes[to];
    }
  }
  link_->end_group();
  // NCCL gives a group to the stream by a thread of its own; what comes after must wait for that.
  wait(name, place(name), "to begin",
       [&] { return link_->progress().state == NcclLink::State::ready; });
}

std::unique_ptr<PendingTensor> NcclCommunicator::start(const char* name, const at::Tensor& result,
                                                       const Transfer& transfer,
                                                       const Timer& timer) {
  link_->follow_current_stream();
  move(name, transfer);
  return std::make_unique<Pending>(*this, name, result, transfer, link_->mark(), timer);
}

void NcclCommunicator::finish(const char* name, const Timer& timer) {
  const std::unique_ptr<NcclLink::Mark> mark = link_->mark();
  mark->lead_current_stream();
  wait(name, place(name), "to move the data", [&] { return mark->has_passed(); });
  record(name, timer.seconds(), 0);
}

void NcclCommunicator::record(const char* name, double waited_seconds, double hidden_seconds) {
  LedgerEntry entry = std::exchange(moved_, {});
  entry.waited_seconds = waited_seconds;
  entry.hidden_seconds = hidden_seconds;
  ledger().record(name, entry);
}

void NcclCommunicator::barrier(const char* name) {
  refuse_if_failed(name);
  guarded(name, [&] { host_->barrier(name); });
}

void NcclCommunicator::poll(const char* name) {
  guarded(name, [&] {
    if (failed_in_.empty()) {
      for (Pending* const pending : in_flight_) pending->look();
    }
    host_->poll(name);
  });
}

at::Tensor NcclCommunicator::all_gather(const char* name, const at::Tensor& local,
                                        const std::vector<std::int64_t>& rows_per_rank) {
  if (on_gpu(name, local)) return start_all_gather(name, local, rows_per_rank)->wait();
  refuse_if_failed(name);
  at::Tensor result;
  guarded(name, [&] { result = host_->all_gather(name, local, rows_per_rank); });
  return result;
}

std::unique_ptr<PendingTensor> NcclCommunicator::start_all_gather(
    const char* name, const at::Tensor& local, const std::vector<std::int64_t>& rows_per_rank) {
  const Timer timer;
  refuse_if_failed(name);
  std::unique_ptr<PendingTensor> pending;
  if (!on_gpu(name, local)) {
    guarded(name, [&] { pending = host_->start_all_gather(name, local, rows_per_rank); });
    return pending;
  }
  check_rows(name, rows_per_rank, size());
  const std::int64_t bytes = row_bytes(name, local);
  CHECK_EQ(local.size(0), rows_per_rank[rank()]) << name;
  guarded(name, [&] {
    meet({name, Kind::all_gather, static_cast<std::int64_t>(local.scalar_type()), -1, -1, bytes},
         std::vector<std::int64_t>(static_cast<std::size_t>(size()), local.size(0)), rows_per_rank);
    const at::Tensor result = empty_rows(local, total(rows_per_rank));
    Transfer transfer = new_transfer();
    transfer.tensors = {local, result};
    std::int64_t row = 0;
    for (int q = 0; q < size(); ++q) {
      transfer.send[q] = bytes_of(local);
      transfer.send_bytes[q] = local.size(0) * bytes;
      transfer.receive[q] = writable_bytes_of(result) + row * bytes;
      transfer.receive_bytes[q] = rows_per_rank[q] * bytes;
      row += rows_per_rank[q];
    }
    pending = start(name, result, transfer, timer);
  });
  return pending;
}

at::Tensor NcclCommunicator::reduce_scatter(const char* name, const at::Tensor& full,
                                            const std::vector<std::int64_t>& rows_per_rank) {
  const Timer timer;
  refuse_if_failed(name);
  at::Tensor result;
  if (!on_gpu(name, full)) {
    guarded(name, [&] { result = host_->reduce_scatter(name, full, rows_per_rank); });
    return result;
  }
  check_reducible(name, full.scalar_type());
  check_rows(name, rows_per_rank, size());
  const std::int64_t bytes = row_bytes(name, full);
  CHECK_EQ(full.size(0), total(rows_per_rank)) << name;
  const std::int64_t own_rows = rows_per_rank[rank()];
  guarded(name, [&] {
    meet({name, Kind::reduce_scatter, static_cast<std::int64_t>(full.scalar_type()), -1, -1, bytes},
         rows_per_rank, std::vector<std::int64_t>(static_cast<std::size_t>(size()), own_rows));
    result = empty_rows(full, own_rows);
    const at::Tensor parts = empty_rows(full, own_rows * size());
    Transfer transfer = new_transfer();
    transfer.tensors = {full, parts, result};
    std::int64_t row = 0;
    for (int q = 0; q < size(); ++q) {
      transfer.send[q] = bytes_of(full) + row * bytes;
      transfer.send_bytes[q] = rows_per_rank[q] * bytes;
      transfer.receive[q] = writable_bytes_of(parts) + q * own_rows * bytes;
      transfer.receive_bytes[q] = own_rows * bytes;
      row += rows_per_rank[q];
    }
    link_->follow_current_stream();
    move(name, transfer);
    link_->reduce(full.scalar_type(), Reduction::sum, writable_bytes_of(result), bytes_of(parts),
                  result.numel(), size());
    finish(name, timer);
  });
  return result;
}

at::Tensor NcclCommunicator::all_to_all(const char* name, const at::Tensor& send,
                                        const std::vector<std::int64_t>& send_rows,
                                        const std::vector<std::int64_t>& receive_rows) {
  if (on_gpu(name, send)) return start_all_to_all(name, send, send_rows, receive_rows)->wait();
  refuse_if_failed(name);
  at::Tensor result;
  guarded(name, [&] { result = host_->all_to_all(name, send, send_rows, receive_rows); });
  return result;
}

std::unique_ptr<PendingTensor> NcclCommunicator::start_all_to_all(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows) {
  if (!on_gpu(name, send)) {
    refuse_if_failed(name);
    std::unique_ptr<PendingTensor> pending;
    guarded(name, [&] { pending = host_->start_all_to_all(name, send, send_rows, receive_rows); });
    return pending;
  }
  check_rows(name, receive_rows, size());
  std::vector<std::int64_t> first_rows(receive_rows.size());
  std::partial_sum(receive_rows.begin(), receive_rows.end() - 1, first_rows.begin() + 1);
  return start_exchange(name, send, send_rows, receive_rows, empty_rows(send, total(receive_rows)),
                        first_rows);
}

std::unique_ptr<PendingTensor> NcclCommunicator::start_all_to_all_into(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
    const std::vector<std::int64_t>& first_rows) {
  if (on_gpu(name, send)) {
    return start_exchange(name, send, send_rows, receive_rows, into, first_rows);
  }
  refuse_if_failed(name);
  std::unique_ptr<PendingTensor> pending;
  guarded(name, [&] {
    pending = host_->start_all_to_all_into(name, send, send_rows, receive_rows, into, first_rows);
  });
  return pending;
}

std::unique_ptr<PendingTensor> NcclCommunicator::start_exchange(
    const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
    const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
    const std::vector<std::int64_t>& first_rows) {
  const Timer timer;
  refuse_if_failed(name);
  check_rows(name, send_rows, size());
  check_rows(name, receive_rows, size());
  check_rows(name, first_rows, size());
  const std::int64_t bytes = row_bytes(name, send);
  CHECK_EQ(send.size(0), total(send_rows)) << name;
  CHECK_EQ(send_rows[rank()], receive_rows[rank()]) << name << ": rows of this rank to itself";
  CHECK(on_gpu(name, into) && into.scalar_type() == send.scalar_type()) << name;
  CHECK_EQ(row_bytes(name, into), bytes) << name;
  std::unique_ptr<PendingTensor> pending;
  guarded(name, [&] {
    meet({name, Kind::all_to_all, static_cast<std::int64_t>(send.scalar_type()), -1, -1, bytes},
         send_rows, receive_rows);
    Transfer transfer = new_transfer();
    transfer.tensors = {send, into};
    std::int64_t sent = 0;
    for (int q = 0; q < size(); ++q) {
      CHECK_LE(first_rows[q] + receive_rows[q], into.size(0)) << name;
      transfer.send[q] = bytes_of(send) + sent * bytes;
      transfer.send_bytes[q] = send_rows[q] * bytes;
      transfer.receive[q] = writable_bytes_of(into) + first_rows[q] * bytes;
      transfer.receive_bytes[q] = receive_rows[q] * bytes;
      sent += send_rows[q];
    }
    pending = start(name, into, transfer, timer);
  });
  return pending;
}

void NcclCommunicator::all_reduce(const char* name, at::Tensor& values, Reduction reduction) {
  const Timer timer;
  refuse_if_failed(name);
  if (!on_gpu(name, values))
    return guarded(name, [&] { host_->all_reduce(name, values, reduction); });
  check_reducible(name, values.scalar_type());
  const auto element_bytes = static_cast<std::int64_t>(values.element_size());
  const std::int64_t count = values.numel();
  if (size() == 1) return;
  guarded(name, [&] {
    const std::vector<std::int64_t> all(static_cast<std::size_t>(size()), count);
    meet({name, Kind::all_reduce, static_cast<std::int64_t>(values.scalar_type()),
          static_cast<std::int64_t>(reduction), -1, element_bytes},
         all, all);
    // Each rank reduces one run of elements, or all of them if they are few, and then shows it
    // around.
    const bool small = count * element_bytes * size() <= kSmallBytes;
    const auto run_begin = [&](int q) { return count * q / size(); };
    const std::int64_t own_count = small ? count : run_begin(rank() + 1) - run_begin(rank());
    const at::Tensor parts = at::empty({size() * own_count}, values.options().requires_grad(false));
    Transfer gather = new_transfer();
    gather.tensors = {values, parts};
    std::byte* const data = writable_bytes_of(values);
    for (int q = 0; q < size(); ++q) {
      const std::int64_t begin = small ? 0 : run_begin(q);
      const std::int64_t end = small ? count : run_begin(q + 1);
      gather.send[q] = data + begin * element_bytes;
      gather.send_bytes[q] = (end - begin) * element_bytes;
      gather.receive[q] = writable_bytes_of(parts) + q * own_count * element_bytes;
      gather.receive_bytes[q] = own_count * element_bytes;
    }
    link_->follow_current_stream();
    move(name, gather);
    std::byte* const reduced =
        data + (small ? 0 : run_begin(rank())) * element_bytes;  // what this rank sums
    link_->reduce(values.scalar_type(), reduction, reduced, bytes_of(parts), own_count, size());
    if (!small) {
      Transfer spread = new_transfer();
      spread.tensors = {values};
      for (int q = 0; q < size(); ++q) {
        spread.send[q] = reduced;
        spread.send_bytes[q] = own_count * element_bytes;
        spread.receive[q] = data + run_begin(q) * element_bytes;
        spread.receive_bytes[q] = (run_begin(q + 1) - run_begin(q)) * element_bytes;
      }
      move(name, spread);
    }
    finish(name, timer);
  });
}

void NcclCommunicator::broadcast(const char* name, at::Tensor& values, int root) {
  const Timer timer;
  refuse_if_failed(name);
  if (!on_gpu(name, values)) return guarded(name, [&] { host_->broadcast(name, values, root); });
  CHECK_GE(root, 0) << name;
  CHECK_LT(root, size()) << name;
  if (size() == 1) return;
  guarded(name, [&] {
    const auto bytes = static_cast<std::int64_t>(values.element_size()) * values.numel();
    const std::vector<std::int64_t> all(static_cast<std::size_t>(size()), values.numel());
    meet({name, Kind::broadcast, static_cast<std::int64_t>(values.scalar_type()), -1, root,
          static_cast<std::int64_t>(values.element_size())},
         all, all);
    Transfer transfer = new_transfer();
    transfer.tensors = {values};
    if (rank() == root) {
      for (int q = 0; q < size(); ++q) {
        transfer.send[q] = bytes_of(values);
        transfer.send_bytes[q] = q == root ? 0 : bytes;
      }
    } else {
      transfer.receive[root] = writable_bytes_of(values);
      transfer.receive_bytes[root] = bytes;
    }
    link_->follow_current_stream();
    move(name, transfer);
    finish(name, timer);
  });
}

std::unique_ptr<Communicator> NcclCommunicator::split(const char* name, int color) {
  refuse_if_failed(name);
  std::unique_ptr<Communicator> host = host_->split(name, color);
  std::unique_ptr<NcclLink> link = link_->another();
  // The first rank of each new group shows its id here, so that the group's own collectives still
  // begin with number 1.
  NcclId id{};
  const auto bytes = static_cast<std::int64_t>(id.size());
  at::Tensor shown = at::zeros({1, bytes}, at::kByte);
  if (host->rank() == 0 && host->size() > 1) {
    id = link->make_id();
    std::memcpy(shown.mutable_data_ptr(), id.data(), id.size());
  }
  const at::Tensor ids = host_->all_gather(
      name, shown, std::vector<std::int64_t>(static_cast<std::size_t>(size()), 1));
  for (int q = 0; q < size(); ++q) {
    if (rank_in_run(q) != host->rank_in_run(0)) continue;
    std::memcpy(id.data(), static_cast<const char*>(ids.const_data_ptr()) + q * bytes, id.size());
  }
  std::unique_ptr<Communicator> group(
      new NcclCommunicator(name, std::move(host), std::move(link), id, options_));
  // A rank that goes on and fails must not end the joining of the others.
  guarded(name, [&] { host_->barrier(name); });
  return group;
}

void NcclCommunicator::abort(const std::string& why) noexcept {
  host_->abort(why);
  fail("abort()");
}

}  // namespace micrec
