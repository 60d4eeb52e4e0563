#include "cluster/mpi_communicator.h"

#include <glog/logging.h>
#include <sched.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "base/text.h"
#include "base/timer.h"

// The C interface alone; the C++ bindings are long gone from the standard.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

namespace micrec {
namespace {

constexpr int kCheckTag = 1;
constexpr int kFirstDataTag = 2;
constexpr std::uint64_t kDataTags = 32'000;  // MPI promises tags up to 32,767
constexpr int kNoticeTag = 0;
constexpr std::size_t kNoticeBytes = 3 * 1024;  // short enough to leave without the receiver's help

std::string describe_mpi_error(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> description{};
  int length = 0;
  if (MPI_Error_string(code, description.data(), &length) != MPI_SUCCESS) {
    return text("error ", code);
  }
  return std::string(description.data(), static_cast<std::size_t>(length));
}

void check_mpi(int code, const std::string& where) {
  if (code == MPI_SUCCESS) return;
  throw Error(Cause::cluster, "MPI failed in ", where, ": ", describe_mpi_error(code));
}

// Ranks that are in different collectives have, all but certainly, different tags: their messages
// do not meet, and the deadline tells, instead of one's data ending up in the other. Two ranks that
// share several groups pass through their collectives in one order, so even there an equal tag
// would mix nothing up.
int tag_of(const Messages& messages, std::uint64_t group_key) {
  if (messages.of_check) return kCheckTag;
  std::uint64_t hash = 0xcbf29ce484222325U ^ messages.number ^ group_key;  // FNV-1a
  for (const char* c = messages.name; *c != '\0'; ++c) {
    hash = (hash ^ static_cast<unsigned char>(*c)) * 0x100000001b3U;
  }
  return kFirstDataTag + static_cast<int>((hash >> 20) % kDataTags);
}

// First yields the core, then sleeps, longer the longer nothing happens.
class Patience {
 public:
  void reset() { idle_.restart(); }
  void wait() const {
    const double idle_seconds = idle_.seconds();
    if (idle_seconds < 1e-3) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(idle_seconds < 20e-3 ? 50 : 500));
    }
  }

 private:
  Timer idle_;
};

// Seconds of waiting, looked at all the time; those in which the process was stopped, as a batch
// system does to let another job go first, count as one.
class WaitedTime {
 public:
  double seconds() {
    seconds_ += std::min(tick_.seconds(), 1.0);
    tick_.restart();
    return seconds_;
  }

 private:
  Timer tick_;
  double seconds_ = 0;
};

// Open MPI reads the memory of its neighbours directly, which many containers forbid; it would stop
// at the first long message instead of copying through shared memory.
void avoid_forbidden_memory_reads() {
  int from = 0;
  int to = 0;
  const iovec local = {&to, sizeof to};
  const iovec remote = {&from, sizeof from};
  if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == sizeof from) return;
  for (const char* name :
       {"OMPI_MCA_btl_vader_single_copy_mechanism", "OMPI_MCA_btl_sm_single_copy_mechanism"}) {
    setenv(name, "none", /*overwrite=*/0);
  }
}

// Keeps what MPI may still read or write when its owner goes.
void keep_for_ever(std::shared_ptr<void> memory) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::shared_ptr<void>>;  // also after the end of main
  const std::lock_guard<std::mutex> lock(mutex);
  kept.push_back(std::move(memory));
}

struct Notice {
  std::int32_t exit_code;
  std::int32_t standing;
  std::array<char, kNoticeBytes> message;
};

}  // namespace

MpiSession::MpiSession() {
  avoid_forbidden_memory_reads();
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  if (provided < MPI_THREAD_SERIALIZED) {
    throw Error(Cause::cluster,
                "this MPI was built without thread support (MPI_THREAD_SERIALIZED is needed); use "
                "one that has it, as the packages of Debian and Ubuntu do");
  }
}

void MpiSession::finish() { check_mpi(MPI_Finalize(), "MPI_Finalize"); }

void MpiSession::end_all(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);  // MPI_Abort may return where the launcher is already gone
}

