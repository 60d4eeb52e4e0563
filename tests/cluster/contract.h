#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// Runs a body on all ranks of a fresh group. What a body throws ends the others' collectives, as
/// run_ranks promises, and goes no further: bodies expect what they must see.
using RunGroup = std::function<void(const CommunicatorOptions& options,
                                    const std::function<void(Communicator&)>& body)>;

/// One thing that every backend must do at any number of ranks.
struct ContractTest {
  std::string name;
  void (*check)(const RunGroup& run);
  bool is_of_failure = false;  ///< its bodies may throw; what another's throws is a fault
};
inline void PrintTo(const ContractTest& test, std::ostream* stream) { *stream << test.name; }

const std::vector<ContractTest>& contract_tests();
/// Those that hold also where what moves is not looked at by the host.
const std::vector<ContractTest>& contract_tests_of_gpus();

/// Runs `body` on a group of `ranks` split from `whole`, which has kRanksBesideAPart ranks more;
/// they are busy with collectives of a group of their own meanwhile.
void run_in_part(Communicator& whole, int ranks, const std::function<void(Communicator&)>& body);
inline constexpr int kRanksBesideAPart = 2;

/// Where ranks are processes, only rank 0 prints how tests go; of the others failures are printed.
void print_only_failures_of(int rank);

}  // namespace micrec
