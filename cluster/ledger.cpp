#include "cluster/ledger.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "cluster/agreement.h"

namespace micrec {
namespace {

template <typename Function>
void for_each_number(LedgerEntry& a, const LedgerEntry& b, const Function& function) {
  function(a.calls, b.calls);
  function(a.bytes_sent, b.bytes_sent);
  function(a.bytes_received, b.bytes_received);
  function(a.waited_seconds, b.waited_seconds);
  function(a.hidden_seconds, b.hidden_seconds);
}

}  // namespace

LedgerEntry& LedgerEntry::operator+=(const LedgerEntry& other) {
  for_each_number(*this, other, [](auto& mine, auto more) { mine += more; });
  return *this;
}

LedgerEntries since(const LedgerEntries& before, const LedgerEntries& now) {
  LedgerEntries difference;
  for (const auto& [name, entry] : now) {
    LedgerEntry left = entry;
    if (const auto found = before.find(name); found != before.end()) {
      for_each_number(left, found->second, [](auto& mine, auto less) { mine -= less; });
    }
    if (left.calls != 0 || left.bytes_sent != 0 || left.bytes_received != 0 ||
        left.waited_seconds != 0 || left.hidden_seconds != 0) {
      difference.emplace(name, left);
    }
  }
  return difference;
}

void add(LedgerEntries& into, const LedgerEntries& more) {
  for (const auto& [name, entry] : more) into[name] += entry;
}

void Ledger::record(const char* name, const LedgerEntry& what) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // Literals of the same text may have several addresses, so an address says enough only if known.
  auto entry =
      std::ranges::find_if(entries_, [name](const auto& known) { return known.first == name; });
  if (entry == entries_.end()) entry = entries_.emplace(entries_.end(), name, LedgerEntry{});
  entry->second += what;
}

LedgerEntries Ledger::snapshot() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  LedgerEntries entries;
  for (const auto& [name, entry] : entries_) entries[name] += entry;
  return entries;
}

std::map<std::string, LedgerOverRanks> over_ranks(Communicator& communicator,
                                                  const LedgerEntries& own) {
  // Names and numbers as bytes, since ranks may know different names.
  std::string bytes;
  for (const auto& [name, entry] : own) {
    bytes.append(name.c_str(), name.size() + 1);
    bytes.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  }
  std::map<std::string, LedgerOverRanks> entries;
  for (const std::string& of_rank : gather_texts(communicator, "ledger.entries", bytes)) {
    for (std::string_view rest = of_rank; !rest.empty();) {
      const std::string name(rest.substr(0, rest.find('\0')));
      LedgerEntry entry;
      std::memcpy(&entry, rest.data() + name.size() + 1, sizeof entry);
      rest.remove_prefix(name.size() + 1 + sizeof entry);
      LedgerOverRanks& known = entries[name];
      known.total += entry;
      for_each_number(known.largest, entry,
                      [](auto& most, auto value) { most = std::max(most, value); });
    }
  }
  return entries;
}

std::string phase_of(const std::string& name) { return name.substr(0, name.find('.')); }

}  // namespace micrec
