#include "train/traffic.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/text.h"

namespace micrec {
namespace {

void write_line(std::ostream& out, const TrafficLine& line) {
  const double in_flight = line.waited_seconds + line.hidden_seconds;
  const auto share = [&](double seconds) {
    return in_flight > 0 ? text(static_cast<int>(100 * seconds / in_flight + 0.5), " %")
                         : std::string("-");
  };
  std::ostringstream calls;
  calls << std::fixed << std::setprecision(1) << line.calls;
  std::ostringstream milliseconds;
  milliseconds << std::fixed << std::setprecision(2) << 1e3 * in_flight;
  out << std::left << std::setw(28) << line.name << std::right << std::setw(12)
      << in_bytes(line.bytes) << std::setw(8) << calls.str() << std::setw(11) << milliseconds.str()
      << std::setw(9) << share(line.waited_seconds) << std::setw(9) << share(line.hidden_seconds)
      << "\n";
}

}  // namespace

Traffic Traffic::of(Communicator& communicator, std::int64_t steps, const LedgerEntries& own) {
  Traffic traffic;
  traffic.ranks = communicator.size();
  traffic.steps = steps;
  traffic.names = over_ranks(communicator, own);
  return traffic;
}

void Traffic::add(const Traffic& more) {
  ranks = more.ranks;
  steps += more.steps;
  for (const auto& [name, entry] : more.names) {
    names[name].total += entry.total;
    names[name].largest += entry.largest;
  }
}

std::map<std::string, double> Traffic::bytes_per_step() const {
  std::map<std::string, double> bytes;
  for (const TrafficLine& line : lines()) bytes[line.name] = line.bytes;
  return bytes;
}

std::vector<TrafficLine> Traffic::lines() const {
  std::vector<TrafficLine> lines;
  const double by_step = 1 / static_cast<double>(std::max<std::int64_t>(1, steps));
  for (const auto& [name, entry] : names) {
    TrafficLine line;
    line.name = name;
    line.calls = by_step * static_cast<double>(entry.total.calls) / ranks;
    line.bytes = by_step * static_cast<double>(entry.total.bytes_sent);
    line.largest_rank_bytes = by_step * static_cast<double>(entry.largest.bytes_sent);
    line.waited_seconds = by_step * entry.total.waited_seconds / ranks;
    line.hidden_seconds = by_step * entry.total.hidden_seconds / ranks;
    lines.push_back(std::move(line));
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const TrafficLine& a, const TrafficLine& b) { return a.bytes > b.bytes; });
  return lines;
}

std::string Traffic::to_table() const {
  if (ranks == 1 || steps == 0) return "";
  std::map<std::string, TrafficLine> phases;
  TrafficLine all;
  const auto add_to = [](TrafficLine& sum, const TrafficLine& line) {
    sum.calls += line.calls;
    sum.bytes += line.bytes;
    sum.waited_seconds += line.waited_seconds;
    sum.hidden_seconds += line.hidden_seconds;
  };
  std::ostringstream out;
  out << std::left << std::setw(28) << "a training step sends" << std::right << std::setw(12)
      << "bytes" << std::setw(8) << "calls" << std::setw(11) << "ms" << std::setw(9) << "waited"
      << std::setw(9) << "hidden"
      << "\n";
  for (const TrafficLine& line : lines()) {
    write_line(out, line);
    add_to(phases[phase_of(line.name)], line);
    add_to(all, line);
  }
  std::vector<TrafficLine> sums;
  for (auto& [phase, sum] : phases) {
    sum.name = "  all of " + phase;
    sums.push_back(sum);
  }
  std::stable_sort(sums.begin(), sums.end(),
                   [](const TrafficLine& a, const TrafficLine& b) { return a.bytes > b.bytes; });
  for (const TrafficLine& sum : sums) write_line(out, sum);
  all.name = "all";
  write_line(out, all);
  out << "bytes over all " << ranks << " ranks, calls and milliseconds of one; " << steps
      << " steps\n";
  return out.str();
}

}  // namespace micrec
