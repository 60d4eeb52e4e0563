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
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <thread>

#include "base/text.h"
#include "cluster/launch_environment.h"
#include "cluster/mpi_communicator.h"
#include "cluster/self_communicator.h"
#include "cluster/signals.h"

namespace micrec {
namespace {

constexpr int kExitUnexpected = 1;
constexpr double kGraceSeconds = 1;         // for the root cause to win over what followed from it
constexpr double kEndedByOtherSeconds = 5;  // for the rank to blame to end the others

std::string out_of_memory() {
  return "out of memory; use more ranks, fewer columns (--dim) or a smaller --batch";
}

// The exception in flight, as the other ranks and the user should hear of it.
RankFailure describe_exception(int rank) {
  RankFailure failure;
  failure.rank = rank;
  failure.exit_code = kExitUnexpected;
  try {
    throw;
  } catch (const PeerFailure& error) {
    failure.exit_code = static_cast<int>(error.cause());
    failure.standing = RankFailure::Standing::consequence;
    failure.message = error.what();
  } catch (const Error& error) {
    failure.exit_code = static_cast<int>(error.cause());
    if (error.cause() == Cause::cluster) failure.standing = RankFailure::Standing::symptom;
    failure.message = error.what();
  } catch (const std::bad_alloc&) {
    failure.message = out_of_memory();
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    failure.message = message.find("can't allocate memory") != std::string::npos
                          ? out_of_memory()
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

c10::Device choose_device(const std::string& device) {
  if (device == "auto" || device == "cpu") return c10::Device(c10::kCPU);
  throw Error(Cause::usage, text("the device '", device, "' cannot be used; expected auto or cpu"));
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

int choose_threads(const JobOptions& options, Communicator& machine, bool is_first) {
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
  const cpu_set_t launcher = allowed_cores(getppid());
  const bool by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  LOG_IF(WARNING, is_first && by_mpirun && 2 * CPU_COUNT(&used) <= CPU_COUNT(&launcher))
      << "mpirun has bound the " << machine.size() << " ranks of this machine to "
      << CPU_COUNT(&used) << " of its " << CPU_COUNT(&launcher)
      << " cores; with --bind-to none they use all";
  return share_of_cores(cores_of_ranks, machine.rank());
}

int run_body(const JobOptions& options, Communicator& world, int threads,
             const std::function<int(Job&)>& body) {
  const c10::Device device = choose_device(options.device);
  at::set_num_threads(threads);
  const StopSignals signals;
  Job job(world, threads, device);
  return body(job);
}

int run_alone(const JobOptions& options, const std::function<int(Job&)>& body) {
  try {
    SelfCommunicator world(options.communicator);
    return run_body(options, world, choose_threads(options, world, true), body);
  } catch (...) {
    const RankFailure failure = describe_exception(0);
    say(options, failure.message);
    return failure.exit_code;
  }
}

// Ends all ranks of a run in which this one has failed.
[[noreturn]] void die(const JobOptions& options, MpiCommunicator& world,
                      const RankFailure& failure) {
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
  const bool needs_rank = !by_all && world.size() > 1 && !blame->message.starts_with(by);
  say(options, needs_rank ? by + ": " + blame->message : blame->message);
  MpiSession::end_all(blame->exit_code);
}

int run_under_mpi(int argc, char** argv, const LaunchEnvironment& launch, const JobOptions& options,
                  const std::function<int(Job&)>& body) {
  std::unique_ptr<MpiSession> session;
  std::unique_ptr<MpiCommunicator> world;
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
    world = MpiCommunicator::world(options.communicator);
    const int threads = choose_threads(
        options, *MpiCommunicator::this_machine(options.communicator), world->rank() == 0);
    exit_code = run_body(options, *world, threads, body);
  } catch (...) {
    const RankFailure failure = describe_exception(launch.rank);
    if (world) die(options, *world, failure);
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

Job::Job(Communicator& world, int threads, c10::Device device)
    : world_(world), threads_(threads), device_(device) {
  CHECK_GE(threads, 1);
}

bool Job::stop_requested() const { return stop_signal_received(); }

bool Job::agree_to_stop(const char* name) { return micrec::agree_to_stop(world_, name); }

std::ostream& Job::log_once() { return rank() == 0 ? std::cerr : nowhere_; }

int run_job(int argc, char** argv, const JobOptions& options,
            const std::function<int(Job&)>& body) {
  LaunchEnvironment launch;
  try {
    launch = read_launch_environment();
  } catch (const Error& error) {
    say(options, error.what());
    return static_cast<int>(error.cause());
  }
  return launch.has_mpi ? run_under_mpi(argc, argv, launch, options, body)
                        : run_alone(options, body);
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
