#include "train/log/traffic.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>

#include "base/description.h"
#include "base/table.h"
#include "base/text.h"

namespace micrec {
namespace {

void add_line(Table& table, const TrafficLine& line) {
  const double in_flight = line.waited_seconds + line.hidden_seconds;
  const auto share = [&](double seconds) {
    return in_flight > 0 ? text(std::lround(100 * seconds / in_flight), " %") : std::string("-");
  };
  const std::optional<double> ratio = line.over_bound();
  table.add({line.name, in_bytes(line.bytes), ratio ? in_bytes(line.bound_bytes) : "-",
             ratio ? decimal("%.2f", *ratio) : "-", decimal("%.1f", line.calls),
             decimal("%.2f", 1e3 * in_flight), share(line.waited_seconds),
             share(line.hidden_seconds)});
}

}  // namespace

std::optional<double> TrafficLine::over_bound() const {
  return bound_bytes > 0 ? std::optional(planned_bytes / bound_bytes) : std::nullopt;
}

TrafficLine& TrafficLine::operator+=(const TrafficLine& more) {
  calls += more.calls;
  bytes += more.bytes;
  largest_rank_bytes += more.largest_rank_bytes;
  waited_seconds += more.waited_seconds;
  hidden_seconds += more.hidden_seconds;
  planned_bytes += more.planned_bytes;
  bound_bytes += more.bound_bytes;
  return *this;
}

Traffic Traffic::of(Communicator& communicator, std::int64_t steps, const LedgerEntries& own) {
  Traffic traffic;
  traffic.ranks = communicator.size();
  traffic.steps = steps;
  traffic.names = over_ranks(communicator, own);
  return traffic;
}

void Traffic::add(const Traffic& more) {
  ranks = more.ranks;
  if (bound_bytes.empty()) bound_bytes = more.bound_bytes;
  steps += more.steps;
  for (const auto& [name, entry] : more.names) {
    names[name].total += entry.total;
    names[name].largest += entry.largest;
  }
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
    const auto bound = bound_bytes.find(name);
    if (bound != bound_bytes.end()) {
      line.planned_bytes = line.bytes;
      line.bound_bytes = bound->second;
    }
    lines.push_back(std::move(line));
  }
  std::ranges::stable_sort(lines, std::ranges::greater(), &TrafficLine::bytes);
  return lines;
}

TrafficLine Traffic::sum() const {
  TrafficLine sum;
  sum.name = "all";
  for (const TrafficLine& line : lines()) sum += line;
  return sum;
}

std::string Traffic::to_table() const {
  if (ranks == 1 || steps == 0) return "";
  std::map<std::string, TrafficLine> phases;
  Table table(
      {"a training step sends", "bytes", "must", "ratio", "calls", "ms", "waited", "hidden"});
  for (const TrafficLine& line : lines()) {
    add_line(table, line);
    phases[phase_of(line.name)] += line;
  }
  std::vector<TrafficLine> sums;
  for (auto& [phase, sum] : phases) {
    sum.name = "  all of " + phase;
    sums.push_back(sum);
  }
  std::ranges::stable_sort(sums, std::ranges::greater(), &TrafficLine::bytes);
  for (const TrafficLine& line : sums) add_line(table, line);
  add_line(table, sum());
  std::ostringstream out;
  table.print(out);
  out << "bytes over all " << ranks
      << " ranks, must: the least by the plan (micrec plan); calls and "
      << "milliseconds of one rank; " << steps << " steps\n";
  return out.str();
}

}  // namespace micrec
