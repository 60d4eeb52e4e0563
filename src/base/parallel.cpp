#include "base/parallel.h"

#include <glog/logging.h>

#include <utility>

namespace micrec {
namespace {

thread_local int t_compute_threads = 1;

}  // namespace

int compute_threads() { return t_compute_threads; }

ComputeThreads::ComputeThreads(int threads) : before_(std::exchange(t_compute_threads, threads)) {
  CHECK_GE(threads, 1);
}

ComputeThreads::~ComputeThreads() { t_compute_threads = before_; }

}  // namespace micrec
