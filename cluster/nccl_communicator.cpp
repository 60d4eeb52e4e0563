#include "cluster/nccl_communicator.h"

#include <ATen/Functions.h>
#include <glog/logging.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "base/profile_range.h"
#include "base/text.h"
#include "cluster/device.h"
#include "cluster/rows_of_collectives.h"

namespace micrec {
namespace {

// Up to here an all_reduce of our own is one group of messages of everything to everyone.
constexpr std::int64_t kSmallBytes = 256 * 1024;
constexpr double kLeaveSeconds = 5;
constexpr double kSpinSeconds = 2e-3;       // a wait this long does not let the core sleep
constexpr int kLooksPerPoll = 16;           // at NCCL, for one at the ranks
constexpr double kShownAfterSeconds = 0.1;  // of waiting

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

std::int32_t number_of(at::ScalarType dtype) { return static_cast<std::int32_t>(dtype); }

std::vector<std::int64_t> to_each(int ranks, std::int64_t rows) {
  return std::vector<std::int64_t>(static_cast<std::size_t>(ranks), rows);
}

// Rows of every rank, where all have the same or are padded to it for little; nothing elsewhere.
std::optional<std::int64_t> equal_share(const std::vector<std::int64_t>& rows_per_rank) {
  const std::int64_t largest = *std::max_element(rows_per_rank.begin(), rows_per_rank.end());
  const auto moved = static_cast<double>(largest) * static_cast<double>(rows_per_rank.size());
  const auto needed = static_cast<double>(total(rows_per_rank));
  const bool is_equal = std::all_of(rows_per_rank.begin(), rows_per_rank.end(),
                                    [&](std::int64_t rows) { return rows == largest; });
  if (is_equal || moved < (1 + NcclCommunicator::kMostPadding) * needed) return largest;
  return std::nullopt;
}

class Done final : public PendingTensor {
 public:
  explicit Done(at::Tensor result) : result_(std::move(result)) {}
  at::Tensor wait() override { return std::move(result_); }

 private:
  at::Tensor result_;
};

// NCCL keeps its functions within a major version and adds to them, and the structures it is given
// carry their header's version.
bool serves(const NcclLink::Versions& versions) {
  constexpr int kMajor = 10'000;
  return versions.library >= versions.header &&
         versions.library / kMajor == versions.header / kMajor;
}

}  // namespace

/// The messages of one group, this rank's to itself included.
struct NcclCommunicator::Transfer {
  explicit Transfer(int ranks)
      : send(static_cast<std::size_t>(ranks)),
        send_bytes(send.size()),
        receive(send.size()),
        receive_bytes(send.size()) {}

  std::vector<const std::byte*> send;       // (ranks)
  std::vector<std::int64_t> send_bytes;     // (ranks)
  std::vector<std::byte*> receive;          // (ranks)
  std::vector<std::int64_t> receive_bytes;  // (ranks)
};

/// One collective on the GPU, from its beginning until all its work is given.
class NcclCommunicator::Collective {
 public:
  Collective(NcclCommunicator& communicator, const CollectiveCall& call,
             const std::vector<std::int64_t>& rows_to, const std::vector<std::int64_t>& rows_from)
      : communicator_(communicator),
        link_(*communicator.link_),
        name_(call.name),
        begun_(communicator.host_->begin_beside(call, rows_to, rows_from)) {}

  /// After all its tensors are made: their memory may still be in use by what the current stream
  /// has to do.
  void follow_current_stream(const std::vector<at::Tensor>& tensors) {
    for (const at::Tensor& tensor : tensors) link_.keep(tensor);
    link_.follow_current_stream();
  }

