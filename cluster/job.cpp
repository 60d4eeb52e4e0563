#include "cluster/job.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/text.h"
#include "cluster/agreement.h"
#include "cluster/cores.h"
#include "cluster/device.h"
#include "cluster/health/failure.h"
#include "cluster/health/progress_board.h"
#include "cluster/health/verdict_link.h"
#include "cluster/health/watchdog.h"
#include "cluster/launch_environment.h"
#include "cluster/mpi_communicator.h"
#include "cluster/nccl_communicator.h"
#include "cluster/self_communicator.h"
#include "cluster/signals.h"

namespace micrec {
namespace {

constexpr double kGraceSeconds = 1;         // for the root cause to win over what followed from it
constexpr double kEndedByOtherSeconds = 5;  // for the rank to blame to end the others

void say(const JobOptions& options, const std::string& message) {
  std::cout.flush();
  google::FlushLogFiles(google::GLOG_INFO);
  const std::string line = text(options.program, ": ", message, "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);  // one call, so that lines of ranks do not mix
  std::fflush(stderr);
}

void sleep_seconds(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// The device of a rank, and a communicator that moves tensors on it as well as those in main
// memory: over NCCL for a GPU, the host's own for a CPU.
class JoinedDevice {
 public:
  // `host` outlives this; the ranks agree over `meeting`, a communicator of the same ranks, so that
  // host's first collective is the run's own. Ranks: collective over `meeting`.
  JoinedDevice(const JobOptions& options, HostCommunicator& host, Communicator& meeting)
      : host_(host) {
    // Whoever computes on the CPU need not wake the GPUs' driver.
    const VisibleGpus gpus = options.device == "cpu" ? VisibleGpus{} : find_gpus();
    choice_ = choose_device(options.device, gpus, read_launch_environment(), meeting);
    if (choice_.device.is_cpu()) return;
    use_device(choice_.device);
    // A rank alone has no NCCL.
    std::unique_ptr<NcclLink> link = host.size() > 1 ? make_nccl_link(choice_.device) : nullptr;
    const NcclId id = link ? NcclCommunicator::share_id(meeting, *link) : NcclId{};
    on_gpus_ = std::make_unique<NcclCommunicator>(host, choice_.device, std::move(link), id,
                                                  options.communicator);
    meeting.barrier("nccl.joined");
  }

  const DeviceChoice& choice() const { return choice_; }
  Communicator& communicator() {
    if (on_gpus_) return *on_gpus_;
    return host_;
  }
  // Null for a CPU.
  NcclCommunicator* on_gpus() { return on_gpus_.get(); }

 private:
  HostCommunicator& host_;
  DeviceChoice choice_;
  std::unique_ptr<NcclCommunicator> on_gpus_;
};

int run_body(JoinedDevice& joined, int threads, int ranks_of_machine,
             const std::function<int(Job&)>& body) {
  const auto& [device, note] = joined.choice();
  Job job(joined.communicator(), threads, device, ranks_of_machine);
  if (!note.empty()) {
    job.log_once() << (device.is_cpu() ? "computing on the CPU: " : "") << note << "\n";
  }
  at::set_num_threads(threads);
  int exit_code = 0;
  try {
    exit_code = body(job);
  } catch (const c10::AcceleratorError&) {
    throw;  // what the collectives met came of it
  } catch (...) {
    if (joined.on_gpus() != nullptr) joined.on_gpus()->throw_untold();
    throw;
  }
  if (joined.on_gpus() != nullptr) joined.on_gpus()->settle();
  return exit_code;
}

int run_alone(const JobOptions& options, const std::function<int(Job&)>& body) {
  try {
    SelfCommunicator world(options.communicator);
    JoinedDevice joined(options, world, world);
    return run_body(joined, choose_threads(options.threads, world, true, getppid()), 1, body);
  } catch (...) {
    const RankFailure failure = describe_exception(0, 1, nullptr);
    say(options, failure.message);
    return failure.exit_code;
  }
}

// Shared by the ranks of this machine; null, with a warning, where it cannot be made: a run can do
// without. Ranks: collective over the machine.
std::unique_ptr<ProgressBoard> make_board(Communicator& machine, int rank) {
  std::unique_ptr<ProgressBoard> board;
  std::optional<Failure> failure = attempt([&] {
    if (machine.rank() == 0) board = ProgressBoard::create(machine.size());
  });
  const std::string name = broadcast_text(machine, "job.board", board ? board->name() : "");
  if (!board && !name.empty()) failure = attempt([&] { board = ProgressBoard::open(name); });
  const bool has_failed = on_any_rank(machine, "job.board_open", !board);
  if (machine.rank() == 0 && board) board->remove_name();
  LOG_IF(WARNING, failure.has_value())
      << "a rank that hangs will not be named by the others: " << failure->message;
  if (has_failed) return nullptr;
  board->take_line(machine.rank(), rank);
  return board;
}

// Connects the watchdogs of the machines, one a machine, with that of rank 0. Ranks: collective.
void connect_watchdogs(Communicator& world, bool is_first_of_machine, WatchdogLink& watchdog) {
  constexpr double kConnectSeconds = 5;
  VerdictAddress address;
  if (world.rank() == 0) {
    const int socket = listen_for_verdicts(address);
    if (socket >= 0) watchdog.connect(socket, /*is_hub=*/true, address.token);
  }
  const std::string description = broadcast_text(world, "job.watchdogs", address.to_text());
  if (!is_first_of_machine || world.rank() == 0) return;
  address = VerdictAddress::from_text(description);
  const int socket = connect_for_verdicts(address, kConnectSeconds);
  if (socket >= 0) {
    watchdog.connect(socket, /*is_hub=*/false, address.token);
  } else {
    LOG(WARNING) << "this machine's watchdog cannot reach that of rank 0 at "
                 << join(address.addresses, ", ")
                 << "; when a rank dies the others may end only by --deadline";
  }
}

// Where ranks know of a hang but not whose: those that have not said even that, as the end of a
// sentence.
std::string unheard(const RankFailures& failures, int ranks) {
  std::vector<std::string> silent;
  for (int rank = 0; rank < ranks; ++rank) {
    if (!failures.contains(rank)) silent.push_back(text("rank ", rank));
  }
  if (silent.empty()) return "";
  constexpr std::size_t kMost = 4;
  const std::size_t more = silent.size() - std::min(kMost, silent.size());
  silent.resize(silent.size() - more);
  return text("; nothing was heard of ", join(silent, ", "),
              more > 0 ? text(" and ", more, " more") : "");
}

// Ends all ranks of a run in which this one has failed. The board may be null.
[[noreturn]] void die(const JobOptions& options, MpiCommunicator& world, ProgressBoard* board,
                      const RankFailure& failure) {
  if (board != nullptr) board->set_state(RankProgress::State::failing);
  world.announce(failure);
  const RankFailures failures = world.collect_failures(kGraceSeconds);
  const RankFailure& blame = blamed(failures);
  const bool by_all = static_cast<int>(failures.size()) == world.size() &&
                      std::ranges::all_of(failures, [&](const auto& other) {
                        return other.second.message == blame.message;
                      });
  if (blame.rank != world.rank()) sleep_seconds(kEndedByOtherSeconds);
  // Still alive: either this rank is to blame or the one that is could not end us.
  const std::string by = text("rank ", blame.rank, " of ", world.size());
  const bool needs_rank = !by_all && world.size() > 1 && !blame.message.starts_with("rank ") &&
                          !blame.message.starts_with("the ranks ");
  std::string message = needs_rank ? by + ": " + blame.message : blame.message;
  if (blame.standing == RankFailure::Standing::symptom) message += unheard(failures, world.size());
  const bool is_first =
      board == nullptr || board->give_verdict({world.rank(), blame.exit_code, message, 0});
  if (is_first) say(options, message);
  const std::optional<Verdict> other = is_first ? std::nullopt : board->verdict();
  MpiSession::end_all(other ? other->exit_code : blame.exit_code);
}

int run_under_mpi(const LaunchEnvironment& launch, const JobOptions& options,
                  WatchdogLink* watchdog, const std::function<int(Job&)>& body) {
  std::unique_ptr<MpiSession> session;
  std::unique_ptr<ProgressBoard> board;
  std::unique_ptr<MpiCommunicator> world;
  std::unique_ptr<JoinedDevice> joined;
  int exit_code = 0;
  try {
    session = std::make_unique<MpiSession>();
    if (session->size() == 1 && launch.size > 1) {
      throw Error(
          Cause::cluster, launch.size,
          " processes were started together, but each is alone in MPI: the launcher belongs to "
          "another MPI than the one this program was built with; use that one's mpirun");
    }
    int threads = 1;
    int ranks_of_machine = 1;
    bool is_first_of_machine = true;
    {
      const auto machine = MpiCommunicator::this_machine(options.communicator);
      ranks_of_machine = machine->size();
      is_first_of_machine = machine->rank() == 0;
      if (session->size() > 1) board = make_board(*machine, session->rank());
      if (watchdog != nullptr && board) watchdog->show(*board);
      threads = choose_threads(options.threads, *machine, session->rank() == 0,
                               watchdog != nullptr ? watchdog->launcher() : getppid());
    }
    world = MpiCommunicator::world(options.communicator);
    world->show_progress_on(board.get());
    if (watchdog != nullptr &&
        on_any_rank(*world, "job.machines", ranks_of_machine < world->size())) {
      connect_watchdogs(*world, is_first_of_machine, *watchdog);
    }
    joined = std::make_unique<JoinedDevice>(options, *world,
                                            *MpiCommunicator::world(options.communicator));
    exit_code = run_body(*joined, threads, ranks_of_machine, body);
    joined.reset();
    if (board) board->set_state(RankProgress::State::ended);
  } catch (...) {
    const RankFailure failure = describe_exception(launch.rank, launch.size, board.get());
    if (world) die(options, *world, board.get(), failure);
    // Every process fails the same way here, and the launcher's rank 0 speaks for all.
    if (launch.rank == 0) {
      say(options, failure.message);
    } else {
      sleep_seconds(kGraceSeconds);
    }
    if (session) MpiSession::end_all(failure.exit_code);
    return failure.exit_code;
  }
  try {
    world.reset();
    session->finish();
  } catch (...) {
    const RankFailure failure = describe_exception(launch.rank, launch.size, nullptr);
    say(options, failure.message);
    MpiSession::end_all(failure.exit_code);
  }
  return exit_code;
}

}  // namespace

JobOptions job_of(const std::string& command) {
  JobOptions job;
  job.program = "micrec " + command;
  job.device = "auto";
#ifndef NDEBUG
  job.communicator.check_collectives = true;
#endif
  return job;
}

Job::Job(Communicator& world, int threads, c10::Device device, int ranks_of_machine)
    : world_(world), threads_(threads), device_(device), ranks_of_machine_(ranks_of_machine) {}

bool Job::stop_requested() const { return stop_signal_received(); }

bool Job::agree_to_stop(const char* name) { return on_any_rank(world_, name, stop_requested()); }

std::ostream& Job::log_once() { return rank() == 0 ? std::cerr : nowhere_; }

int run_job(const JobOptions& options, const std::function<int(Job&)>& body) {
  // From before MPI starts until after it has ended: a wish that comes then must not kill the rank.
  const StopSignals signals(options.stop_signals);
  try {
    const LaunchEnvironment launch = read_launch_environment();
    const GpuFailureGuard guard(
        options.program, launch.size > 1 ? text("rank ", launch.rank, " of ", launch.size) : "");
    if (!launch.has_mpi) return run_alone(options, body);
    std::unique_ptr<WatchdogLink> watchdog;
    if (options.watchdog && launch.size > 1) {
      watchdog = fork_under_watchdog(
          {options.program, launch.rank, launch.size, options.communicator.deadline_seconds});
    }
    return run_under_mpi(launch, options, watchdog.get(), body);
  } catch (const Error& error) {  // before anything was joined
    say(options, error.what());
    return static_cast<int>(error.cause());
  }
}

}  // namespace micrec
