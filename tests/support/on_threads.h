#pragma once

#include "base/parallel.h"

namespace micrec {

/// What `compute` returns where its thread computes with so many.
template <typename Compute>
auto on_threads(int threads, const Compute& compute) {
  const ComputeThreads scope(threads);
  return compute();
}

}  // namespace micrec
