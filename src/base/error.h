#pragma once

#include <stdexcept>

#include "base/text.h"

namespace micrec {

/// Why a run cannot go on. The value is the exit code of the program.
enum class Cause : int {
  usage = 2,       ///< flags or arguments
  data = 3,        ///< the contents of an input file
  io = 4,          ///< the file system
  cluster = 5,     ///< a rank, the network or a device
  checkpoint = 6,  ///< a checkpoint is missing, damaged or of another run
  diverged = 7,    ///< the loss is not finite
};

/// Exit code of a run that was stopped by a signal or its time limit after saving its state.
inline constexpr int kExitStopped = 75;

/// The user's input or the world does not allow to go on; our own bugs are glog CHECKs instead.
/// The message, which the parts make together, is one sentence: what happened, where, what was
/// expected and got, what to try.
class Error : public std::runtime_error {
 public:
  template <typename... Parts>
  requires(sizeof...(Parts) > 0) Error(Cause cause, const Parts&... parts)
      : std::runtime_error(text(parts...)), cause_(cause) {}
  Cause cause() const { return cause_; }

 private:
  Cause cause_;
};

/// The word for a cause in messages: "usage", "data", ...
const char* name_of(Cause cause);

}  // namespace micrec
