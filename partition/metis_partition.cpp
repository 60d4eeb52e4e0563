#include "partition/metis_partition.h"

#include <glog/logging.h>
#include <metis.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "partition/units.h"

namespace micrec {
namespace {

constexpr idx_t kSeed = 1;
constexpr std::int64_t kFewestUnitsPerPart = 8;
// METIS' time grows with parts faster than with nonzeros, and with many parts and two weights it
// fails; more parts than this are groups of parts first.
constexpr int kMostGroups = 16;

/// The graph as METIS reads it: vertices are units.
struct MetisGraph {
  std::vector<idx_t> begin;     // (units + 1)
  std::vector<idx_t> adjacent;  // (nonzeros)
  std::vector<idx_t> weight;    // (units, 2): nonzeros, rows
  std::vector<idx_t> size;      // (units) rows that travel

  std::int64_t units() const { return static_cast<std::int64_t>(size.size()); }
};

void check_limits(const Adjacency& graph, const Units& units) {
  constexpr std::int64_t kMost = std::numeric_limits<idx_t>::max();
  if (graph.nonzeros() <= kMost && units.count() <= kMost) return;
  throw Error(Cause::usage,
              "--partition=metis cannot take this graph: the installed METIS numbers at most ",
              with_commas(kMost), " nonzeros, and this graph has ", with_commas(graph.nonzeros()),
              "; use --partition=balanced, or --partition=file:PATH with an assignment made "
              "elsewhere");
}

MetisGraph make_graph(const Units& units, const Adjacency& graph) {
  MetisGraph result;
  const std::int64_t count = units.count();
  result.begin.assign(static_cast<std::size_t>(count) + 1, 0);
  result.weight.resize(2 * static_cast<std::size_t>(count));
  result.size.resize(static_cast<std::size_t>(count));
  for (std::int64_t node = 0; node < graph.nodes(); ++node) {
    result.begin[units.of_node[node] + 1] += static_cast<idx_t>(graph.degree(node));
  }
  std::partial_sum(result.begin.begin(), result.begin.end(), result.begin.begin());
  result.adjacent.resize(static_cast<std::size_t>(result.begin.back()));
  std::vector<idx_t> next(result.begin.begin(), result.begin.end() - 1);
  for (std::int64_t node = 0; node < graph.nodes(); ++node) {
    for (const std::int32_t column : graph.of(node)) {
      result.adjacent[next[units.of_node[node]]++] = static_cast<idx_t>(units.of_node[column]);
    }
  }
  for (std::int64_t unit = 0; unit < count; ++unit) {
    result.weight[2 * unit] = static_cast<idx_t>(units.nonzeros[unit]);
    result.weight[2 * unit + 1] = static_cast<idx_t>(units.rows[unit]);
    result.size[unit] = static_cast<idx_t>(std::max<std::int64_t>(1, units.rows[unit]));
  }
  return result;
}

/// A graph of some of the units, with the edges among them.
struct Subset {
  std::vector<std::int32_t> units;
  MetisGraph graph;
};

/// The units of `whole` whose group is `group`, as a graph of their own.
Subset subset_of(const Subset& whole, const std::vector<idx_t>& group_of, idx_t group) {
  Subset part;
  std::vector<idx_t> place(whole.units.size(), -1);
  for (std::size_t v = 0; v < whole.units.size(); ++v) {
    if (group_of[v] != group) continue;
    place[v] = static_cast<idx_t>(part.units.size());
    part.units.push_back(whole.units[v]);
  }
  part.graph.begin.push_back(0);
  for (std::size_t v = 0; v < whole.units.size(); ++v) {
    if (place[v] < 0) continue;
    for (idx_t i = whole.graph.begin[v]; i < whole.graph.begin[v + 1]; ++i) {
      const idx_t neighbour = place[whole.graph.adjacent[i]];
      if (neighbour >= 0) part.graph.adjacent.push_back(neighbour);
    }
    part.graph.begin.push_back(static_cast<idx_t>(part.graph.adjacent.size()));
    part.graph.weight.push_back(whole.graph.weight[2 * v]);
    part.graph.weight.push_back(whole.graph.weight[2 * v + 1]);
    part.graph.size.push_back(whole.graph.size[v]);
  }
  return part;
}

/// Memory that a process shares with those that it forks.
class SharedNumbers {
 public:
  explicit SharedNumbers(std::size_t count) : count_(count) {
    if (count == 0) return;
    void* const place = mmap(nullptr, count * sizeof(idx_t), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) throw std::bad_alloc();
    numbers_ = static_cast<idx_t*>(place);
  }
  ~SharedNumbers() {
    if (numbers_ != nullptr) munmap(numbers_, count_ * sizeof(idx_t));
  }
  SharedNumbers(const SharedNumbers&) = delete;
  SharedNumbers& operator=(const SharedNumbers&) = delete;

