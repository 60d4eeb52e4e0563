#include "model/item_regression/item_regression_fit.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>

#include "base/pages.h"
#include "base/parallel.h"
#include "base/random.h"
#include "graph/approximate_neighbours.h"
#include "graph/operators.h"

namespace micrec {
namespace {

// A batch holds the histories of the people that its items met, and the columns and features of all
// neighbours.
constexpr std::int64_t kBatchPairs = std::int64_t{1} << 22;  // of items and people who met them
constexpr std::int64_t kBatchItems = std::int64_t{1} << 15;
constexpr std::int64_t kBatchFeatures = std::int64_t{1} << 27;  // numbers of all neighbours' rows
static_assert(kMostByFeatures < ItemSystems::kMostNeighbours);

}  // namespace

/// What is needed to solve for some of the rank's items, all of one domain.
struct ItemRegressionFit::Batch {
  Range items{0, 0};  // places in own_items()
  int domain = 0;
  std::vector<ItemNeighbourhood> neighbourhoods;  // (items)
  std::vector<std::int64_t> first_neighbour;      // (items + 1) among those of all
  /// In one piece, so that all is fetched from memory at once.
  struct Neighbour {
    std::int64_t column;  // begins there in `columns`
    std::int32_t met_by;  // so many
    std::int32_t hub;     // ItemHubs::number_of()
    double squared_length;
  };
  std::vector<std::int32_t> place_of;  // (items of all domains) in `neighbours`
  std::vector<Neighbour> neighbours;   // of all these items
  NumberLists columns;                 // people of those that are ItemHubs::is_walked(), as
                                       // ItemHubs::place_of()
  at::Tensor features;                 // (neighbours, width) float32
};

ItemRegressionFit::ItemRegressionFit(const DatasetFile& dataset, const Shard& shard,
                                     const std::vector<std::string>& modalities, int feature_dim,
                                     std::uint64_t seed, const HubRule& hubs,
                                     NeighbourSearch search, std::int64_t chunk_products)
    : shard_(shard),
      seed_(seed),
      features_(dataset, shard, modalities, feature_dim),
      histories_(shard, seed),
      hubs_(histories_, hubs, *shard.world),
      search_(search),
      chunk_products_(chunk_products),
      similar_(shard.space().domains() + 1) {
  const std::vector<std::int32_t>& own = histories_.own_items();
  own_features_ = read_rows(feature_source(), {own.begin(), own.end()});
}

ItemRegressionFit::~ItemRegressionFit() = default;

/// Of the items of all domains.
FeatureSource ItemRegressionFit::feature_source() const {
  return {
      histories_.items(), features_.width(),
      [this](std::int64_t from, std::int64_t to, float* out) { features_.read(from, to, out); }};
}

/// The items of a domain, numbered over all.
Range ItemRegressionFit::items_of(int domain) const { return shard_.space().item_numbers(domain); }

bool ItemRegressionFit::crosses(const ItemRegressionTask& task) const {
  return task.cross > 0 && shard_.space().domains() > 1;
}

/// Finds what the tasks need of the nearest by features. Ranks: collective.
void ItemRegressionFit::find_similar(const std::vector<ItemRegressionTask>& tasks) const {
  const auto domains = static_cast<int>(tasks.size());
  const std::vector<std::int32_t>& own = histories_.own_items();
  const auto place = [&](std::int64_t item) {
    return static_cast<std::int64_t>(std::ranges::lower_bound(own, item) - own.begin());
  };
  const auto find = [&](int place_of, Range queries, Range targets) {
    if (similar_[place_of]) return;
    similar_[place_of] = std::make_unique<Similar>(search_similar(queries, targets));
  };
  for (int domain = 0; domain < domains; ++domain) {
    const Range of_domain = items_of(domain);
    if (crosses(tasks[domain])) {
      find(domains, {0, static_cast<std::int64_t>(own.size())}, {0, histories_.items()});
    } else {
      find(domain, {place(of_domain.begin), place(of_domain.end)}, of_domain);
    }
  }
}

/// The nearest by features of the rank's items at some places in own_items(), among the targets
/// with features that were trained on. The items at these places of all ranks are those of the
/// targets. Ranks: collective.
ItemRegressionFit::Similar ItemRegressionFit::search_similar(Range own_places,
                                                             Range targets) const {
  const std::vector<std::int32_t>& own = histories_.own_items();
  Similar found{own_places.begin, {}};
  if (features_.width() == 0) {
    found.nearest.offsets.assign(own_places.size() + 1, 0);
    return found;
  }
  const std::int64_t users = shard_.space().users();
  NeighbourQuestion question{feature_source(), std::vector<std::uint8_t>(histories_.items(), 0),
                             std::vector<std::int32_t>(histories_.items(), -1), kMostByFeatures};
  for (std::int64_t item = targets.begin; item < targets.end; ++item) {
    if (features_.held()[item] == 0) continue;
    question.eligible[item] = histories_.squared_length()[item] > 0;
    if (is_wanted(static_cast<std::int32_t>(item))) {
      question.asked_by[item] = shard_.whole.owner[users + item];
    }
  }
  const NumberLists nearest =
      find_neighbours(question, {.search = search_}, shard_.world, &searches_.emplace_back());
  std::int64_t query = 0;
  for (std::int64_t n = own_places.begin; n < own_places.end; ++n) {
    const bool is_asked = question.asked_by[own[n]] >= 0;
    found.nearest.add(is_asked ? nearest.of(query++) : std::span<const std::int32_t>());
  }
  return found;
}

bool ItemRegressionFit::is_drawn(std::uint64_t seed, std::int32_t item, std::int64_t most_items,
                                 std::int64_t of_domain) {
  if (most_items == 0 || most_items >= of_domain) return true;
  const Random random(seed, Purpose::history_sample, /*time=*/1);
  return random.uniform(static_cast<std::uint64_t>(item)) <
         static_cast<double>(most_items) / static_cast<double>(of_domain);
}

std::vector<std::pair<Range, int>> ItemRegressionFit::cut_batches(
    const NodeSpace& space, std::span<const std::int32_t> own, std::span<const std::int64_t> met_by,
    std::int64_t width) {
  const std::int64_t most_items =
      std::min(kBatchItems, 1 + kBatchFeatures / ItemSystems::kMostNeighbours /
                                    std::max<std::int64_t>(1, width));
  std::vector<std::pair<Range, int>> batches;
  for (int domain = 0; domain < space.domains(); ++domain) {
    const std::int64_t last = space.item_numbers(domain).end;
    std::int64_t begin = batches.empty() ? 0 : batches.back().first.end;
    std::int64_t pairs = 0;
    std::int64_t end = begin;
    for (; end < static_cast<std::int64_t>(own.size()) && own[end] < last; ++end) {
      if (end > begin && (pairs + met_by[end] > kBatchPairs || end - begin == most_items)) {
        batches.push_back({{begin, end}, domain});
        begin = end;
        pairs = 0;
      }
      pairs += met_by[end];
    }
    batches.push_back({{begin, end}, domain});
  }
  return batches;
}

double ItemRegressionFit::most_feature_bytes(double items, double width) {
  return sizeof(float) * std::min(items * width, static_cast<double>(kBatchFeatures) +
                                                     ItemSystems::kMostNeighbours * width);
}

/// As many on every rank; some may be empty. Ranks: collective.
std::vector<std::pair<Range, int>> ItemRegressionFit::batches() const {
  const std::vector<std::int32_t>& own = histories_.own_items();
  const auto size = static_cast<std::int64_t>(own.size());
  std::vector<std::int64_t> met_by;
  for (std::int64_t n = 0; n < size; ++n) {
    met_by.push_back(static_cast<std::int64_t>(histories_.people_of_own(n).size()));
  }
  std::vector<std::pair<Range, int>> batches =
      cut_batches(shard_.space(), own, met_by, features_.width());
  at::Tensor count = at::full({1}, static_cast<std::int64_t>(batches.size()), at::kLong);
  shard_.world->all_reduce("item_regression.batches", count, Reduction::max);
  batches.resize(count.item<std::int64_t>(), {{size, size}, shard_.space().domains() - 1});
  return batches;
}

/// Feature rows of these items, in their order, from the ranks that own them. Ranks: collective.
at::Tensor ItemRegressionFit::fetch_features(const std::vector<std::int32_t>& items) const {
  const auto users = static_cast<std::int32_t>(shard_.space().users());
  std::vector<GlobalNode> needed;
  for (const std::int32_t item : items) needed.push_back(GlobalNode(users + item));
  const RowExchange exchange(shard_.whole, shard_.whole_nodes, needed, *shard_.world);
  // Whole nodes are users before items.
  const auto own_users = static_cast<std::int32_t>(shard_.whole_nodes.size()) -
                         static_cast<std::int32_t>(histories_.own_items().size());
  std::vector<std::int32_t> rows;
  for (const std::int32_t row : exchange.requested_rows()) rows.push_back(row - own_users);
  return fetch(exchange, "item_regression.features", take_rows(own_features_, rows));
}

/// Ranks: collective.
ItemRegressionFit::Batch ItemRegressionFit::gather(Range items, int domain,
                                                   const ItemRegressionTask& task) const {
  const Range of_domain = items_of(domain);
  const std::vector<std::int32_t>& own = histories_.own_items();
  const auto& [first_own, similar] = similar_items(domain, crosses(task));

  std::vector<std::span<const std::int32_t>> people, alike;
  std::vector<std::int32_t> all_people;
  for (std::int64_t n = items.begin; n < items.end; ++n) {
    const bool sampled =
        is_wanted(own[n]) && is_drawn(seed_, own[n], task.most_items, of_domain.size());
    const std::span<const std::int32_t> nobody;
    people.push_back(sampled ? histories_.people_of_own(n) : nobody);
    alike.push_back(sampled ? similar.of(n - first_own) : nobody);
    all_people.insert(all_people.end(), people.back().begin(), people.back().end());
  }
  const auto sort_once = [](std::vector<std::int32_t>& numbers) {
    std::ranges::sort(numbers);
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  };
  sort_once(all_people);
  const NumberLists histories = histories_.items_of(all_people);

  Batch batch{items, domain, {}, {0}, {}, {}, {}, {}};
  batch.neighbourhoods = choose_neighbourhoods({of_domain, task.cross, task.neighbourhood_lambda},
                                               std::span(own).subspan(items.begin, items.size()),
                                               people, all_people, histories, histories_, alike);
  for (const ItemNeighbourhood& of : batch.neighbourhoods) {
    batch.first_neighbour.push_back(batch.first_neighbour.back() +
                                    static_cast<std::int64_t>(of.items.size()));
  }
  gather_neighbours(batch);
  return batch;
}

/// All neighbours of a batch's items, with what these bring along. Ranks: collective.
void ItemRegressionFit::gather_neighbours(Batch& batch) const {
  batch.place_of.assign(histories_.items(), -1);
  for (const ItemNeighbourhood& of : batch.neighbourhoods) {
    for (const std::int32_t item : of.items) batch.place_of[item] = 0;
  }
  std::vector<std::int32_t> neighbours, walked;
  for (std::int32_t item = 0; item < static_cast<std::int32_t>(histories_.items()); ++item) {
    if (batch.place_of[item] < 0) continue;
    batch.place_of[item] = static_cast<std::int32_t>(neighbours.size());
    neighbours.push_back(item);
    if (hubs_.is_walked(item)) walked.push_back(item);
  }
  batch.columns = histories_.people_of(walked);
  for (std::int32_t& person : batch.columns.values) person = hubs_.place_of(person);
  std::int64_t column = 0;
  reserve_huge(batch.neighbours, neighbours.size());
  for (const std::int32_t item : neighbours) {
    const bool is_walked = hubs_.is_walked(item);
    const std::span<const std::int32_t> people =
        is_walked ? batch.columns.of(column) : std::span<const std::int32_t>();
    batch.neighbours.push_back({is_walked ? batch.columns.offsets[column] : 0,
                                static_cast<std::int32_t>(people.size()), hubs_.number_of(item),
                                histories_.squared_length()[item]});
    column += is_walked ? 1 : 0;
  }
  if (features_.width() > 0) batch.features = fetch_features(neighbours);
}

/// What the system of the t-th item of a batch is made of.
ItemSystem ItemRegressionFit::system_of(const Batch& batch, const ItemRegressionTask& task,
                                        std::int64_t t) const {
  const ItemNeighbourhood& of = batch.neighbourhoods[t];
  const Range of_domain = items_of(batch.domain);
  const std::int64_t width = features_.width();
  const std::size_t count = of.items.size();
  ItemSystem system;
  system.rows.reserve(count);
  for (const std::int32_t item : of.items) {
    system.rows.push_back(batch.place_of[item]);
    __builtin_prefetch(&batch.neighbours[system.rows.back()]);
  }
  system.together = of.together;
  system.hub.reserve(count);
  system.columns.reserve(count);
  system.squared_length.reserve(count);
  system.cross.reserve(count);
  for (std::size_t n = 0; n < count; ++n) {
    const Batch::Neighbour& neighbour = batch.neighbours[system.rows[n]];
    system.hub.push_back(neighbour.hub);
    system.columns.emplace_back(batch.columns.values.data() + neighbour.column, neighbour.met_by);
    system.squared_length.push_back(neighbour.squared_length);
    system.cross.push_back(of_domain.contains(of.items[n]) ? 1.0F : static_cast<float>(task.cross));
  }
  system.held = features_.held()[histories_.own_items()[batch.items.begin + t]];
  if (width > 0) {
    system.features = batch.features.const_data_ptr<float>();
    system.own_features = own_features_.const_data_ptr<float>() + (batch.items.begin + t) * width;
  }
  return system;
}

/// The coefficients of all neighbours of a batch for every setting. Shapes: returns (settings,
/// neighbours).
std::vector<float> ItemRegressionFit::solve_here(const Batch& batch, const ItemRegressionTask& task,
                                                 std::vector<ItemSystems>& of_worker) const {
  const std::int64_t items = batch.items.size();
  const std::int64_t neighbours = batch.first_neighbour.back();
  std::vector<float> solution(task.settings.size() * neighbours);
  const std::int64_t groups = (items + kSystemLanes - 1) / kSystemLanes;
  const std::int64_t chunk = std::clamp<std::int64_t>(groups / (8 * compute_threads()), 1, 64);
  const auto solve_some = [&](std::int64_t worker, std::int64_t begin, std::int64_t end) {
    ItemSystems& systems = of_worker[worker];
    for (std::int64_t g = begin; g < end; ++g) {
      const Range of{g * kSystemLanes, std::min(items, (g + 1) * kSystemLanes)};
      std::vector<ItemSystem> of_items;
      for (std::int64_t t = of.begin; t < of.end; ++t) {
        of_items.push_back(system_of(batch, task, t));
      }
      systems.make(of_items);
      for (std::size_t s = 0; s < task.settings.size(); ++s) {
        systems.solve(task.settings[s]);
        for (std::int64_t t = of.begin; t < of.end; ++t) {
          const std::int64_t first = batch.first_neighbour[t];
          for (std::int64_t n = first; n < batch.first_neighbour[t + 1]; ++n) {
            solution[s * neighbours + n] = systems.coefficient(t - of.begin, n - first);
          }
        }
      }
    }
  };
  parallel_for_workers(groups, chunk, solve_some);
  return solution;
}

/// The same by the shard's GPU, but for products of columns.
std::vector<float> ItemRegressionFit::solve_there(const Batch& batch,
                                                  const ItemRegressionTask& task,
                                                  std::vector<ItemSystems>& of_worker) const {
  constexpr std::int64_t kItemsAtATime = 4;  // a chunk is made in hundredths of a second
  const DeviceBatch there{
      .device = shard_.device,
      .first_neighbour = batch.first_neighbour,
      .modality_columns = features_.columns(),
      .settings = task.settings,
      .features = batch.features,
      .own_features = own_features_.slice(0, batch.items.begin, batch.items.end),
      .chunk_products = chunk_products_};
  return solve_on_device(there, [&](Range items, const PackedSystems& to) {
    parallel_for_workers(items.size(), kItemsAtATime,
                         [&](std::int64_t worker, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t i = begin; i < end; ++i) {
                             of_worker[worker].pack(system_of(batch, task, items.begin + i), i, to);
                           }
                         });
  });
}

