#include "data/prepared_dataset.h"

#include <algorithm>

namespace micrec {

std::int64_t PreparedDomain::interactions(Split wanted) const {
  return std::count(split.begin(), split.end(), wanted);
}

}  // namespace micrec
