#include "cluster/health/failure.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string_view>
#include <vector>

#include "base/path_error.h"
#include "base/text.h"
#include "cluster/health/progress_board.h"
#include "cluster/host_communicator.h"

namespace micrec {
namespace {

constexpr int kExitUnexpected = 1;

// The number of bytes between two pieces of a message: "20.00 GiB", "512 bytes".
std::optional<double> bytes_between(std::string_view message, std::string_view before,
                                    std::string_view after) {
  const std::size_t found = message.find(before);
  if (found == std::string_view::npos) return std::nullopt;
  const std::size_t begin = found + before.size();
  const std::size_t end = message.find(after, begin);
  if (end == std::string_view::npos) return std::nullopt;
  const std::vector<std::string> words = split(message.substr(begin, end - begin), ' ');
  if (words.empty() || words.size() > 2) return std::nullopt;
  const std::optional<double> number = parse_real(words.front());
  if (!number) return std::nullopt;
  constexpr std::string_view kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double unit = 1;
  for (const std::string_view name : kUnits) {
    if (words.size() == 1 || words.back() == name) return *number * unit;
    unit *= 1024;
  }
  return std::nullopt;
}

// The bytes of a line of /proc/meminfo.
std::optional<double> machine_bytes(std::string_view line_name) {
  std::ifstream file("/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    double kib = 0;
    if (!(file >> kib)) return std::nullopt;
    std::getline(file, unit);
    if (name == line_name) return 1024 * kib;
  }
  return std::nullopt;
}

std::optional<double> own_bytes() {
  std::ifstream file("/proc/self/statm");
  double size = 0, resident = 0;
  if (!(file >> size >> resident)) return std::nullopt;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

struct Refusal {
  std::string of;  // "GPU 0"
  std::optional<double> asked, capacity, free, used;
};

std::string sentence(const Refusal& refusal, int ranks) {
  std::string message = "out of memory on " + refusal.of;
  if (refusal.asked) message += text(": ", in_bytes(*refusal.asked), " more were asked for");
  if (refusal.capacity && refusal.free) {
    message += text(refusal.asked ? ", and " : ": ", in_bytes(*refusal.free), " of its ",
                    in_bytes(*refusal.capacity), " are free");
    if (refusal.used) message += text(" while this rank holds ", in_bytes(*refusal.used));
  }
  message += text("; micrec plan --ranks=", ranks);
  if (refusal.capacity) {
    constexpr double kGiB = 1024.0 * 1024 * 1024;
    message += text(" --memory=", std::max(1.0, std::floor(*refusal.capacity / kGiB)));
  }
  return message +
         " with the run's flags says what a rank needs; use more ranks, a smaller --batch, fewer "
         "columns (--dim) or another --grid";
}

// What LibTorch says of a GPU without memory, in our words.
std::string describe_gpu_out_of_memory(const std::string& what, int ranks) {
  Refusal refusal{.of = "the GPU",
                  .asked = bytes_between(what, "Tried to allocate ", ". "),
                  .capacity = bytes_between(what, "has a total capacity of ", " of which "),
                  .free = bytes_between(what, " of which ", " is free"),
                  .used = bytes_between(what, "this process has ", " memory in use")};
  const std::size_t number = what.find("GPU ");
  if (number != std::string::npos) {
    const std::size_t end = what.find_first_not_of("0123456789", number + 4);
    if (end > number + 4) refusal.of = what.substr(number, end - number);
  }
  return sentence(refusal, ranks);
}

// `what`: LibTorch's message, or empty where nothing is known but that memory was refused.
std::string describe_host_out_of_memory(const std::string& what, int ranks) {
  return sentence({.of = "the machine",
                   .asked = bytes_between(what, "you tried to allocate ", "."),
                   .capacity = machine_bytes("MemTotal:"),
                   .free = machine_bytes("MemAvailable:"),
                   .used = own_bytes()},
                  ranks);
}

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

const RankFailure& blamed(const RankFailures& failures) {
  const auto least = std::ranges::min_element(
      failures, [](auto& a, auto& b) { return a.second.standing < b.second.standing; });
  return least->second;
}

RankFailure describe_exception(int rank, int ranks, const ProgressBoard* board) {
  using Standing = RankFailure::Standing;
  const auto failure = [rank](int exit_code, const std::string& message,
                              Standing standing = Standing::cause) {
    return RankFailure{rank, exit_code, standing, message};
  };
  constexpr int kExitCluster = static_cast<int>(Cause::cluster);
  try {
    throw;
  } catch (const PeerFailure& error) {
    return failure(kExitCluster, error.what(), Standing::consequence);
  } catch (const DeadlinePassed& error) {
    const std::optional<Suspect> suspect =
        board == nullptr ? std::nullopt : find_suspect(*board, ranks);
    return failure(kExitCluster,
                   text(suspect ? suspect->sentence + "; " : "", error.what(),
                        "; a longer --deadline helps only if a rank is slow, not stuck"),
                   suspect ? Standing::witness : Standing::symptom);
  } catch (const Error& error) {
    return failure(static_cast<int>(error.cause()), error.what(),
                   error.cause() == Cause::cluster ? Standing::symptom : Standing::cause);
  } catch (const std::filesystem::filesystem_error& error) {
    return failure(static_cast<int>(Cause::io), path_error(error));
  } catch (const std::bad_alloc&) {
    return failure(kExitCluster, describe_host_out_of_memory("", ranks));
  } catch (const c10::OutOfMemoryError& error) {
    return failure(kExitCluster, describe_gpu_out_of_memory(error.what_without_backtrace(), ranks));
  } catch (const c10::Error& error) {
    if (const std::optional<std::string> of_gpu = describe_gpu_failure(error)) {
      return failure(kExitCluster, *of_gpu);
    }
    const std::string message = error.what_without_backtrace();
    if (message.find("can't allocate memory") != std::string::npos) {
      return failure(kExitCluster, describe_host_out_of_memory(message, ranks));
    }
    return failure(kExitUnexpected, text("unexpected error in LibTorch: ", message));
  } catch (const std::exception& error) {
    return failure(kExitUnexpected, text("unexpected error: ", error.what()));
  } catch (...) {
    return failure(kExitUnexpected, "unexpected exception without a description");
  }
}

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
    return text("the GPU has no memory left for its libraries, or the machine none to lock: ",
                first_line, "; use more ranks, fewer columns (--dim) or a smaller --batch");
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