  idx_t* data() const { return numbers_; }
  std::vector<idx_t> copy() const { return {numbers_, numbers_ + count_}; }

 private:
  std::size_t count_;
  idx_t* numbers_ = nullptr;
};

/// What METIS returns, called in a process of its own. In this one it would take every SIGTERM and
/// SIGABRT for an error of its own, on whatever thread they come: a wish to stop would be lost, or
/// end the rank. `status`: one number, for what it returned.
int in_own_process(const std::function<int()>& metis, const SharedNumbers& status) {
  *status.data() = METIS_ERROR;  // of what it does not survive
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    throw Error(Cause::cluster, "no process could be begun for METIS: ", std::strerror(errno),
                "; use --partition=balanced");
  }
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) *status.data() = metis();
    _exit(0);
  }
  int ended = 0;
  pid_t waited = 0;
  do {
    waited = waitpid(child, &ended, 0);
  } while (waited < 0 && errno == EINTR);
  const bool is_killed = waited == child && WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL;
  return is_killed ? METIS_ERROR_MEMORY : *status.data();
}

/// One call of METIS. `share`: (groups) of the weight that each group is to get; `imbalance`: of
/// nonzeros and of rows.
std::vector<idx_t> run_metis(MetisGraph& graph, const std::vector<double>& share,
                             const double (&imbalance)[2]) {
  idx_t options[METIS_NOPTIONS];
  METIS_SetDefaultOptions(options);
  options[METIS_OPTION_SEED] = kSeed;
  options[METIS_OPTION_NUMBERING] = 0;
  auto vertices = static_cast<idx_t>(graph.units());
  idx_t constraints = 2;
  auto groups = static_cast<idx_t>(share.size());
  std::vector<real_t> target;
  for (const double part : share) target.insert(target.end(), 2, static_cast<real_t>(part));
  real_t limits[2] = {static_cast<real_t>(1 + imbalance[0]), static_cast<real_t>(1 + imbalance[1])};
  idx_t objective_value = 0;
  const SharedNumbers group_of(graph.size.size());
  const SharedNumbers returned(1);
  // With several weights METIS fails on some graphs in one objective and not in the other.
  for (const idx_t objective : {METIS_OBJTYPE_VOL, METIS_OBJTYPE_CUT}) {
    options[METIS_OPTION_OBJTYPE] = objective;
    const auto metis = [&] {
      return METIS_PartGraphKway(&vertices, &constraints, graph.begin.data(), graph.adjacent.data(),
                                 graph.weight.data(), graph.size.data(), nullptr, &groups,
                                 target.data(), limits, options, &objective_value, group_of.data());
    };
    int status = in_own_process(metis, returned);
    // A signal to all processes of a job would not come again; an error of METIS does.
    if (status == METIS_ERROR) status = in_own_process(metis, returned);
    if (status == METIS_OK) return group_of.copy();
    if (status == METIS_ERROR_MEMORY) {
      throw Error(Cause::usage, "METIS ran out of memory on ", with_commas(graph.begin.back()),
                  " nonzeros; use --partition=balanced, or make the assignment once on a "
                  "larger machine by micrec plan --partition=metis --write_partition=FILE");
    }
    CHECK_NE(status, METIS_ERROR_INPUT) << "METIS refused its input";
  }
  throw Error(Cause::usage, "METIS could not divide ", with_commas(graph.units()),
              " people and items into ", groups,
              " groups; use --partition=balanced, or fewer row parts");
}