  void exchange(const Transfer& transfer) {
    const int own = communicator_.rank();
    const int ranks = communicator_.size();
    CHECK_EQ(transfer.send_bytes[own], transfer.receive_bytes[own]) << name_;
    copy(transfer.receive[own], transfer.send[own], transfer.send_bytes[own]);
    std::vector<NcclLink::Message> sends;
    std::vector<NcclLink::Message> receives;
    for (int step = 1; step < ranks; ++step) {
      // Each rank begins with its neighbours, so that not all send to rank 0 first.
      const int from = (own + ranks - step) % ranks;
      const int to = (own + step) % ranks;
      if (transfer.receive_bytes[from] > 0) {
        receives.push_back({transfer.receive[from], transfer.receive_bytes[from], from});
        moved_.bytes_received += transfer.receive_bytes[from];
      }
      if (transfer.send_bytes[to] > 0) {
        sends.push_back({const_cast<std::byte*>(transfer.send[to]), transfer.send_bytes[to], to});
        moved_.bytes_sent += transfer.send_bytes[to];
      }
    }
    if (sends.empty() && receives.empty()) return;
    link_.exchange(sends, receives);
    give();
  }
  /// Shapes   from: `bytes`; to: (ranks, bytes).
  void all_gather(std::byte* to, const std::byte* from, std::int64_t bytes) {
    if (bytes == 0) return;
    link_.all_gather(to, from, bytes);
    give();
    count(bytes * (communicator_.size() - 1), bytes * (communicator_.size() - 1));
  }
  void reduce_scatter(const at::Tensor& result, const at::Tensor& full) {
    if (result.numel() == 0) return;
    link_.reduce_scatter(full.scalar_type(), writable_bytes_of(result), bytes_of(full),
                         result.numel());
    give();
    const auto bytes = static_cast<std::int64_t>(result.nbytes()) * (communicator_.size() - 1);
    count(bytes, bytes);
  }
  void all_reduce(const at::Tensor& values, Reduction reduction) {
    if (values.numel() == 0) return;
    link_.all_reduce(values.scalar_type(), reduction, writable_bytes_of(values), values.numel());
    give();
    const std::int64_t ranks = communicator_.size();
    const auto bytes = 2 * static_cast<std::int64_t>(values.nbytes()) * (ranks - 1) / ranks;
    count(bytes, bytes);
  }
  void broadcast(const at::Tensor& values, int root) {
    if (values.numel() == 0) return;
    const auto bytes = static_cast<std::int64_t>(values.nbytes());
    link_.broadcast(writable_bytes_of(values), bytes, root);
    give();
    const bool is_root = communicator_.rank() == root;
    count(is_root ? bytes * (communicator_.size() - 1) : 0, is_root ? 0 : bytes);
  }
  void copy(std::byte* to, const std::byte* from, std::int64_t bytes) {
    if (bytes > 0 && to != from) link_.copy(to, from, bytes);
  }

  /// What was given so far is under way, and the rank waits for it now or will say so.
  std::shared_ptr<NcclLink::Mark> finish(bool is_awaited) {
    std::shared_ptr<NcclLink::Mark> mark = link_.mark();
    if (is_awaited) mark->lead_current_stream();
    communicator_.watch_->add({name_, communicator_.latest_number(), begun_, mark, is_awaited});
    moved_.waited_seconds = timer_.seconds();
    communicator_.ledger().record(name_, moved_);
    return mark;
  }

 private:
  // NCCL gives work to the stream by a thread of its own; what comes after must wait for that.
  void give() {
    communicator_.wait_until_ready(name_, begun_, "to begin",
                                   communicator_.options_.deadline_seconds);
  }
  void count(std::int64_t sent, std::int64_t received) {
    moved_.bytes_sent += sent;
    moved_.bytes_received += received;
  }

  NcclCommunicator& communicator_;
  NcclLink& link_;
  const char* name_;
  const std::uint64_t begun_;
  const Timer timer_;  // the host communicator counts what the checked mode takes
  LedgerEntry moved_;
};

/// What the GPU was given, and what it will have brought.
class NcclCommunicator::Pending final : public PendingTensor {
 public:
  Pending(NcclCommunicator& communicator, const char* name, at::Tensor result,
          std::shared_ptr<NcclLink::Mark> mark)
      : communicator_(communicator),
        name_(name),
        number_(communicator.latest_number()),
        result_(std::move(result)),
        mark_(std::move(mark)) {}
  ~Pending() override {
    if (is_over_) return;
    communicator_.fail(communicator_.host_->place(name_, number_) + ", which nobody waited for");
  }

  at::Tensor wait() override {
    const Timer timer;
    communicator_.refuse_if_failed(name_);
    try {
      mark_->lead_current_stream();
    } catch (...) {
      communicator_.fail(communicator_.host_->place(name_, number_));
      throw;
    }
    communicator_.watch_->await(number_);
    is_over_ = true;
    LedgerEntry entry;
    entry.waited_seconds = timer.seconds();
    communicator_.ledger().record(name_, entry);
    return std::move(result_);
  }

