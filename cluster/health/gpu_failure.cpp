#include "cluster/health/gpu_failure.h"

#include <c10/util/Exception.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

// Of the guard that lives: std::terminate has no argument.
std::string& prefix_of_last_words() {
  static std::string prefix;
  return prefix;
}

std::terminate_handler& handler_before() {
  static std::terminate_handler handler = nullptr;
  return handler;
}

void end_with_last_words() {
  try {
    if (const std::exception_ptr thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    if (const std::optional<std::string> failure = describe_gpu_failure(error)) {
      const std::string line = text(prefix_of_last_words(), *failure, "\n");
      std::fwrite(line.data(), 1, line.size(), stderr);
      std::fflush(stderr);
      std::_Exit(static_cast<int>(Cause::cluster));
    }
  } catch (...) {
    // No failure of a GPU.
  }
  if (handler_before() != nullptr) handler_before()();
  std::abort();
}

}  // namespace

std::optional<std::string> describe_gpu_failure(const std::exception& error) {
  const auto* const thrown = dynamic_cast<const c10::Error*>(&error);
  if (thrown == nullptr || dynamic_cast<const c10::OutOfMemoryError*>(thrown) != nullptr) {
    return std::nullopt;
  }
  const std::string whole = thrown->what_without_backtrace();
  const std::string_view message(whole);
  // An error of the runtime has a type of its own; those of the driver and of cuBLAS have words.
  constexpr std::array<std::string_view, 4> kWords = {"CUDA error", "CUDA driver error",
                                                      "CUDA failure", "CUBLAS_STATUS_"};
  bool is_of_gpu = dynamic_cast<const c10::AcceleratorError*>(thrown) != nullptr;
  for (const std::string_view words : kWords) {
    is_of_gpu = is_of_gpu || message.find(words) != std::string_view::npos;
  }
  if (!is_of_gpu) return std::nullopt;
  const std::string_view first_line = message.substr(0, message.find('\n'));
  // Not LibTorch's own memory, which has an exception of its own, but the driver's or a library's.
  const bool is_full = first_line.find("out of memory") != std::string_view::npos ||
                       first_line.find("ALLOC_FAILED") != std::string_view::npos;
  if (is_full) {
    return text("the GPU has no memory left for its libraries: ", first_line,
                "; use more ranks, fewer columns (--dim) or a smaller --batch");
  }
  return text("the GPU failed: ", first_line,
              "; nothing can be computed on it in this process any more: start again with "
              "--resume, and if it fails again look for an Xid in dmesg, or for the call with "
              "CUDA_LAUNCH_BLOCKING=1");
}

GpuFailureGuard::GpuFailureGuard(const std::string& program, const std::string& rank) {
  prefix_of_last_words() = text(program, ": ", rank.empty() ? "" : rank + ": ");
  before_ = std::set_terminate(end_with_last_words);
  handler_before() = before_;
}

GpuFailureGuard::~GpuFailureGuard() { std::set_terminate(before_); }

}  // namespace micrec
