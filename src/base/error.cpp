#include "base/error.h"

namespace micrec {

const char* name_of(Cause cause) {
  constexpr const char* kNames[] = {"usage",   "data",       "file system",
                                    "cluster", "checkpoint", "diverged"};
  return kNames[static_cast<int>(cause) - static_cast<int>(Cause::usage)];
}

}  // namespace micrec
