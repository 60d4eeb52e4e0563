#include "cluster/nccl_communicator.h"

#include <glog/logging.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "base/profile_range.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/device.h"

namespace micrec {
namespace {

// Up to here an all_reduce of our own is one group of messages of everything to everyone.
constexpr std::int64_t kSmallBytes = 256 * 1024;
constexpr double kLeaveSeconds = 5;
constexpr double kSpinSeconds = 2e-3;       // a wait this long does not let the core sleep
constexpr int kLooksPerPoll = 16;           // at NCCL, for one at the ranks
constexpr double kShownAfterSeconds = 0.1;  // of waiting

// Rows of every rank, where all have the same or are padded to it for little; nothing elsewhere.
std::optional<std::int64_t> equal_share(const std::vector<std::int64_t>& rows_per_rank) {
  const std::int64_t largest = *std::ranges::max_element(rows_per_rank);
  const auto moved = static_cast<double>(largest) * static_cast<double>(rows_per_rank.size());
  const auto needed = static_cast<double>(total(rows_per_rank));
  const bool is_equal =
      std::ranges::all_of(rows_per_rank, [&](std::int64_t rows) { return rows == largest; });
  if (is_equal || moved < (1 + NcclCommunicator::kMostPadding) * needed) return largest;
  return std::nullopt;
}

// NCCL keeps its functions within a major version and adds to them, and the structures it is given
// carry their header's version.
bool serves(const NcclLink::Versions& versions) {
  constexpr int kMajor = 10'000;
  return versions.library >= versions.header &&
         versions.library / kMajor == versions.header / kMajor;
}

}  // namespace

/// One exchange on the GPU, from its beginning until all its work is given.
class NcclCommunicator::Collective {
 public:
  /// Ranks    collective in the checked mode alone.
  Collective(NcclCommunicator& communicator, const Exchange& exchange)
      : communicator_(communicator),
        link_(*communicator.link_),
        exchange_(exchange),
        begun_(communicator.host_->begin_beside(exchange)) {}

  /// Gives all of it to the GPU.
  std::shared_ptr<NcclLink::Mark> give() {
    switch (exchange_.kind) {
      case CollectiveKind::all_gather:
        if (const auto share = equal_share(exchange_.received.rows)) {
          give_all_gather(*share);
          return finish();
        }
        break;
      case CollectiveKind::all_reduce: {
        const bool is_sum = exchange_.reduction == Reduction::sum;
        if (is_sum ? !communicator_.options_.reproducible : !exchange_.given.is_floating_point()) {
          give_all_reduce();
          return finish();
        }
        break;
      }
      case CollectiveKind::broadcast:
        give_broadcast();
        return finish();
      case CollectiveKind::all_to_all:
      case CollectiveKind::barrier:
        break;
    }
    give_rounds();
    return finish();
  }

 private:
  // NCCL's own, on `share` rows of every rank: the rows that some lack are padding.
  void give_all_gather(std::int64_t share) {
    const std::int64_t share_bytes = share * exchange_.row_bytes;
    const at::Tensor& local = exchange_.given;
    const at::Tensor& result = exchange_.result;
    const bool is_even = result.size(0) == share * communicator_.size();
    const at::Tensor own = local.size(0) == share ? local : empty_rows(local, share);
    const at::Tensor all = is_even ? result : empty_rows(local, share * communicator_.size());
    follow_current_stream({local, own, all, result});
    copy(writable_bytes_of(own), bytes_of(local), local.size(0) * exchange_.row_bytes);
    if (share_bytes > 0) {
      link_.all_gather(writable_bytes_of(all), bytes_of(own), share_bytes);
      wait_until_given();
      count(share_bytes * (communicator_.size() - 1));
    }
    if (is_even) return;
    for (int q = 0; q < communicator_.size(); ++q) {
      copy(writable_bytes_of(result) + exchange_.received.first[q] * exchange_.row_bytes,
           bytes_of(all) + q * share_bytes, exchange_.received.rows[q] * exchange_.row_bytes);
    }
  }