/// Divides a subset into parts first_part .. first_part + parts - 1, in groups of parts where they
/// are many.
void divide(Subset& subset, int first_part, int parts, const double (&imbalance)[2],
            std::vector<std::int32_t>& part_of_unit) {
  const int groups = std::min(parts, kMostGroups);
  if (groups == 1) {
    for (const std::int32_t unit : subset.units) part_of_unit[unit] = first_part;
    return;
  }
  std::vector<int> begin;  // (groups + 1) of parts
  std::vector<double> share;
  for (int group = 0; group <= groups; ++group) {
    begin.push_back(static_cast<int>(std::int64_t{parts} * group / groups));
    if (group > 0) {
      share.push_back(static_cast<double>(begin[group] - begin[group - 1]) / parts);
    }
  }
  const std::vector<idx_t> group_of = run_metis(subset.graph, share, imbalance);
  if (parts == groups) {
    for (std::size_t v = 0; v < subset.units.size(); ++v) {
      part_of_unit[subset.units[v]] = first_part + static_cast<int>(group_of[v]);
    }
    return;
  }
  for (int group = 0; group < groups; ++group) {
    Subset part = subset_of(subset, group_of, group);
    divide(part, first_part + begin[group], begin[group + 1] - begin[group], imbalance,
           part_of_unit);
  }
}

/// Takes units out of parts that are too heavy. One measure (nonzeros or rows) at a time; a unit
/// goes to the part with room where it has most neighbours, of equals to the lightest.
class Repair {
 public:
  Repair(const Units& units, const MetisGraph& graph, int parts, const PartBalance& balance,
         std::vector<std::int32_t>& part)
      : graph_(graph),
        part_(part),
        load_{std::vector<std::int64_t>(parts), std::vector<std::int64_t>(parts)},
        weight_{&units.nonzeros, &units.rows} {
    const double margin[2] = {balance.nonzeros, balance.rows};
    for (int measure = 0; measure < 2; ++measure) {
      std::int64_t total = 0;
      for (std::size_t unit = 0; unit < part.size(); ++unit) {
        load_[measure][part[unit]] += (*weight_[measure])[unit];
        total += (*weight_[measure])[unit];
      }
      limit_[measure] = static_cast<std::int64_t>(
          (1 + margin[measure]) * static_cast<double>(total) / static_cast<double>(parts) + 1);
    }
  }

  void run() {
    for (int round = 0; round < 4 && !is_balanced(); ++round) {
      for (const int measure : {0, 1}) unload_all(measure);
    }
  }

 private:
  bool is_over(std::int32_t p, int measure) const { return load_[measure][p] > limit_[measure]; }
  bool is_balanced() const {
    for (std::size_t p = 0; p < load_[0].size(); ++p) {
      if (is_over(static_cast<std::int32_t>(p), 0) || is_over(static_cast<std::int32_t>(p), 1)) {
        return false;
      }
    }
    return true;
  }

  bool has_room(std::int32_t p, std::size_t unit) const {
    return load_[0][p] + (*weight_[0])[unit] <= limit_[0] &&
           load_[1][p] + (*weight_[1])[unit] <= limit_[1];
  }

  // Neighbours of a unit in each part; neighbours_ is zero outside touched_.
  void look_around(std::size_t unit) {
    for (const std::int32_t p : touched_) neighbours_[p] = 0;
    touched_.clear();
    neighbours_.resize(load_[0].size());
    for (idx_t i = graph_.begin[unit]; i < graph_.begin[unit + 1]; ++i) {
      const std::int32_t p = part_[graph_.adjacent[i]];
      if (neighbours_[p]++ == 0) touched_.push_back(p);
    }
  }