void ItemRegressionFit::solve_batch(const Batch& batch, const ItemRegressionTask& task,
                                    std::vector<ItemSystems>& of_worker,
                                    std::vector<SparseRows>& results) const {
  const std::vector<float> solution = shard_.device.is_cpu() ? solve_here(batch, task, of_worker)
                                                             : solve_there(batch, task, of_worker);
  const float* value = solution.data();
  for (SparseRows& result : results) {
    for (const ItemNeighbourhood& of : batch.neighbourhoods) {
      for (const std::int32_t item : of.items) {
        if (*value != 0) {
          result.column.push_back(item);
          result.value.push_back(*value);
        }
        ++value;
      }
      result.offsets.push_back(static_cast<std::int64_t>(result.column.size()));
    }
  }
}

std::vector<SparseRows> ItemRegressionFit::solve(
    const std::vector<ItemRegressionTask>& tasks,
    const std::function<void(double)>& progress) const {
  CHECK_EQ(static_cast<int>(tasks.size()), shard_.space().domains());
  for (const ItemRegressionTask& task : tasks) {
    CHECK_EQ(task.settings.size(), tasks.front().settings.size());
  }
  find_similar(tasks);
  std::vector<SparseRows> results(tasks.front().settings.size());
  const std::vector<std::pair<Range, int>> batches = this->batches();
  std::vector<ItemSystems> of_worker(compute_threads(), ItemSystems(hubs_, features_.columns()));
  for (std::size_t b = 0; b < batches.size(); ++b) {
    const auto& [items, domain] = batches[b];
    solve_batch(gather(items, domain, tasks[domain]), tasks[domain], of_worker, results);
    progress(static_cast<double>(b + 1) / static_cast<double>(batches.size()));
  }
  return results;
}

std::int64_t ItemRegressionFit::count(const SparseRows& coefficients) const {
  at::Tensor count = at::full({1}, coefficients.nonzeros(), at::kLong);
  shard_.world->all_reduce("item_regression.count", count);
  return count.item<std::int64_t>();
}

}  // namespace micrec
