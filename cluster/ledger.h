#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace micrec {

class Communicator;

/// What one rank did under one name of a collective.
struct LedgerEntry {
  std::int64_t calls = 0;
  std::int64_t bytes_sent = 0;      ///< to other ranks: what stays on a rank does not travel
  std::int64_t bytes_received = 0;  ///< from other ranks
  double waited_seconds = 0;        ///< inside the collective, with nothing else done
  /// In flight while the rank did something else: from the end of the start to the arrival, or to
  /// the wait if that came first. An arrival is noticed when the rank next polls. On GPUs nobody
  /// stands still for an arrival; NcclCommunicator says what the two are there.
  double hidden_seconds = 0;

  LedgerEntry& operator+=(const LedgerEntry& other);
};

/// By name.
using LedgerEntries = std::map<std::string, LedgerEntry>;

/// What happened between two snapshots; names under which nothing did are left out.
LedgerEntries since(const LedgerEntries& before, const LedgerEntries& now);
void add(LedgerEntries& into, const LedgerEntries& more);

/// Counts what the collectives of one rank move, over a communicator and all groups split from it.
/// Threads may share it.
///
/// Cost     A search among a few dozen names under a lock that nobody else holds, a collective.
class Ledger {
 public:
  /// Adds to the entry of `name`, a literal.
  void record(const char* name, const LedgerEntry& what);
  LedgerEntries snapshot() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<const char*, LedgerEntry>> entries_;  // a name may have several
};

/// One name over all ranks.
struct LedgerOverRanks {
  LedgerEntry total;
  LedgerEntry largest;  ///< each number for itself
};

/// The entries of all ranks by name; a rank need not have all names. Ranks: collective.
std::map<std::string, LedgerOverRanks> over_ranks(Communicator& communicator,
                                                  const LedgerEntries& own);

/// What a collective belongs to: "halo" of "halo.propagate".
std::string phase_of(const std::string& name);

}  // namespace micrec
