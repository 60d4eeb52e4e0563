// A run that goes as its arguments say; job_test.cpp starts it alone and under mpirun.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <glog/logging.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/timer.h"
#include "cluster/job.h"

namespace micrec {
namespace {

int act(Job& job, const std::string& scene, int number) {
  Communicator& group = job.communicator();
  const bool is_last = job.rank() == job.world_size() - 1;
  if (scene == "return") return number;
  if (scene == "describe") {
    std::printf("rank %d of %d, %d threads, ATen %d\n", job.rank(), job.world_size(), job.threads(),
                at::get_num_threads());
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
  if (scene == "bad_alloc") throw std::bad_alloc();
  if (scene == "tensor_too_large") return static_cast<int>(at::empty({1LL << 60}).numel());
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
  return micrec::run_job(argc, argv, options,
                         [&](micrec::Job& job) { return micrec::act(job, scene, number); });
}