// Ranks here are those of the run.
struct MpiCommunicator::State {
  int rank = 0;
  int size = 1;
  MPI_Comm data = MPI_COMM_NULL;
  MPI_Comm notices = MPI_COMM_NULL;
  std::int64_t most_message_bytes = kMostMessageBytes;
  bool failed = false;  // an exchange of any group did

  Notice notice{};  // this rank's, while it travels
  std::vector<MPI_Request> notices_sent;
  RankFailures failures;

  void receive_notices() {
    while (true) {
      int found = 0;
      MPI_Status status;
      if (MPI_Iprobe(MPI_ANY_SOURCE, kNoticeTag, notices, &found, &status) != MPI_SUCCESS) return;
      if (found == 0) return;
      Notice received{};
      if (MPI_Recv(&received, sizeof received, MPI_BYTE, status.MPI_SOURCE, kNoticeTag, notices,
                   MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        return;
      }
      received.message.back() = '\0';
      failures[status.MPI_SOURCE] = {status.MPI_SOURCE, received.exit_code,
                                     static_cast<RankFailure::Standing>(received.standing),
                                     received.message.data()};
    }
  }
};

struct MpiCommunicator::Requests final : Transfer {
  struct Piece {
    int peer;  // its rank in the run
    int bytes;
    bool is_receive;
  };

  using Transfer::Transfer;

  std::vector<MPI_Request> requests;
  std::vector<Piece> pieces;  // of each request
  std::vector<int> finished;  // scratch of MPI_Testsome, as the next
  std::vector<MPI_Status> statuses;
  std::size_t open = 0;  // requests
};

MpiCommunicator::MpiCommunicator(std::shared_ptr<State> state, Membership membership,
                                 const CommunicatorOptions& options)
    : HostCommunicator(std::move(membership), options), state_(std::move(state)) {}

std::unique_ptr<MpiCommunicator> MpiCommunicator::over(std::shared_ptr<State> state,
                                                       const CommunicatorOptions& options) {
  check_mpi(MPI_Comm_rank(state->data, &state->rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(state->data, &state->size), "MPI_Comm_size");
  Membership all = Membership::whole_run(state->rank, state->size);
  return std::unique_ptr<MpiCommunicator>(
      new MpiCommunicator(std::move(state), std::move(all), options));
}

std::unique_ptr<Communicator> MpiCommunicator::make_subgroup(Membership membership) {
  return std::unique_ptr<Communicator>(
      new MpiCommunicator(state_, std::move(membership), options()));
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::world(const CommunicatorOptions& options,
                                                        std::int64_t most_message_bytes) {
  CHECK_GE(most_message_bytes, 1);
  CHECK_LE(most_message_bytes, kMostMessageBytes);
  auto state = std::make_shared<State>();
  state->most_message_bytes = most_message_bytes;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &state->data), "MPI_Comm_dup");
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &state->notices), "MPI_Comm_dup");
  return over(std::move(state), options);
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::this_machine(const CommunicatorOptions& options) {
  auto state = std::make_shared<State>();
  check_mpi(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &state->data),
      "MPI_Comm_split_type");
  check_mpi(MPI_Comm_dup(state->data, &state->notices), "MPI_Comm_dup");
  return over(std::move(state), options);
}

MpiCommunicator::~MpiCommunicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) return;
  const bool of_whole_run = membership().group == nullptr;
  state_->failed = state_->failed || has_failed();
  if (!state_->failed && state_->notices_sent.empty()) {
    if (!of_whole_run) return;
    MPI_Comm_free(&state_->data);
    MPI_Comm_free(&state_->notices);
    return;
  }
  // After a failure the ranks no longer act together, so nothing collective may be called, and
  // what MPI may still read or write must outlive this object.
  const bool settled = settle_in_flight();
  if (!settled) {
    keep_for_ever(std::make_shared<std::vector<std::unique_ptr<Transfer>>>(std::move(in_flight())));
  }
  if (of_whole_run && (!settled || !state_->notices_sent.empty())) keep_for_ever(state_);
}

