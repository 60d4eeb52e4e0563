#include "cluster/job.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <glog/logging.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <thread>

#include "base/path_error.h"
#include "base/text.h"
#include "cluster/health/gpu_failure.h"
#include "cluster/health/out_of_memory.h"
#include "cluster/health/progress_board.h"
#include "cluster/health/verdict_link.h"
#include "cluster/health/watchdog.h"
#include "cluster/joined_device.h"
#include "cluster/launch_environment.h"
#include "cluster/mpi_communicator.h"
#include "cluster/self_communicator.h"
#include "cluster/signals.h"

namespace micrec {
namespace {

constexpr int kExitUnexpected = 1;
constexpr double kGraceSeconds = 1;         // for the root cause to win over what followed from it
constexpr double kEndedByOtherSeconds = 5;  // for the rank to blame to end the others

// The exception in flight, as the other ranks and the user should hear of it. The board may be
// null.
RankFailure describe_exception(int rank, const ProgressBoard* board = nullptr, int ranks = 1) {
  RankFailure failure;
  failure.rank = rank;
  failure.exit_code = kExitUnexpected;
  try {
    throw;
  } catch (const PeerFailure& error) {
    failure.exit_code = static_cast<int>(error.cause());
    failure.standing = RankFailure::Standing::consequence;
    failure.message = error.what();
  } catch (const DeadlinePassed& error) {
    failure.exit_code = static_cast<int>(error.cause());
    const std::optional<Suspect> suspect =
        board == nullptr ? std::nullopt : find_suspect(*board, ranks);
    failure.standing = suspect ? RankFailure::Standing::witness : RankFailure::Standing::symptom;
    failure.message = text(suspect ? suspect->sentence + "; " : "", error.what(),
                           "; a longer --deadline helps only if a rank is slow, not stuck");
  } catch (const Error& error) {
    failure.exit_code = static_cast<int>(error.cause());
    if (error.cause() == Cause::cluster) failure.standing = RankFailure::Standing::symptom;
    failure.message = error.what();
  } catch (const std::filesystem::filesystem_error& error) {
    failure.exit_code = static_cast<int>(Cause::io);
    failure.message = path_error(error);
  } catch (const std::bad_alloc&) {
    failure.exit_code = static_cast<int>(Cause::cluster);
    failure.message = describe_host_out_of_memory("", ranks);
  } catch (const c10::OutOfMemoryError& error) {
    failure.exit_code = static_cast<int>(Cause::cluster);
    failure.message = describe_gpu_out_of_memory(error.what_without_backtrace(), ranks);
  } catch (const c10::Error& error) {
    if (const std::optional<std::string> of_gpu = describe_gpu_failure(error)) {
      failure.exit_code = static_cast<int>(Cause::cluster);
      failure.message = *of_gpu;
      return failure;
    }
    const std::string message = error.what_without_backtrace();
    const bool host_memory = message.find("can't allocate memory") != std::string::npos;
    if (host_memory) failure.exit_code = static_cast<int>(Cause::cluster);
    failure.message = host_memory ? describe_host_out_of_memory(message, ranks)
                                  : text("unexpected error in LibTorch: ", message);
  } catch (const std::exception& error) {
    failure.message = text("unexpected error: ", error.what());
  } catch (...) {
    failure.message = "unexpected exception without a description";
  }
  return failure;
}

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

std::vector<int> cores_of(const cpu_set_t& set) {
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

cpu_set_t allowed_cores(pid_t process) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(process, sizeof set, &set) != 0) {
    // More cores than the set can hold, or another user's process: count them as if unbound.
    const unsigned count = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned core = 0; core < std::min<unsigned>(count, CPU_SETSIZE); ++core) {
      CPU_SET(core, &set);
    }
  }
  return set;
}

int choose_threads(const JobOptions& options, Communicator& machine, bool is_first,
                   pid_t launcher_process) {
  const cpu_set_t own = allowed_cores(0);
  at::Tensor bytes = at::empty({1, static_cast<std::int64_t>(sizeof own)}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), &own, sizeof own);
  const at::Tensor all = machine.all_gather(
      "job.cores", bytes, std::vector<std::int64_t>(static_cast<std::size_t>(machine.size()), 1));
  std::vector<std::vector<int>> cores_of_ranks;
  cpu_set_t used;
  CPU_ZERO(&used);
  for (int q = 0; q < machine.size(); ++q) {
    cpu_set_t set;
    std::memcpy(&set, static_cast<const char*>(all.const_data_ptr()) + q * sizeof set, sizeof set);
    cores_of_ranks.push_back(cores_of(set));
    CPU_OR(&used, &used, &set);
  }
  if (options.threads > 0) return options.threads;
  if (const char* wanted = std::getenv("OMP_NUM_THREADS")) {
    const std::optional<std::int64_t> threads = parse_integer(wanted);
    if (threads && *threads >= 1 && *threads <= 4096) return static_cast<int>(*threads);
  }
  // mpirun itself stays unbound, so its cores are those that the ranks could have.
  const cpu_set_t launcher = allowed_cores(launcher_process);
  const bool by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  LOG_IF(WARNING, is_first && by_mpirun && 2 * CPU_COUNT(&used) <= CPU_COUNT(&launcher))
      << "mpirun has bound the " << machine.size() << " ranks of this machine to "
      << CPU_COUNT(&used) << " of its " << CPU_COUNT(&launcher)
      << " cores; with --bind-to none they use all";
  return share_of_cores(cores_of_ranks, machine.rank());
}

