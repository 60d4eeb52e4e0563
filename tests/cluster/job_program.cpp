// A run that goes as its arguments say; job_test.cpp starts it alone and under mpirun.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <glog/logging.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "cluster/signals.h"

namespace micrec {
namespace {

// What LibTorch throws of a GPU that has failed.
[[noreturn]] void fail_as_gpu() {
  throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 700,
                              "CUDA error: an illegal memory access was encountered\nmore of it");
}

// As the memory of a tensor that is given back to such a GPU.
struct MemoryOfGpu {
  const bool is_broken;
  ~MemoryOfGpu() {
    if (is_broken) fail_as_gpu();  // NOLINT(bugprone-exception-escape): it is the point
  }
};

int act(Job& job, const std::string& scene, int number) {
  Communicator& group = job.communicator();
  const bool is_last = job.rank() == job.world_size() - 1;
  if (scene == "return") return number;
  if (scene == "describe") {
    std::printf("rank %d of %d, %d threads, ATen %d\n", job.rank(), job.world_size(),
                compute_threads(), at::get_num_threads());
    job.log_once() << "once\n";
    return 0;
  }
  if (scene == "last_throws") {  // while the others wait for it
    if (is_last) throw Error(static_cast<Cause>(number), "row 7 of clicks.csv is wrong");
    group.barrier("job.never");
  }
  if (scene == "all_throw") {
    throw Error(static_cast<Cause>(number), "no file clicks.csv");
  }
  if (scene == "each_throws") {
    throw Error(static_cast<Cause>(number), "part " + std::to_string(job.rank()));
  }
  if (scene == "last_throws_while_others_compute") {
    if (is_last) throw Error(static_cast<Cause>(number), "row 7 of clicks.csv is wrong");
    std::this_thread::sleep_for(std::chrono::minutes(10));
  }
  if (scene == "last_throws_after_others_end") {
    if (is_last) throw Error(static_cast<Cause>(number), "row 7 of clicks.csv is wrong");
    return 0;
  }
  if (scene == "last_never_comes") {
    if (is_last) std::this_thread::sleep_for(std::chrono::minutes(10));
    group.barrier("job.late");
  }
  // One rank does something in the midst of collectives; the others go on.
  if (scene == "kill" || scene == "freeze" || scene == "throw" || scene == "disagree" ||
      scene == "crash" || scene == "leave" || scene == "freeze_unheard" || scene == "compute") {
    at::Tensor sum = at::ones({3}, at::kLong);
    for (int step = 0; step < 5; ++step) {
      group.barrier("job.batch");
      group.all_reduce("job.sum", sum);
    }
    const bool is_culprit = job.rank() == number;
    if (is_culprit) {
      timespec now{};
      clock_gettime(CLOCK_MONOTONIC, &now);
      std::fprintf(stderr, "acts at %.3f\n",
                   static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec));
      if (scene == "kill") raise(SIGKILL);
      if (scene == "freeze" || scene == "freeze_unheard") raise(SIGSTOP);
      if (scene == "throw") throw Error(Cause::io, "no room for shard 3");
      if (scene == "disagree") group.barrier("job.another");
      if (scene == "crash") raise(SIGSEGV);
      if (scene == "leave") return 0;
      if (scene == "compute") std::this_thread::sleep_for(std::chrono::minutes(10));
    }
    if (scene == "freeze_unheard") {  // each first has collectives with its neighbour alone
      const int ranks = job.world_size();
      std::vector<std::int64_t> rows(static_cast<std::size_t>(ranks), 0);
      for (int q = 0; q < ranks; ++q) {
        rows[q] = q != job.rank() && q != number && job.rank() != number ? 1 : 0;
      }
      const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
      group.all_to_all("job.some", at::zeros({total}, at::kFloat), rows, rows);
    }
    group.barrier("job.halo");
    return 0;
  }
  if (scene == "mismatch") {  // number: 0 the name, 1 the type, 2 the size
    const bool is_other = job.rank() == 1;
    at::Tensor values = number == 1 && is_other ? at::ones({3}, at::kDouble)
                                                : at::ones({number == 2 && is_other ? 4 : 3});
    group.all_reduce(number == 0 && is_other ? "job.loss" : "job.sum", values);
    return 0;
  }
  if (scene == "bad_alloc") throw std::bad_alloc();
  if (scene == "last_gets_no_gpu_memory") {  // in LibTorch's words
    if (is_last) {
      TORCH_CHECK_WITH(
          OutOfMemoryError, false,
          "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 3 has a total capacity of "
          "79.15 GiB of which 512.00 MiB is free. Including non-PyTorch memory, this process has "
          "78.60 GiB memory in use. Of the allocated memory 77.00 GiB is allocated by PyTorch, "
          "and 1.00 GiB is reserved by PyTorch but unallocated. If reserved but unallocated "
          "memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid "
          "fragmentation.");
    }
    group.barrier("job.never");
  }
  if (scene == "tensor_too_large") return static_cast<int>(at::empty({1LL << 60}).numel());
  if (scene == "gpu_fails") {
    if (is_last) fail_as_gpu();
    group.barrier("job.never");
  }
  if (scene == "gpu_fails_on_the_way_out") {
    const MemoryOfGpu memory{is_last};
    if (is_last) fail_as_gpu();
    group.barrier("job.never");
  }
  if (scene == "logic_error") throw std::logic_error("index 3 of 2");
  if (scene == "not_an_exception") throw 7;
  if (scene == "stop") {  // asked of one rank only, twice as mpirun does
    if (is_last) {
      raise(number);
      raise(number);
    }
    while (!job.agree_to_stop("job.stop")) {
    }
    group.barrier("job.saved");
    return kExitStopped;
  }
  if (scene == "signal_parent") {  // of one rank only: its watchdog
    if (is_last) kill(getppid(), number);
    while (!job.agree_to_stop("job.stop")) {
    }
    return kExitStopped;
  }
  if (scene == "stop_at_once") {  // a run that does not heed the first signal
    const Timer timer;
    while (timer.seconds() < 60) raise(number);
    return 0;
  }
  throw Error(Cause::usage, "no scene " + scene);
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  const std::string scene = argc > 1 ? argv[1] : "";
  const int number = argc > 2 ? std::atoi(argv[2]) : 0;
  micrec::JobOptions options;
  options.program = "job_program";
  options.threads = scene == "describe" ? number : 1;
  options.communicator.deadline_seconds = scene == "last_never_comes" ? 0.3 : 60;
  if (argc > 3) options.communicator.deadline_seconds = std::atof(argv[3]);
  options.communicator.check_collectives = scene == "mismatch";
  options.stop_signals = micrec::StopSignals::usual();
  return micrec::run_job(options,
                         [&](micrec::Job& job) { return micrec::act(job, scene, number); });
}