// Cancels what can be; true if MPI no longer touches the buffers.
bool MpiCommunicator::settle_in_flight() noexcept {
  std::vector<MPI_Request> requests;
  for (const std::unique_ptr<Transfer>& transfer : in_flight()) {
    for (const MPI_Request request : static_cast<Requests&>(*transfer).requests) {
      if (request != MPI_REQUEST_NULL) requests.push_back(request);
    }
  }
  for (MPI_Request& request : requests) MPI_Cancel(&request);
  const Timer timer;
  Patience patience;
  while (timer.seconds() < 0.2) {
    int done = 0;
    if (MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done,
                    MPI_STATUSES_IGNORE) != MPI_SUCCESS) {
      return false;
    }
    if (done != 0) return true;
    patience.wait();
  }
  return false;
}

void MpiCommunicator::abort(const std::string& why) noexcept {
  RankFailure failure;
  failure.rank = state_->rank;
  failure.exit_code = static_cast<int>(Cause::cluster);
  failure.message = why;
  announce(failure);
}

void MpiCommunicator::announce(const RankFailure& failure) noexcept {
  if (!state_->notices_sent.empty() || state_->failures.count(state_->rank) > 0) return;
  state_->failures[state_->rank] = failure;
  Notice& notice = state_->notice;
  notice.exit_code = failure.exit_code;
  notice.standing = static_cast<std::int32_t>(failure.standing);
  std::memcpy(notice.message.data(), failure.message.data(),
              std::min(failure.message.size(), kNoticeBytes - 1));
  for (int q = 0; q < state_->size; ++q) {
    if (q == state_->rank) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(&notice, sizeof notice, MPI_BYTE, q, kNoticeTag, state_->notices, &request);
    state_->notices_sent.push_back(request);
  }
}

RankFailures MpiCommunicator::collect_failures(double seconds) noexcept {
  const Timer timer;
  Patience patience;
  while (true) {
    state_->receive_notices();
    int sent = 1;
    if (!state_->notices_sent.empty()) {
      MPI_Testall(static_cast<int>(state_->notices_sent.size()), state_->notices_sent.data(), &sent,
                  MPI_STATUSES_IGNORE);
    }
    if (static_cast<int>(state_->failures.size()) == state_->size && sent != 0) break;
    if (timer.seconds() > seconds) break;
    patience.wait();
  }
  return state_->failures;
}

void MpiCommunicator::listen(const std::function<std::string()>& where) {
  state_->receive_notices();
  if (state_->failures.empty()) return;
  const RankFailure& failure = blamed(state_->failures);
  throw PeerFailure(this_rank(), where(), failure.rank, failure.message);
}

std::unique_ptr<Transfer> MpiCommunicator::post(Messages posted) {
  auto transfer = std::make_unique<Requests>(std::move(posted));
  const Messages& messages = transfer->messages;
  const int tag = tag_of(messages, membership().key);
  const auto in_pieces = [&](std::int64_t bytes, const auto& post_piece) {
    for (std::int64_t begin = 0; begin < bytes; begin += state_->most_message_bytes) {
      const auto piece = static_cast<int>(std::min(bytes - begin, state_->most_message_bytes));
      MPI_Request request = MPI_REQUEST_NULL;
      const int code = post_piece(begin, piece, &request);
      transfer->requests.push_back(request);
      check_mpi(code, place(messages));
    }
  };
  try {
    // Each rank begins with its successor, so that not all send to rank 0 first.
    for (int step = 1; step < size(); ++step) {
      const int from = (rank() + size() - step) % size();
      const int peer = rank_in_run(from);
      in_pieces(messages.receive_bytes[from],
                [&](std::int64_t begin, int bytes, MPI_Request* request) {
                  transfer->pieces.push_back({peer, bytes, true});
                  return MPI_Irecv(messages.receive[from] + begin, bytes, MPI_BYTE, peer, tag,
                                   state_->data, request);
                });
    }
    for (int step = 1; step < size(); ++step) {
      const int to = (rank() + step) % size();
      const int peer = rank_in_run(to);
      in_pieces(messages.send_bytes[to], [&](std::int64_t begin, int bytes, MPI_Request* request) {
        transfer->pieces.push_back({peer, bytes, false});
        return MPI_Isend(messages.send[to] + begin, bytes, MPI_BYTE, peer, tag, state_->data,
                         request);
      });
    }
  } catch (...) {
    in_flight().push_back(std::move(transfer));  // for what was posted already
    throw;
  }
  transfer->open = transfer->requests.size();
  transfer->finished.resize(transfer->open);
  transfer->statuses.resize(transfer->open);
  return transfer;
}

