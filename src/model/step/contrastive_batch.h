#pragma once

#include <cstdint>
#include <vector>

namespace micrec {

/// A rank's part of the contrastive batch of one pair of domains.
struct ContrastiveBatch {
  std::vector<std::int32_t> first_rows;   // (people of the row part) owned rows in one domain
  std::vector<std::int32_t> second_rows;  // and in the other
  // (ranks of the world) people of the batch whose whole rows each rank takes
  std::vector<std::int64_t> rows_per_rank;
  // (people) the place in the step's choice of every person of the batch, rank 0's people first;
  // rising within a rank
  std::vector<std::int32_t> positions;
};

}  // namespace micrec