 private:
  NcclCommunicator& communicator_;
  const char* name_;
  const std::uint64_t number_;
  at::Tensor result_;
  std::shared_ptr<NcclLink::Mark> mark_;
  bool is_over_ = false;
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

NcclCommunicator::NcclCommunicator(HostCommunicator& host, c10::Device device,
                                   std::unique_ptr<NcclLink> link, const NcclId& id,
                                   const CommunicatorOptions& options)
    : host_(&host),
      device_(device),
      link_(std::move(link)),
      options_(options),
      exceptions_before_(std::uncaught_exceptions()),
      failure_(std::make_shared<NcclFailure>()) {
  join(id);
}

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> host,
                                   const NcclCommunicator& whole, std::unique_ptr<NcclLink> link,
                                   const NcclId& id)
    : owned_host_(std::move(host)),
      host_(dynamic_cast<HostCommunicator*>(owned_host_.get())),
      device_(whole.device_),
      link_(std::move(link)),
      options_(whole.options_),
      exceptions_before_(std::uncaught_exceptions()),
      failure_(whole.failure_) {
  CHECK(host_ != nullptr) << "a part of a host communicator is one";
  join(id);
}

NcclCommunicator::~NcclCommunicator() {
  if (!link_) return;
  // After a failure, or on the way out because of one, the other ranks will not come to leave.
  const bool is_leaving = !failure_->is_set() && std::uncaught_exceptions() <= exceptions_before_;
  if (is_leaving) watch_->drain();
  watch_.reset();
  if (is_leaving && !failure_->is_set()) {
    link_->leave(kLeaveSeconds);
  } else {
    link_->abort();
  }
}

void NcclCommunicator::join(const NcclId& id) {
  if (size() == 1) return link_.reset();
  CHECK(link_ != nullptr && link_->device() == device_);
  const NcclLink::Versions versions = link_->versions();
  if (!serves(versions)) {
    throw Error(Cause::cluster,
                text("this program was built with NCCL ", nccl_version_name(versions.header),
                     " and has loaded NCCL ", nccl_version_name(versions.library),
                     ", which must be that or a newer one of the same major version; put such a "
                     "library first in LD_LIBRARY_PATH, or build with the header of this one "
                     "(MICREC_NCCL_INCLUDE)"));
  }
  constexpr const char* kName = "nccl.join";
  try {
    link_->begin_join(id, rank(), size());
    wait_until_ready(kName, 0, "to connect the ranks' GPUs", options_.connect_seconds);
  } catch (...) {
    link_->abort();
    throw;
  }
  watch_ = std::make_unique<NcclWatch>(*link_, *host_, options_.deadline_seconds, *failure_);
}

bool NcclCommunicator::on_gpu(const char* name, const at::Tensor& tensor) const {
  CHECK(tensor.defined()) << name;
  if (tensor.device() != device_) {
    CHECK(tensor.is_cpu()) << name << ": a communicator of " << device_ << " got a tensor on "
                           << tensor.device();
    return false;
  }
  CHECK(tensor.is_contiguous()) << name << ": the tensor is not contiguous";
  return true;
}

void NcclCommunicator::refuse_if_failed(const char* name) {
  if (!failure_->is_set()) return;
  if (link_) link_->abort();  // another group of this rank may have failed
  const std::string where = failure_->tell();
  throw Error(Cause::cluster,
              text(host_->this_rank(), " cannot begin ", host_->place(name, latest_number() + 1),
                   ": the communicator failed earlier, in ", where));
}

void NcclCommunicator::fail(const std::string& where) {
  failure_->set(where, nullptr);
  if (link_) link_->abort();
}

void NcclCommunicator::guarded(const char* name, const std::function<void()>& body) {
  const ProfileRange range(name);
  try {
    body();
  } catch (...) {
    // What the watch has found meanwhile is the reason of what this thread met.
    failure_->tell();
    fail(place(name));
    throw;
  }
}

void NcclCommunicator::throw_untold() {
  if (failure_->is_set()) failure_->tell();
}

void NcclCommunicator::settle() {
  if (watch_) watch_->drain();
  throw_untold();
}

// For NCCL's own threads, not for the GPU.
void NcclCommunicator::wait_until_ready(const char* name, std::uint64_t begun, const char* what,
                                        double deadline_seconds) {
  const Timer timer;
  bool is_shown = false;
  for (std::int64_t looks = 1;; ++looks) {
    const NcclLink::Progress progress = link_->progress();
    if (progress.state == NcclLink::State::ready) break;
    const double seconds = timer.seconds();
    const std::uint64_t number = latest_number();
    const bool has_failed = progress.state == NcclLink::State::failed;
    if (has_failed || seconds > kSpinSeconds || looks % kLooksPerPoll == 0) {
      host_->poll(name);  // the rank that is to blame for a failure may have said so
    }
    if (has_failed) {
      throw Error(Cause::cluster, text(host_->this_rank(), " heard of a failure of NCCL in ",
                                       host_->place(name, number), ": ", progress.failure));
    }
    if (seconds > deadline_seconds) {
      const std::string behind = host_->behind_in(number);
      throw DeadlinePassed(text(host_->this_rank(), " waited ", deadline_seconds, " s in ",
                                host_->place(name, number), " for NCCL ", what,
                                behind.empty() ? "" : text(", and for ", behind),
                                "; NCCL_DEBUG=INFO says what NCCL does on each rank"));
    }
    if (seconds > kShownAfterSeconds) {
      host_->show_waiting_beside(name, number, begun);
      is_shown = true;
    }
    if (seconds > kSpinSeconds) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    } else {
      sched_yield();
    }
  }
  if (is_shown) host_->hide_waiting_beside();
}

