#include "base/profile_range.h"

#ifdef MICREC_WITH_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace micrec {

#ifdef MICREC_WITH_NVTX
ProfileRange::ProfileRange(const char* name) { nvtxRangePushA(name); }
ProfileRange::~ProfileRange() { nvtxRangePop(); }
#else
ProfileRange::ProfileRange(const char* /*name*/) {}
ProfileRange::~ProfileRange() = default;
#endif

}  // namespace micrec
