#pragma once

#include <chrono>

namespace micrec {

/// Wall-clock seconds since it was made or restarted.
class Timer {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Largest resident memory of this process so far, in bytes.
double peak_memory_bytes();

}  // namespace micrec
