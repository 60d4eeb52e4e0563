#pragma once

#include <exception>
#include <optional>
#include <string>

namespace micrec {

/// What the user should hear of an exception that LibTorch threw because the GPU, its driver or one
/// of its libraries failed; nothing for any other, nor for c10::OutOfMemoryError.
std::optional<std::string> describe_gpu_failure(const std::exception& error);

/// While it lives, such an exception ends the process with that sentence and the exit code of
/// Cause::cluster also where it leaves a destructor, and std::terminate would abort without a word:
/// a GPU that has failed refuses whatever it is asked, to take memory back too.
///
/// One a process at a time.
class GpuFailureGuard {
 public:
  /// `program` and `rank` begin the message: "micrec train: rank 1 of 4: ...". `rank` may be empty.
  GpuFailureGuard(const std::string& program, const std::string& rank);
  ~GpuFailureGuard();
  GpuFailureGuard(const GpuFailureGuard&) = delete;
  GpuFailureGuard& operator=(const GpuFailureGuard&) = delete;

 private:
  std::terminate_handler before_;
};

}  // namespace micrec