void NcclCommunicator::barrier(const char* name) {
  refuse_if_failed(name);
  guarded(name, [&] { host_->barrier(name); });
}

void NcclCommunicator::poll(const char* name) {
  if (failure_->is_set()) {
    if (link_) link_->abort();
    const std::string where = failure_->tell();
    throw Error(Cause::cluster, text(host_->this_rank(), " cannot go on in '", name,
                                     "': the communicator failed earlier, in ", where));
  }
  guarded(name, [&] { host_->poll(name); });
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
  refuse_if_failed(name);
  std::unique_ptr<PendingTensor> pending;
  if (!on_gpu(name, local)) {
    guarded(name, [&] { pending = host_->start_all_gather(name, local, rows_per_rank); });
    return pending;
  }
  check_rows(name, rows_per_rank, size());
  const std::int64_t bytes = row_bytes(name, local);
  CHECK_EQ(local.size(0), rows_per_rank[rank()]) << name;
  const CollectiveCall call = {.name = name,
                               .kind = CollectiveKind::all_gather,
                               .dtype = number_of(local.scalar_type()),
                               .row_bytes = bytes};
  guarded(name, [&] {
    const std::vector<std::int64_t> rows_to = to_each(size(), local.size(0));
    if (!link_) {
      host_->begin_beside(call, rows_to, rows_per_rank);
      pending = std::make_unique<Done>(local.detach().clone());
      return;
    }
    Collective collective(*this, call, rows_to, rows_per_rank);
    const at::Tensor result = empty_rows(local, total(rows_per_rank));
    if (const std::optional<std::int64_t> share = equal_share(rows_per_rank)) {
      const bool is_even = result.size(0) == *share * size();
      const at::Tensor own = local.size(0) == *share ? local : empty_rows(local, *share);
      const at::Tensor all = is_even ? result : empty_rows(local, *share * size());
      collective.follow_current_stream({local, own, all, result});
      collective.copy(writable_bytes_of(own), bytes_of(local), local.size(0) * bytes);
      collective.all_gather(writable_bytes_of(all), bytes_of(own), *share * bytes);
      std::int64_t row = 0;
      for (int q = 0; !is_even && q < size(); ++q) {
        collective.copy(writable_bytes_of(result) + row * bytes, bytes_of(all) + q * *share * bytes,
                        rows_per_rank[q] * bytes);
        row += rows_per_rank[q];
      }
    } else {
      Transfer transfer(size());
      std::int64_t row = 0;
      for (int q = 0; q < size(); ++q) {
        transfer.send[q] = bytes_of(local);
        transfer.send_bytes[q] = local.size(0) * bytes;
        transfer.receive[q] = writable_bytes_of(result) + row * bytes;
        transfer.receive_bytes[q] = rows_per_rank[q] * bytes;
        row += rows_per_rank[q];
      }
      collective.follow_current_stream({local, result});
      collective.exchange(transfer);
    }
    pending = std::make_unique<Pending>(*this, name, result, collective.finish(false));
  });
  return pending;
}

