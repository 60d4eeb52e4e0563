#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

namespace micrec {

/// Calls body(begin, end) for chunks of [0, count) on `threads` threads; which thread gets which
/// chunk is not fixed, so a body must write nothing that two chunks share.
///
/// Errors   The first exception a body throws is thrown again after all threads have ended.
template <typename Body>
void parallel_for(std::int64_t count, std::int64_t chunk, int threads, const Body& body) {
  if (count <= 0) return;
  const std::int64_t chunks = (count + chunk - 1) / chunk;
  if (threads <= 1 || chunks == 1) {
    body(std::int64_t{0}, count);
    return;
  }
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t c = 0; c < chunks; ++c) {
    try {
      body(c * chunk, std::min(count, (c + 1) * chunk));
    } catch (...) {
#pragma omp critical(micrec_parallel_for_failure)
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// The same, for bodies that need space to work in: body(worker, begin, end) with the number of a
/// worker below `threads` who does one chunk after the other.
template <typename Body>
void parallel_for_workers(std::int64_t count, std::int64_t chunk, int threads, const Body& body) {
  std::atomic<std::int64_t> next = 0;
  parallel_for(threads, 1, threads, [&](std::int64_t first, std::int64_t last) {
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
