#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

namespace micrec {

/// How many threads the calling thread computes with, itself counted. That is a fact of a process
/// and no parameter: a rank's Job says it for as long as it lives, a command without ranks for
/// itself, a test or a benchmark for what it compares. Nothing that is computed depends on it.
///
/// Any other thread computes alone, as it is 1 there until the thread says otherwise: those that
/// write checkpoints, answer HTTP requests or watch over a run, and those of OpenMP. The thread of
/// an Ahead and those of run_ranks() have the number of whoever started them. Inside a loop on
/// several threads it is 1 as well: loops do not nest.
int compute_threads();

/// Says it to the calling thread, until the end of the object, which lives in that thread.
/// Errors   CHECK: at least 1.
class ComputeThreads {
 public:
  explicit ComputeThreads(int threads);
  ~ComputeThreads();
  ComputeThreads(const ComputeThreads&) = delete;
  ComputeThreads& operator=(const ComputeThreads&) = delete;

 private:
  int before_;
};

/// Calls body(begin, end) for chunks of [0, count) on compute_threads() threads; which thread gets
/// which chunk is not fixed, so a body must write nothing that two chunks share. Where one thread
/// or one chunk does all, the body is called once, in place.
///
/// Errors   The first exception a body throws is thrown again after all threads have ended.
template <typename Body>
void parallel_for(std::int64_t count, std::int64_t chunk, const Body& body) {
  if (count <= 0) return;
  const std::int64_t chunks = (count + chunk - 1) / chunk;
  const int threads = compute_threads();
  if (threads == 1 || chunks == 1) {
    body(std::int64_t{0}, count);
    return;
  }
  std::exception_ptr failure;
#pragma omp parallel num_threads(threads)
  {
    const ComputeThreads alone(1);
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t c = 0; c < chunks; ++c) {
      try {
        body(c * chunk, std::min(count, (c + 1) * chunk));
      } catch (...) {
#pragma omp critical(micrec_parallel_for_failure)
        if (!failure) failure = std::current_exception();
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// The same, for bodies that need space to work in: body(worker, begin, end) with the number of a
/// worker below compute_threads() who does one chunk after the other.
template <typename Body>
void parallel_for_workers(std::int64_t count, std::int64_t chunk, const Body& body) {
  std::atomic<std::int64_t> next = 0;
  parallel_for(compute_threads(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t worker = first; worker < last; ++worker) {
      for (;;) {
        const std::int64_t begin = next.fetch_add(chunk);
        if (begin >= count) break;
        body(worker, begin, std::min(count, begin + chunk));
      }
    }
  });
}

}  // namespace micrec
