#include "base/timer.h"

#include <sys/resource.h>

namespace micrec {

double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024.0;  // Linux counts in KiB
}

}  // namespace micrec
