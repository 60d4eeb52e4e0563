#include "evaluate/histories.h"

#include <glog/logging.h>

#include <algorithm>
#include <numeric>

#include "model/item_regression/recency.h"

namespace micrec {
namespace {

/// Calls use(list, item, n) with the n-th interaction of a split of a domain, where its person has
/// a list.
template <typename Use>
void for_each_of(const DatasetFile& dataset, const NodeSpace& space, int domain, Split split,
                 std::span<const std::int32_t> list_of_person, const Use& use) {
  std::vector<std::int32_t> list_of = dataset.person_of_user(domain);
  for (std::int32_t& person : list_of) person = list_of_person[person];
  const auto first = static_cast<std::int32_t>(space.item_numbers(domain).begin);
  std::int64_t n = 0;
  dataset.for_each_interaction(domain, split, [&](std::int32_t user, std::int32_t item) {
    if (list_of[user] >= 0) use(list_of[user], first + item, n);
    ++n;
  });
}

/// Sorts the items of a list; of several domains, one after the other.
/// Shapes   items, times: (n); returns (n) count_newer() of each domain's, by the sorted items.
std::vector<std::int32_t> sort_with_ages(const NodeSpace& space, std::span<std::int32_t> items,
                                         std::span<const std::int64_t> times) {
  std::vector<std::int32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::int32_t n) { return items[n]; });
  std::vector<std::int64_t> times_in_order;
  for (const std::int32_t n : order) times_in_order.push_back(times[n]);
  std::ranges::sort(items);
  std::vector<std::int32_t> newer;
  for (int domain = 0; domain < space.domains(); ++domain) {
    const auto end =
        std::ranges::lower_bound(items, static_cast<std::int32_t>(space.item_numbers(domain).end));
    const std::size_t count = end - items.begin() - newer.size();
    const std::vector<std::int32_t> of_domain =
        count_newer(std::span(times_in_order).subspan(newer.size(), count));
    newer.insert(newer.end(), of_domain.begin(), of_domain.end());
  }
  return newer;
}

}  // namespace

Histories load_histories(const DatasetFile& dataset, const NodeSpace& space, Observed observed,
                         HistoryAges ages, std::span<const std::int32_t> list_of_person,
                         std::int64_t lists) {
  CHECK_EQ(static_cast<std::int64_t>(list_of_person.size()), dataset.people());
  const std::vector<Split> splits = splits_of(observed);
  const auto for_each_split = [&](const auto& use) {  // use(domain, split)
    for (int domain = 0; domain < space.domains(); ++domain) {
      for (const Split split : splits) use(domain, split);
    }
  };

  Histories histories;
  std::vector<std::int32_t>& values = histories.items.values;
  std::vector<std::int64_t>& offsets = histories.items.offsets;
  offsets.assign(lists + 1, 0);
  for_each_split([&](int domain, Split split) {
    for_each_of(dataset, space, domain, split, list_of_person,
                [&](std::int32_t list, std::int32_t, std::int64_t) { ++offsets[list + 1]; });
  });
  for (std::int64_t list = 0; list < lists; ++list) offsets[list + 1] += offsets[list];
  values.resize(offsets.back());
  std::vector<std::int64_t> time_of(ages == HistoryAges::counted ? values.size() : 0);
  std::vector<std::int64_t> next(offsets.begin(), offsets.end() - 1);
  for_each_split([&](int domain, Split split) {
    std::vector<std::int64_t> times;
    if (!time_of.empty()) times = dataset.timestamps(domain, split);
    for_each_of(dataset, space, domain, split, list_of_person,
                [&](std::int32_t list, std::int32_t item, std::int64_t n) {
                  const std::int64_t at = next[list]++;
                  values[at] = item;
                  if (!times.empty()) time_of[at] = times[n];
                });
  });
  for (std::int64_t list = 0; list < lists; ++list) {
    const std::int64_t count = offsets[list + 1] - offsets[list];
    const std::span<std::int32_t> items = std::span(values).subspan(offsets[list], count);
    if (time_of.empty()) {
      std::ranges::sort(items);
      continue;
    }
    const std::vector<std::int32_t> newer =
        sort_with_ages(space, items, std::span(time_of).subspan(offsets[list], count));
    histories.newer.insert(histories.newer.end(), newer.begin(), newer.end());
  }
  return histories;
}

}  // namespace micrec