bool MpiCommunicator::test(Requests& transfer) {
  if (transfer.open == 0) return false;
  int count = 0;
  const int code =
      MPI_Testsome(static_cast<int>(transfer.requests.size()), transfer.requests.data(), &count,
                   transfer.finished.data(), transfer.statuses.data());
  if (code != MPI_ERR_IN_STATUS && code != MPI_SUCCESS) check_mpi(code, place(transfer.messages));
  for (int i = 0; i < count; ++i) {
    const Requests::Piece& piece = transfer.pieces[transfer.finished[i]];
    MPI_Status& status = transfer.statuses[i];
    int received = piece.bytes;
    if (code == MPI_ERR_IN_STATUS && status.MPI_ERROR != MPI_SUCCESS) {
      int error_class = MPI_ERR_OTHER;
      MPI_Error_class(status.MPI_ERROR, &error_class);
      if (!piece.is_receive || error_class != MPI_ERR_TRUNCATE) {
        check_mpi(status.MPI_ERROR, place(transfer.messages));
      }
      throw Error(Cause::cluster, this_rank(), " expects ", piece.bytes, " bytes of rank ",
                  piece.peer, " in ", place(transfer.messages), ", which sends more");
    }
    if (piece.is_receive) {
      const int counted = MPI_Get_count(&status, MPI_BYTE, &received);
      if (counted != MPI_SUCCESS) check_mpi(counted, place(transfer.messages));
    }
    if (received != piece.bytes) {
      throw Error(Cause::cluster, this_rank(), " expects ", piece.bytes, " bytes of rank ",
                  piece.peer, " in ", place(transfer.messages), ", which sends ", received);
    }
  }
  transfer.open -= static_cast<std::size_t>(count);
  return count > 0;
}

void MpiCommunicator::advance(std::vector<std::unique_ptr<Transfer>>& transfers) {
  for (const std::unique_ptr<Transfer>& each : transfers) {
    auto& transfer = static_cast<Requests&>(*each);
    if (transfer.is_over) continue;
    test(transfer);
    if (transfer.open > 0) continue;
    transfer.is_over = true;
    transfer.over_at = Transfer::Clock::now();
  }
}

void MpiCommunicator::finish(Transfer& transfer) {
  auto& requests = static_cast<Requests&>(transfer);
  WaitedTime waited;
  Patience patience;
  while (requests.open > 0) {
    if (test(requests)) {
      patience.reset();
      continue;
    }
    listen([&] { return place(transfer.messages); });
    if (waited.seconds() > options().deadline_seconds) {
      throw DeadlinePassed(text(this_rank(), " waited ", options().deadline_seconds, " s in ",
                                place(transfer.messages), ", ", join(missing_in(requests), ", ")));
    }
    patience.wait();
  }
  if (transfer.is_over) return;
  transfer.is_over = true;
  transfer.over_at = Transfer::Clock::now();
}

std::vector<std::string> MpiCommunicator::missing_in(const Requests& transfer) const {
  std::vector<std::string> missing;
  for (const int q : membership().ranks_in_run) {
    bool nothing_from = false;
    bool nothing_taken = false;
    for (std::size_t i = 0; i < transfer.pieces.size(); ++i) {
      if (transfer.pieces[i].peer != q || transfer.requests[i] == MPI_REQUEST_NULL) continue;
      (transfer.pieces[i].is_receive ? nothing_from : nothing_taken) = true;
    }
    if (nothing_from) {
      missing.push_back(text("no message from rank ", q));
    } else if (nothing_taken) {
      missing.push_back(text("rank ", q, " takes none"));
    }
  }
  return missing;
}

}  // namespace micrec