at::Tensor NcclCommunicator::reduce_scatter(const char* name, const at::Tensor& full,
                                            const std::vector<std::int64_t>& rows_per_rank) {
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
  const CollectiveCall call = {.name = name,
                               .kind = CollectiveKind::reduce_scatter,
                               .dtype = number_of(full.scalar_type()),
                               .row_bytes = bytes};
  guarded(name, [&] {
    const std::vector<std::int64_t> rows_from = to_each(size(), own_rows);
    if (!link_) {
      host_->begin_beside(call, rows_per_rank, rows_from);
      result = full.detach().clone();
      return;
    }
    Collective collective(*this, call, rows_per_rank, rows_from);
    result = empty_rows(full, own_rows);
    const std::optional<std::int64_t> share =
        options_.reproducible ? std::nullopt : equal_share(rows_per_rank);
    if (share) {
      const bool is_even = full.size(0) == *share * size();
      const at::Tensor all = is_even ? full : empty_rows(full, *share * size());
      const at::Tensor own = own_rows == *share ? result : empty_rows(full, *share);
      collective.follow_current_stream({full, all, own, result});
      std::int64_t row = 0;
      for (int q = 0; !is_even && q < size(); ++q) {
        collective.copy(writable_bytes_of(all) + q * *share * bytes, bytes_of(full) + row * bytes,
                        rows_per_rank[q] * bytes);
        row += rows_per_rank[q];
      }
      collective.reduce_scatter(own, all);
      collective.copy(writable_bytes_of(result), bytes_of(own), own_rows * bytes);
    } else {
      const at::Tensor parts = empty_rows(full, own_rows * size());
      Transfer transfer(size());
      std::int64_t row = 0;
      for (int q = 0; q < size(); ++q) {
        transfer.send[q] = bytes_of(full) + row * bytes;
        transfer.send_bytes[q] = rows_per_rank[q] * bytes;
        transfer.receive[q] = writable_bytes_of(parts) + q * own_rows * bytes;
        transfer.receive_bytes[q] = own_rows * bytes;
        row += rows_per_rank[q];
      }
      collective.follow_current_stream({full, parts, result});
      collective.exchange(transfer);
      link_->reduce(full.scalar_type(), Reduction::sum, writable_bytes_of(result), bytes_of(parts),
                    result.numel(), size());
    }
    collective.finish(true);
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
  refuse_if_failed(name);
  check_rows(name, send_rows, size());
  check_rows(name, receive_rows, size());
  check_rows(name, first_rows, size());
  const std::int64_t bytes = row_bytes(name, send);
  CHECK_EQ(send.size(0), total(send_rows)) << name;
  CHECK_EQ(send_rows[rank()], receive_rows[rank()]) << name << ": rows of this rank to itself";
  CHECK(on_gpu(name, into) && into.scalar_type() == send.scalar_type()) << name;
  CHECK_EQ(row_bytes(name, into), bytes) << name;
  for (int q = 0; q < size(); ++q) {
    CHECK_LE(first_rows[q] + receive_rows[q], into.size(0)) << name << ": rows of rank " << q;
  }
  const CollectiveCall call = {.name = name,
                               .kind = CollectiveKind::all_to_all,
                               .dtype = number_of(send.scalar_type()),
                               .row_bytes = bytes};
  std::unique_ptr<PendingTensor> pending;
  guarded(name, [&] {
    if (!link_) {
      host_->begin_beside(call, send_rows, receive_rows);
      into.detach().narrow(0, first_rows[0], receive_rows[0]).copy_(send.detach());
      pending = std::make_unique<Done>(into);
      return;
    }
    Collective collective(*this, call, send_rows, receive_rows);
    Transfer transfer(size());
    std::int64_t sent = 0;
    for (int q = 0; q < size(); ++q) {
      transfer.send[q] = bytes_of(send) + sent * bytes;
      transfer.send_bytes[q] = send_rows[q] * bytes;
      transfer.receive[q] = writable_bytes_of(into) + first_rows[q] * bytes;
      transfer.receive_bytes[q] = receive_rows[q] * bytes;
      sent += send_rows[q];
    }
    collective.follow_current_stream({send, into});
    collective.exchange(transfer);
    pending = std::make_unique<Pending>(*this, name, into, collective.finish(false));
  });
  return pending;
}

void NcclCommunicator::all_reduce(const char* name, at::Tensor& values, Reduction reduction) {
  refuse_if_failed(name);
  if (!on_gpu(name, values)) {
    return guarded(name, [&] { host_->all_reduce(name, values, reduction); });
  }
  check_reducible(name, values.scalar_type());
  const auto element_bytes = static_cast<std::int64_t>(values.element_size());
  const std::int64_t count = values.numel();
  const CollectiveCall call = {.name = name,
                               .kind = CollectiveKind::all_reduce,
                               .dtype = number_of(values.scalar_type()),
                               .reduction = static_cast<std::int32_t>(reduction),
                               .row_bytes = element_bytes};
  guarded(name, [&] {
    const std::vector<std::int64_t> all = to_each(size(), count);
    if (!link_) {
      host_->begin_beside(call, all, all);
      return;
    }
    Collective collective(*this, call, all, all);
    const bool is_sum = reduction == Reduction::sum;
    if (is_sum ? !options_.reproducible : !values.is_floating_point()) {
      collective.follow_current_stream({values});
      collective.all_reduce(values, reduction);
      collective.finish(true);
      return;
    }
    // Each rank reduces one run of elements, or all of them if they are few, and then shows it
    // around.
    const bool small = count * element_bytes * size() <= kSmallBytes;
    const auto run_begin = [&](int q) { return count * q / size(); };
    const std::int64_t own_count = small ? count : run_begin(rank() + 1) - run_begin(rank());
    const at::Tensor parts = at::empty({size() * own_count}, values.options().requires_grad(false));
    Transfer gather(size());
    std::byte* const data = writable_bytes_of(values);
    for (int q = 0; q < size(); ++q) {
      const std::int64_t begin = small ? 0 : run_begin(q);
      const std::int64_t end = small ? count : run_begin(q + 1);
      gather.send[q] = data + begin * element_bytes;
      gather.send_bytes[q] = (end - begin) * element_bytes;
      gather.receive[q] = writable_bytes_of(parts) + q * own_count * element_bytes;
      gather.receive_bytes[q] = own_count * element_bytes;
    }
    collective.follow_current_stream({values, parts});
    collective.exchange(gather);
    std::byte* const reduced =
        data + (small ? 0 : run_begin(rank())) * element_bytes;  // what this rank sums
    link_->reduce(values.scalar_type(), reduction, reduced, bytes_of(parts), own_count, size());
    if (!small) {
      Transfer spread(size());
      for (int q = 0; q < size(); ++q) {
        spread.send[q] = reduced;
        spread.send_bytes[q] = own_count * element_bytes;
        spread.receive[q] = data + run_begin(q) * element_bytes;
        spread.receive_bytes[q] = (run_begin(q + 1) - run_begin(q)) * element_bytes;
      }
      collective.exchange(spread);
    }
    collective.finish(true);
  });
}

void NcclCommunicator::broadcast(const char* name, at::Tensor& values, int root) {
  refuse_if_failed(name);
  if (!on_gpu(name, values)) return guarded(name, [&] { host_->broadcast(name, values, root); });
  CHECK_GE(root, 0) << name;
  CHECK_LT(root, size()) << name;
  const CollectiveCall call = {.name = name,
                               .kind = CollectiveKind::broadcast,
                               .dtype = number_of(values.scalar_type()),
                               .root = root,
                               .row_bytes = static_cast<std::int64_t>(values.element_size())};
  guarded(name, [&] {
    const std::vector<std::int64_t> all = to_each(size(), values.numel());
    if (!link_) {
      host_->begin_beside(call, all, all);
      return;
    }
    Collective collective(*this, call, all, all);
    collective.follow_current_stream({values});
    collective.broadcast(values, root);
    collective.finish(true);
  });
}

std::unique_ptr<Communicator> NcclCommunicator::split(const char* name, int color) {
  refuse_if_failed(name);
  std::unique_ptr<Communicator> host = host_->split(name, color);
  std::unique_ptr<NcclLink> link = host->size() > 1 ? link_->another() : nullptr;
  // The first rank of each new group shows its id here, so that the group's own collectives still
  // begin with number 1.
  NcclId id{};
  const auto bytes = static_cast<std::int64_t>(id.size());
  at::Tensor shown = at::zeros({1, bytes}, at::kByte);
  if (host->rank() == 0 && host->size() > 1) {
    id = link->make_id();
    std::memcpy(shown.mutable_data_ptr(), id.data(), id.size());
  }
  const at::Tensor ids = host_->all_gather(name, shown, to_each(size(), 1));
  for (int q = 0; q < size(); ++q) {
    if (rank_in_run(q) != host->rank_in_run(0)) continue;
    std::memcpy(id.data(), static_cast<const char*>(ids.const_data_ptr()) + q * bytes, id.size());
  }
  std::unique_ptr<Communicator> group(
      new NcclCommunicator(std::move(host), *this, std::move(link), id));
  // A rank that goes on and fails must not end the joining of the others.
  guarded(name, [&] { host_->barrier(name); });
  return group;
}

void NcclCommunicator::abort(const std::string& why) noexcept {
  host_->abort(why);
  fail("abort()");
}

}  // namespace micrec
