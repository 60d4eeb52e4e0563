#pragma once

#include <exception>
#include <map>
#include <optional>
#include <string>

namespace micrec {

class ProgressBoard;

/// What a rank tells the others, and the user, when it fails.
struct RankFailure {
  /// Who is to blame is decided in this order: an error of a rank's own, then a deadline whose rank
  /// knows who made it wait, then another deadline or an error of the network, then one that only
  /// quotes another rank's failure.
  enum class Standing : int { cause = 0, witness = 1, symptom = 2, consequence = 3 };

  int rank = 0;
  int exit_code = 1;
  Standing standing = Standing::cause;
  std::string message;  // at most 3 KiB of it travel
};

/// By rank.
using RankFailures = std::map<int, RankFailure>;

/// The failure to quote: of the best standing, of the lowest rank. At least one is given.
const RankFailure& blamed(const RankFailures& failures);

/// The exception in flight, as the other ranks and the user should hear of it. Where a deadline has
/// passed the board, which may be null, says who is behind. Memory that ran out is told with how
/// much was asked for, what there is and how to ask the plan.
RankFailure describe_exception(int rank, int ranks, const ProgressBoard* board);

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
