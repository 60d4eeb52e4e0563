#pragma once

#include <gtest/gtest.h>

#include <cstdio>

#include "cluster/device.h"

namespace micrec {

/// The first GPU, made ready; or the CPU where there is none, with the reason said once.
inline c10::Device gpu_for_test() {
  static const c10::Device device = [] {
    const VisibleGpus gpus = find_gpus();
    if (gpus.identities.empty()) {
      std::printf("No GPU, so the cases that need one are skipped: %s\n", gpus.why_none.c_str());
      return c10::Device(c10::kCPU);
    }
    const c10::Device first(c10::kCUDA, 0);
    use_device(first);
    return first;
  }();
  return device;
}

}  // namespace micrec

/// Skips the case where there is no GPU.
#define MICREC_NEEDS_GPU() \
  if (::micrec::gpu_for_test().is_cpu()) GTEST_SKIP() << ::micrec::find_gpus().why_none