  std::int32_t target_of(std::size_t unit) {
    look_around(unit);
    std::int32_t best = -1;
    for (const std::int32_t p : touched_) {
      if (p == part_[unit] || !has_room(p, unit)) continue;
      if (best < 0 || neighbours_[p] > neighbours_[best] ||
          (neighbours_[p] == neighbours_[best] &&
           std::pair(load_[0][p], p) < std::pair(load_[0][best], best))) {
        best = p;
      }
    }
    if (best >= 0) return best;
    const auto lightest = static_cast<std::int32_t>(
        std::min_element(load_[0].begin(), load_[0].end()) - load_[0].begin());
    return lightest != part_[unit] && has_room(lightest, unit) ? lightest : -1;
  }

  void unload_all(int measure) {
    const auto parts = static_cast<std::int32_t>(load_[0].size());
    std::vector<std::vector<std::pair<std::int64_t, std::int32_t>>> candidates(parts);
    for (std::size_t unit = 0; unit < part_.size(); ++unit) {
      const std::int32_t home = part_[unit];
      if (!is_over(home, measure) || (*weight_[measure])[unit] == 0) continue;
      // What is lost by leaving: neighbours at home less the best of elsewhere, a unit of the
      // measure.
      look_around(unit);
      std::int64_t elsewhere = 0;
      for (const std::int32_t p : touched_) {
        if (p != home) elsewhere = std::max<std::int64_t>(elsewhere, neighbours_[p]);
      }
      candidates[home].emplace_back(neighbours_[home] - elsewhere, static_cast<std::int32_t>(unit));
    }
    for (std::int32_t p = 0; p < parts; ++p) {
      std::sort(candidates[p].begin(), candidates[p].end());
      for (const auto& [loss, unit] : candidates[p]) {
        if (!is_over(p, measure)) break;
        const std::int32_t target = target_of(unit);
        if (target < 0) continue;
        for (int m = 0; m < 2; ++m) {
          load_[m][p] -= (*weight_[m])[unit];
          load_[m][target] += (*weight_[m])[unit];
        }
        part_[unit] = target;
      }
    }
  }

  const MetisGraph& graph_;
  std::vector<std::int32_t>& part_;
  std::vector<std::int64_t> load_[2];  // (parts) each
  const std::vector<std::int64_t>* weight_[2];
  std::int64_t limit_[2] = {0, 0};
  std::vector<std::int64_t> neighbours_;  // (parts)
  std::vector<std::int32_t> touched_;
};

}  // namespace

Ownership assign_by_metis(const NodeSpace& space, const People& people, const Adjacency& graph,
                          int parts, const PartBalance& balance) {
  CHECK_GE(parts, 1);
  CHECK_EQ(graph.nodes(), space.nodes());
  const std::vector<std::int32_t> degree = degrees_of(graph);
  const Units units = units_of(space, people, degree);
  if (parts == 1 || graph.nonzeros() == 0 || units.count() < kFewestUnitsPerPart * parts) {
    return assign_balanced(space, people, degree, parts);
  }
  check_limits(graph, units);
  Subset all{{}, make_graph(units, graph)};
  all.units.resize(static_cast<std::size_t>(units.count()));
  std::iota(all.units.begin(), all.units.end(), 0);
  // A little under the limit over all levels, so that the repair has little to do.
  const double levels =
      parts > kMostGroups ? std::ceil(std::log(parts) / std::log(kMostGroups)) : 1;
  const double imbalance[2] = {0.6 * balance.nonzeros / levels, 0.6 * balance.rows / levels};
  std::vector<std::int32_t> part(all.units.size());
  divide(all, 0, parts, imbalance, part);
  Repair(units, all.graph, parts, balance, part).run();
  return ownership_of_units(units, part, parts);
}

}  // namespace micrec