int run_body(Communicator& world, JoinedDevice& joined, int threads, int ranks_of_machine,
             const std::function<int(Job&)>& body) {
  if (world.rank() == 0 && !joined.note().empty()) {
    std::cerr << (joined.device().is_cpu() ? "computing on the CPU: " : "") << joined.note()
              << "\n";
  }
  at::set_num_threads(threads);
  Job job(joined.communicator(), threads, joined.device(), ranks_of_machine);
  int exit_code = 0;
  try {
    exit_code = body(job);
  } catch (const c10::AcceleratorError&) {
    throw;  // what the collectives met came of it
  } catch (...) {
    joined.throw_untold();
    throw;
  }
  joined.settle();
  return exit_code;
}

int run_alone(const JobOptions& options, const std::function<int(Job&)>& body) {
  try {
    SelfCommunicator world(options.communicator);
    JoinedDevice joined(options.device, options.communicator, world, world);
    return run_body(world, joined, choose_threads(options, world, true, getppid()), 1, body);
  } catch (...) {
    const RankFailure failure = describe_exception(0);
    say(options, failure.message);
    return failure.exit_code;
  }
}

// Shared by the ranks of this machine; null, with a warning, where it cannot be made: a run can do
// without. Ranks: collective over the machine.
std::unique_ptr<ProgressBoard> make_board(Communicator& machine, int rank) {
  constexpr std::int64_t kNameBytes = 64;
  std::unique_ptr<ProgressBoard> board;
  std::string why;
  at::Tensor name = at::zeros({kNameBytes}, at::kByte);
  char* const letters = reinterpret_cast<char*>(name.mutable_data_ptr<std::uint8_t>());
  try {
    if (machine.rank() == 0) {
      board = ProgressBoard::create(machine.size());
      CHECK_LT(board->name().size(), static_cast<std::size_t>(kNameBytes));
      std::memcpy(letters, board->name().data(), board->name().size());
    }
  } catch (const Error& error) {
    why = error.what();
  }
  machine.broadcast("job.board", name, 0);
  try {
    if (!board && *letters != '\0') board = ProgressBoard::open(letters);
  } catch (const Error& error) {
    why = error.what();
  }
  const bool has_failed = on_any_rank(machine, "job.board_open", !board);
  if (machine.rank() == 0 && board) board->remove_name();
  LOG_IF(WARNING, !why.empty()) << "a rank that hangs will not be named by the others: " << why;
  if (has_failed) return nullptr;
  board->take_line(machine.rank(), rank);
  return board;
}

