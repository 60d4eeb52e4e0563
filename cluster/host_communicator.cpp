#include "cluster/host_communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "base/text.h"
#include "cluster/health/progress_board.h"

namespace micrec {
namespace {

double seconds_between(Transfer::Clock::time_point begin, Transfer::Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// What one rank tells another about the collective it is in, in the checked mode, as it travels.
struct Handshake {
  std::array<char, 64> name{};
  std::array<char, 64> group{};  // empty: the whole run
  std::uint64_t number = 0;
  CollectiveKind kind = CollectiveKind::barrier;
  std::int32_t dtype = -1;  // -1 where the kind has no such thing, as the next two
  std::int32_t reduction = -1;
  std::int32_t root = -1;
  std::int64_t row_bytes = 0;
  std::int64_t rows_to_you = 0;    // from the sender to the receiver
  std::int64_t rows_from_you = 0;  // that the sender expects of the receiver

  Handshake() = default;
  /// To rank `to` of the group; `its_group` may be null.
  Handshake(const Exchange& exchange, std::uint64_t its_number, const char* its_group, int to)
      : number(its_number),
        kind(exchange.kind),
        root(exchange.root),
        rows_to_you(exchange.sent.rows[to]),
        rows_from_you(exchange.received.rows[to]) {
    std::strncpy(name.data(), exchange.name, name.size() - 1);
    if (its_group != nullptr) std::strncpy(group.data(), its_group, group.size() - 1);
    if (kind != CollectiveKind::barrier) {
      dtype = static_cast<std::int32_t>(exchange.given.scalar_type());
      row_bytes = exchange.row_bytes;
    }
    if (kind == CollectiveKind::all_reduce) {
      reduction = static_cast<std::int32_t>(exchange.reduction);
    }
  }
};

constexpr std::array<const char*, 5> kKinds = {"barrier", "all_gather", "all_to_all", "all_reduce",
                                               "broadcast"};
constexpr std::array<const char*, 3> kReductions = {"sum", "min", "max"};

std::string describe(const Handshake& one) {
  std::string description = text(kKinds.at(static_cast<std::size_t>(one.kind)), " ",
                                 place_of(one.name.data(), one.number, one.group.data()));
  if (one.dtype >= 0) {
    description += text(" of ", c10::toString(static_cast<at::ScalarType>(one.dtype)), ", ",
                        one.row_bytes, " bytes a row");
  }
  if (one.reduction >= 0) description += text(", ", kReductions.at(one.reduction));
  if (one.root >= 0) description += text(", root ", one.root);
  return description;
}

/// The sentence about two ranks that are not in the same, named by their numbers in the run: what
/// the first told the second and the second the first; empty where they agree.
std::string disagreement(const Handshake& own, int own_rank, const Handshake& other,
                         int other_rank) {
  if (own.name != other.name || own.group != other.group || own.number != other.number ||
      own.kind != other.kind || own.dtype != other.dtype || own.reduction != other.reduction ||
      own.root != other.root || own.row_bytes != other.row_bytes) {
    return text("rank ", own_rank, " is in ", describe(own), " while rank ", other_rank, " is in ",
                describe(other));
  }
  if (own.rows_from_you != other.rows_to_you) {
    return text("in ", describe(own), " rank ", own_rank, " expects ", own.rows_from_you,
                " rows of rank ", other_rank, ", which sends ", other.rows_to_you);
  }
  if (own.rows_to_you != other.rows_from_you) {
    return text("in ", describe(own), " rank ", own_rank, " sends ", own.rows_to_you,
                " rows to rank ", other_rank, ", which expects ", other.rows_from_you);
  }
  return "";
}

}  // namespace

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

std::string HostCommunicator::place(const char* name, std::uint64_t number) const {
  return place_of(name, number, membership_.group);
}

std::string HostCommunicator::place(const Messages& messages) {
  return place_of(messages.name, messages.number, messages.group);
}

std::unique_ptr<Communicator> HostCommunicator::split(const char* name, int color) {
  const std::vector<int> colors = gather_values(*this, name, color);
  Membership group;
  group.group = name;
  group.run_size = membership_.run_size;
  group.progress = membership_.progress;
  group.ledger = membership_.ledger;
  const auto first = static_cast<int>(std::ranges::find(colors, color) - colors.begin());
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

void HostCommunicator::refuse(const std::string& what) const {
  throw Error(Cause::cluster, this_rank(), " cannot ", what,
              ": the communicator failed earlier, in ", failed_in_);
}

void HostCommunicator::poll(const char* name) {
  if (has_failed()) refuse(text("go on in '", name, "'"));
  try {
    advance(in_flight_);
  } catch (...) {
    failed_in_ = text("'", name, "' (after collective ", number_, ")");
    throw;
  }
  listen([&] { return text("'", name, "' (after collective ", number_, ")"); });
}

// The first round has been posted; wait() does what is left.
class HostCommunicator::Pending final : public PendingTensor {
 public:
  Pending(HostCommunicator& communicator, const Exchange& exchange, Rounds rounds)
      : communicator_(communicator),
        exchange_(exchange),
        rounds_(std::move(rounds)),
        first_(communicator.launch(std::move(rounds_.first))),
        started_(Transfer::Clock::now()) {}

  ~Pending() override {
    if (first_ != nullptr && !communicator_.has_failed()) {
      communicator_.failed_in_ = place(first_->messages) + ", which nobody waited for";
    }
  }

  at::Tensor wait() override {
    CHECK(first_ != nullptr) << "the result was waited for before";
    const auto came = Transfer::Clock::now();
    if (communicator_.has_failed()) communicator_.refuse(text("finish ", place(first_->messages)));
    const auto over_at = communicator_.complete(*first_);
    first_ = nullptr;
    const double hidden = std::max(0.0, seconds_between(started_, std::min(came, over_at)));
    communicator_.ledger().record(exchange_.name, {.hidden_seconds = hidden});
    reduce_over_ranks(exchange_, rounds_);
    if (rounds_.second) {
      communicator_.complete(*communicator_.launch(std::move(*rounds_.second)));
    }
    return std::move(exchange_.result);
  }

 private:
  HostCommunicator& communicator_;
  Exchange exchange_;
  Rounds rounds_;
  Transfer* first_;  // null once it is over
  Transfer::Clock::time_point started_;
};

std::unique_ptr<PendingTensor> HostCommunicator::start(const Exchange& exchange) {
  begin(exchange);
  if (size_ == 1) {
    exchange_alone(exchange);
    return finished(exchange.result);
  }
  Rounds rounds = rounds_of(exchange, rank_, kOneRoundBytes);
  return std::make_unique<Pending>(*this, exchange, std::move(rounds));
}

// Posts what goes to other ranks and copies what stays on this one.
Transfer* HostCommunicator::launch(Messages messages) {
  messages.number = number_;
  messages.group = membership_.group;
  std::int64_t& own_bytes = messages.send_bytes[rank_];
  CHECK_EQ(own_bytes, messages.receive_bytes[rank_]) << messages.name;
  if (own_bytes > 0 && messages.receive[rank_] != messages.send[rank_]) {
    std::memcpy(messages.receive[rank_], messages.send[rank_], static_cast<std::size_t>(own_bytes));
  }
  own_bytes = messages.receive_bytes[rank_] = 0;
  LedgerEntry entry{.bytes_sent = total(messages.send_bytes),
                    .bytes_received = total(messages.receive_bytes)};
  const char* const name = messages.name;
  const auto began = Transfer::Clock::now();
  try {
    in_flight_.push_back(post(std::move(messages)));
  } catch (...) {
    failed_in_ = place(name, number_);
    throw;
  }
  entry.waited_seconds = seconds_between(began, Transfer::Clock::now());
  ledger().record(name, entry);
  return in_flight_.back().get();
}

// Returns when it was over.
Transfer::Clock::time_point HostCommunicator::complete(Transfer& transfer) {
  ProgressBoard* const board = membership_.progress;
  const Messages& messages = transfer.messages;
  const auto began = Transfer::Clock::now();
  // Not left after a failure: what a rank was in when it failed stays visible.
  if (board != nullptr) board->enter(messages.name, messages.number, messages.group);
  try {
    finish(transfer);
    if (board != nullptr) board->leave();
  } catch (...) {
    failed_in_ = place(messages);
    throw;
  }
  ledger().record(messages.name,
                  {.waited_seconds = seconds_between(began, Transfer::Clock::now())});
  const Transfer::Clock::time_point over_at = transfer.over_at;
  std::erase_if(in_flight_, [&](const auto& known) { return known.get() == &transfer; });
  return over_at;
}

void HostCommunicator::begin(const Exchange& exchange) {
  ++number_;
  ledger().record(exchange.name, {.calls = 1});
  if (has_failed()) refuse(text("begin ", place(exchange.name, number_)));
  if (options_.check_collectives && size_ > 1) check(exchange);
}

// Row q of `mine` goes to rank q; returns the rows that came. For the checked mode.
at::Tensor HostCommunicator::trade_rows(const char* name, const at::Tensor& mine) {
  const at::Tensor theirs = at::empty(mine.sizes(), mine.options());
  const Runs one_each = Runs::consecutive(std::vector<std::int64_t>(mine.size(0), 1));
  Messages messages =
      messages_between(name, mine, one_each, theirs, one_each, row_bytes_of(name, mine));
  messages.of_check = true;
  complete(*launch(std::move(messages)));
  return theirs;
}

void HostCommunicator::check(const Exchange& exchange) {
  constexpr auto kHandshakeBytes = static_cast<std::int64_t>(sizeof(Handshake));
  const at::Tensor mine = at::zeros({size_, kHandshakeBytes}, at::kByte);
  for (int q = 0; q < size_; ++q) {
    const Handshake to(exchange, number_, membership_.group, q);
    std::memcpy(writable_bytes_of(mine) + q * kHandshakeBytes, &to, sizeof to);
  }
  const at::Tensor theirs = trade_rows(exchange.name, mine);
  std::string mismatch;
  for (int q = 0; q < size_ && mismatch.empty(); ++q) {
    Handshake own;
    Handshake other;
    std::memcpy(&own, bytes_of(mine) + q * kHandshakeBytes, sizeof own);
    std::memcpy(&other, bytes_of(theirs) + q * kHandshakeBytes, sizeof other);
    mismatch = disagreement(own, rank_in_run(rank_), other, rank_in_run(q));
  }

  // Ranks whose own pairs agree must end too, and with the same sentence: the lowest rank's.
  constexpr std::int64_t kTextBytes = 512;
  const at::Tensor own_text = at::zeros({size_, kTextBytes}, at::kByte);
  mismatch.resize(std::min<std::size_t>(mismatch.size(), kTextBytes - 1));
  for (int q = 0; q < size_; ++q) {
    std::memcpy(writable_bytes_of(own_text) + q * kTextBytes, mismatch.data(), mismatch.size());
  }
  const at::Tensor texts = trade_rows(exchange.name, own_text);
  for (int q = 0; q < size_; ++q) {
    const std::string verdict(reinterpret_cast<const char*>(bytes_of(texts) + q * kTextBytes));
    if (verdict.empty()) continue;
    failed_in_ = place(exchange.name, number_);
    throw Error(Cause::cluster, "the ranks disagree: ", verdict);
  }
}

std::uint64_t HostCommunicator::begin_beside(const Exchange& exchange) {
  begin(exchange);
  note_begun(exchange.name, number_);
  ProgressBoard* const board = membership_.progress;
  return board == nullptr ? 0 : board->begin(exchange.name, number_, membership_.group);
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
  return std::make_exception_ptr(PeerFailure(this_rank(), where, verdict->rank, verdict->message));
}

std::string HostCommunicator::behind_in(std::uint64_t /*number*/) const {
  if (membership_.progress == nullptr) return "";
  using State = RankProgress::State;
  const std::vector<int>& members = membership_.ranks_in_run;
  std::vector<std::string> behind;
  for (const RankProgress& other : membership_.progress->read_all()) {
    const bool is_member = std::ranges::find(members, other.rank) != members.end();
    const bool waits = other.state == State::waiting || other.state == State::failing;
    if (!is_member || waits || other.rank == rank_in_run(rank_)) continue;
    behind.push_back(text("rank ", other.rank, ", ", other.describe()));
  }
  return join(behind, "; ");
}

}  // namespace micrec
