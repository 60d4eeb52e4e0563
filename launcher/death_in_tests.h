#pragma once

#include <functional>

#include "checkpoints/store.h"

namespace micrec {

/// For tests of whole programs (tests/faults): has this process kill itself, as `kill -9` does, at
/// the instant of a save that MICREC_TEST_DIE_AT names. Empty where that is not set.
///
/// MICREC_TEST_DIE_AT=STEP[:TIMES][@RANK], as in shard_synced:3@1: when rank 1 reaches that instant
/// for the third time; the first time and all ranks by default. The instants are those of SaveStep.
/// Errors   Error(usage) where it is written otherwise.
std::function<void(SaveStep)> death_from_environment(int rank);

}  // namespace micrec