// Connects the watchdogs of the machines, one a machine, with that of rank 0. Ranks: collective.
void connect_watchdogs(Communicator& world, bool is_first_of_machine, WatchdogLink& watchdog) {
  constexpr std::int64_t kAddressBytes = 512;
  constexpr double kConnectSeconds = 5;
  at::Tensor bytes = at::zeros({kAddressBytes}, at::kByte);
  char* const letters = reinterpret_cast<char*>(bytes.mutable_data_ptr<std::uint8_t>());
  VerdictAddress address;
  if (world.rank() == 0) {
    const int socket = listen_for_verdicts(address);
    const std::string description = address.to_text();
    CHECK_LT(description.size(), static_cast<std::size_t>(kAddressBytes));
    std::memcpy(letters, description.data(), description.size());
    if (socket >= 0) watchdog.connect(socket, /*is_hub=*/true, address.token);
  }
  world.broadcast("job.watchdogs", bytes, 0);
  if (!is_first_of_machine || world.rank() == 0) return;
  address = VerdictAddress::from_text(letters);
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
std::string unheard(const std::vector<RankFailure>& failures, int ranks) {
  std::vector<std::string> silent;
  for (int rank = 0; rank < ranks; ++rank) {
    const bool is_heard = std::any_of(failures.begin(), failures.end(),
                                      [&](const auto& failure) { return failure.rank == rank; });
    if (!is_heard) silent.push_back(text("rank ", rank));
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
  const std::vector<RankFailure> failures = world.collect_failures(kGraceSeconds);
  const auto blame =
      std::min_element(failures.begin(), failures.end(), [](const auto& a, const auto& b) {
        return a.standing != b.standing ? a.standing < b.standing : a.rank < b.rank;
      });
  const bool by_all = static_cast<int>(failures.size()) == world.size() &&
                      std::all_of(failures.begin(), failures.end(), [&](const RankFailure& other) {
                        return other.message == blame->message;
                      });
  if (blame->rank != world.rank()) sleep_seconds(kEndedByOtherSeconds);
  // Still alive: either this rank is to blame or the one that is could not end us.
  const std::string by = text("rank ", blame->rank, " of ", world.size());
  const bool needs_rank = !by_all && world.size() > 1 && !blame->message.starts_with("rank ") &&
                          !blame->message.starts_with("the ranks ");
  std::string message = needs_rank ? by + ": " + blame->message : blame->message;
  if (blame->standing == RankFailure::Standing::symptom) message += unheard(failures, world.size());
  const bool is_first =
      board == nullptr || board->give_verdict({world.rank(), blame->exit_code, message, 0});
  if (is_first) say(options, message);
  const std::optional<Verdict> other = is_first ? std::nullopt : board->verdict();
  MpiSession::end_all(other ? other->exit_code : blame->exit_code);
}

int run_under_mpi(int argc, char** argv, const LaunchEnvironment& launch, const JobOptions& options,
                  WatchdogLink* watchdog, const std::function<int(Job&)>& body) {
  std::unique_ptr<MpiSession> session;
  std::unique_ptr<ProgressBoard> board;
  std::unique_ptr<MpiCommunicator> world;
  std::unique_ptr<JoinedDevice>
      joined;  // after a failure not given up: a broken GPU may not let go
  int exit_code = 0;
  try {
    session = std::make_unique<MpiSession>(argc, argv);
    if (session->size() == 1 && launch.size > 1) {
      throw Error(Cause::cluster,
                  text(launch.size,
                       " processes were started together, but each is alone in MPI: "
                       "the launcher belongs to another MPI than the one this "
                       "program was built with; use that one's mpirun"));
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
      threads = choose_threads(options, *machine, session->rank() == 0,
                               watchdog != nullptr ? watchdog->launcher() : getppid());
    }
    world = MpiCommunicator::world(options.communicator);
    world->show_progress_on(board.get());
    if (watchdog != nullptr &&
        on_any_rank(*world, "job.machines", ranks_of_machine < world->size())) {
      connect_watchdogs(*world, is_first_of_machine, *watchdog);
    }
    joined = std::make_unique<JoinedDevice>(options.device, options.communicator, *world,
                                            *MpiCommunicator::world(options.communicator));
    exit_code = run_body(*world, *joined, threads, ranks_of_machine, body);
    joined.reset();
    if (board) board->set_state(RankProgress::State::ended);
  } catch (...) {
    const RankFailure failure = describe_exception(launch.rank, board.get(), launch.size);
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
    const RankFailure failure = describe_exception(launch.rank);
    say(options, failure.message);
    MpiSession::end_all(failure.exit_code);
  }
  return exit_code;
}

}  // namespace

Job::Job(Communicator& world, int threads, c10::Device device, int ranks_of_machine)
    : world_(world), threads_(threads), device_(device), ranks_of_machine_(ranks_of_machine) {
  CHECK_GE(threads, 1);
}

bool Job::stop_requested() const { return stop_signal_received(); }

bool Job::agree_to_stop(const char* name) { return micrec::agree_to_stop(world_, name); }

std::ostream& Job::log_once() { return rank() == 0 ? std::cerr : nowhere_; }

int run_job(int argc, char** argv, const JobOptions& options,
            const std::function<int(Job&)>& body) {
  // From before MPI starts until after it has ended: a wish that comes then must not kill the rank.
  const StopSignals signals(options.stop_signals);
  LaunchEnvironment launch;
  try {
    launch = read_launch_environment();
  } catch (const Error& error) {
    say(options, error.what());
    return static_cast<int>(error.cause());
  }
  const GpuFailureGuard guard(
      options.program, launch.size > 1 ? text("rank ", launch.rank, " of ", launch.size) : "");
  if (!launch.has_mpi) return run_alone(options, body);
  std::unique_ptr<WatchdogLink> watchdog;
  if (options.watchdog && launch.size > 1) {
    try {
      watchdog = fork_under_watchdog(
          {options.program, launch.rank, launch.size, options.communicator.deadline_seconds});
    } catch (const Error& error) {
      say(options, error.what());
      return static_cast<int>(error.cause());
    }
  }
  return run_under_mpi(argc, argv, launch, options, watchdog.get(), body);
}

int share_of_cores(const std::vector<std::vector<int>>& cores_of_ranks, int own) {
  const std::vector<int>& mine = cores_of_ranks.at(static_cast<std::size_t>(own));
  const auto shares = std::count_if(
      cores_of_ranks.begin(), cores_of_ranks.end(), [&](const std::vector<int>& others) {
        return std::find_first_of(mine.begin(), mine.end(), others.begin(), others.end()) !=
               mine.end();
      });
  return std::max(1, static_cast<int>(static_cast<std::int64_t>(mine.size()) /
                                      std::max<std::int64_t>(1, shares)));
}

}  // namespace micrec