  void give_all_reduce() {
    const at::Tensor& values = exchange_.given;
    follow_current_stream({values});
    if (values.numel() == 0) return;
    link_.all_reduce(values.scalar_type(), exchange_.reduction, writable_bytes_of(values),
                     values.numel());
    wait_until_given();
    const std::int64_t ranks = communicator_.size();
    count(2 * static_cast<std::int64_t>(values.nbytes()) * (ranks - 1) / ranks);
  }

  void give_broadcast() {
    const at::Tensor& values = exchange_.given;
    follow_current_stream({values});
    if (values.numel() == 0) return;
    const auto bytes = static_cast<std::int64_t>(values.nbytes());
    link_.broadcast(writable_bytes_of(values), bytes, exchange_.root);
    wait_until_given();
    if (communicator_.rank() == exchange_.root) {
      moved_.bytes_sent += bytes * (communicator_.size() - 1);
    } else {
      moved_.bytes_received += bytes;
    }
  }

  // Messages, and a reduction of our own between them.
  void give_rounds() {
    const Rounds rounds = rounds_of(exchange_, communicator_.rank(), kSmallBytes);
    follow_current_stream(rounds.first.buffers);
    give_messages(rounds.first);
    if (rounds.count > 0) {
      link_.reduce(exchange_.given.scalar_type(), exchange_.reduction, rounds.into,
                   bytes_of(rounds.parts), rounds.count, communicator_.size());
    }
    if (rounds.second) give_messages(*rounds.second);
  }

  void give_messages(const Messages& messages) {
    const int own = communicator_.rank();
    const int ranks = communicator_.size();
    CHECK_EQ(messages.send_bytes[own], messages.receive_bytes[own]) << exchange_.name;
    copy(messages.receive[own], messages.send[own], messages.send_bytes[own]);
    std::vector<NcclLink::Message> sends;
    std::vector<NcclLink::Message> receives;
    for (int step = 1; step < ranks; ++step) {
      // Each rank begins with its neighbours, so that not all send to rank 0 first.
      const int from = (own + ranks - step) % ranks;
      const int to = (own + step) % ranks;
      if (messages.receive_bytes[from] > 0) {
        receives.push_back({messages.receive[from], messages.receive_bytes[from], from});
        moved_.bytes_received += messages.receive_bytes[from];
      }
      if (messages.send_bytes[to] > 0) {
        sends.push_back({const_cast<std::byte*>(messages.send[to]), messages.send_bytes[to], to});
        moved_.bytes_sent += messages.send_bytes[to];
      }
    }
    if (sends.empty() && receives.empty()) return;
    link_.exchange(sends, receives);
    wait_until_given();
  }

  // After all its tensors are made: their memory may still be in use by what the current stream has
  // to do.
  void follow_current_stream(const std::vector<at::Tensor>& tensors) {
    for (const at::Tensor& tensor : tensors) link_.keep(tensor);
    link_.follow_current_stream();
  }
  // NCCL gives work to the stream by a thread of its own; what comes after must wait for that.
  void wait_until_given() {
    communicator_.wait_until_ready(exchange_.name, begun_, "to begin",
                                   communicator_.options_.deadline_seconds);
  }
  void copy(std::byte* to, const std::byte* from, std::int64_t bytes) {
    if (bytes > 0 && to != from) link_.copy(to, from, bytes);
  }
  void count(std::int64_t bytes) {
    moved_.bytes_sent += bytes;
    moved_.bytes_received += bytes;
  }

  // What was given so far is under way.
  std::shared_ptr<NcclLink::Mark> finish() {
    std::shared_ptr<NcclLink::Mark> mark = link_.mark();
    communicator_.watch_->add({exchange_.name, communicator_.host_->latest_number(), begun_, mark});
    moved_.waited_seconds = timer_.seconds();
    communicator_.ledger().record(exchange_.name, moved_);
    return mark;
  }

