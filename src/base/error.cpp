#include "base/error.h"

namespace micrec {

const char* name_of(Cause cause) {
  switch (cause) {
    case Cause::usage:
      return "usage";
    case Cause::data:
      return "data";
    case Cause::io:
      return "file system";
    case Cause::cluster:
      return "cluster";
    case Cause::checkpoint:
      return "checkpoint";
    case Cause::diverged:
      return "diverged";
  }
  return "unknown";
}

}  // namespace micrec