  NcclCommunicator& communicator_;
  NcclLink& link_;
  const Exchange& exchange_;
  const std::uint64_t begun_;
  const Timer timer_;  // the host communicator counts what the checked mode takes
  LedgerEntry moved_;
};

/// What the GPU was given, and what it will have brought.
class NcclCommunicator::Pending final : public PendingTensor {
 public:
  Pending(NcclCommunicator& communicator, const Exchange& exchange,
          std::shared_ptr<NcclLink::Mark> mark)
      : communicator_(communicator),
        name_(exchange.name),
        number_(communicator.host_->latest_number()),
        result_(exchange.result),
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
    communicator_.ledger().record(name_, {.waited_seconds = timer.seconds()});
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
  const bool is_first = host.rank() == 0 && host.size() > 1;
  return gather_values(host, "nccl.id", is_first ? link.make_id() : NcclId{}).front();
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
    throw Error(
        Cause::cluster, "this program was built with NCCL ", nccl_version_name(versions.header),
        " and has loaded NCCL ", nccl_version_name(versions.library),
        ", which must be that or a newer one of the same major version; put such a library first "
        "in LD_LIBRARY_PATH, or build with the header of this one (MICREC_NCCL_INCLUDE)");
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

bool NcclCommunicator::on_gpu(const Exchange& exchange) const {
  return link_ && exchange.kind != CollectiveKind::barrier && exchange.given.device() == device_;
}

void NcclCommunicator::refuse(const std::string& what) {
  if (link_) link_->abort();  // another group of this rank may have failed
  const std::string where = failure_->tell();
  throw Error(Cause::cluster, host_->this_rank(), " cannot ", what,
              ": the communicator failed earlier, in ", where);
}

void NcclCommunicator::refuse_if_failed(const char* name) {
  if (!failure_->is_set()) return;
  refuse(text("begin ", host_->place(name, host_->latest_number() + 1)));
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
    const std::uint64_t number = host_->latest_number();
    const bool has_failed = progress.state == NcclLink::State::failed;
    if (has_failed || seconds > kSpinSeconds || looks % kLooksPerPoll == 0) {
      host_->poll(name);  // the rank that is to blame for a failure may have said so
    }
    if (has_failed) {
      throw Error(Cause::cluster, host_->this_rank(), " heard of a failure of NCCL in ",
                  host_->place(name, number), ": ", progress.failure);
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

void NcclCommunicator::poll(const char* name) {
  if (failure_->is_set()) refuse(text("go on in '", name, "'"));
  guarded(name, [&] { host_->poll(name); });
}

std::unique_ptr<PendingTensor> NcclCommunicator::start(const Exchange& exchange) {
  refuse_if_failed(exchange.name);
  std::unique_ptr<PendingTensor> pending;
  guarded(exchange.name, [&] {
    if (!on_gpu(exchange)) {
      pending = host_->start(exchange);
      return;
    }
    pending = std::make_unique<Pending>(*this, exchange, Collective(*this, exchange).give());
  });
  return pending;
}

at::Tensor NcclCommunicator::run(const Exchange& exchange) {
  if (on_gpu(exchange)) return start(exchange)->wait();
  refuse_if_failed(exchange.name);
  at::Tensor result;
  guarded(exchange.name, [&] { result = host_->run(exchange); });
  return result;
}

std::unique_ptr<Communicator> NcclCommunicator::split(const char* name, int color) {
  refuse_if_failed(name);
  std::unique_ptr<Communicator> host = host_->split(name, color);
  std::unique_ptr<NcclLink> link = host->size() > 1 ? link_->another() : nullptr;
  // The first rank of each new group shows its id here, so that the group's own collectives still
  // begin with number 1.
  const bool is_first = host->rank() == 0 && host->size() > 1;
  const NcclId own = is_first ? link->make_id() : NcclId{};
  const std::vector<NcclId> ids = gather_values(*host_, name, own);
  int first = 0;
  while (rank_in_run(first) != host->rank_in_run(0)) ++first;
  std::unique_ptr<Communicator> group(
      new NcclCommunicator(std::move(host), *this, std::move(link), ids[first]));
  // A rank that goes on and fails must not end the joining of the others.
  guarded(name, [&] { host_->barrier(name); });
  return group;
}

void NcclCommunicator::abort(const std::string& why) noexcept {
  host_->abort(why);
  fail("abort()");
}

}  // namespace micrec
