#include "evaluate/histories.h"

#include <glog/logging.h>

#include <algorithm>

namespace micrec {
namespace {

constexpr std::int64_t kChunk = 1 << 20;  // interactions read at a time

}  // namespace

NumberLists load_histories(const DatasetFile& dataset, const NodeSpace& space,
                           KnownInteractions known, std::span<const std::int32_t> list_of_person,
                           std::int64_t lists) {
  CHECK_EQ(static_cast<std::int64_t>(list_of_person.size()), dataset.people());
  std::vector<Split> splits = {Split::train};
  if (known == KnownInteractions::all) splits.push_back(Split::later);
  const auto for_each = [&](const auto& use) {  // use(list, item)
    for (int domain = 0; domain < space.domains(); ++domain) {
      std::vector<std::int32_t> list_of = dataset.person_of_user(domain);
      for (std::int32_t& person : list_of) person = list_of_person[person];
      const auto first = static_cast<std::int32_t>(space.items_of(domain).begin - space.users());
      for (const Split split : splits) {
        dataset.for_each_chunk(domain, split, kChunk, [&](const Interactions& chunk) {
          for (std::size_t n = 0; n < chunk.user.size(); ++n) {
            const std::int32_t list = list_of[chunk.user[n]];
            if (list >= 0) use(list, first + chunk.item[n]);
          }
        });
      }
    }
  };

  NumberLists histories;
  std::vector<std::int64_t>& offsets = histories.offsets;
  offsets.assign(lists + 1, 0);
  for_each([&](std::int32_t list, std::int32_t /*item*/) { ++offsets[list + 1]; });
  for (std::int64_t list = 0; list < lists; ++list) offsets[list + 1] += offsets[list];
  histories.values.resize(offsets.back());
  std::vector<std::int64_t> next(offsets.begin(), offsets.end() - 1);
  for_each([&](std::int32_t list, std::int32_t item) { histories.values[next[list]++] = item; });
  for (std::int64_t list = 0; list < lists; ++list) {
    std::sort(histories.values.begin() + offsets[list],
              histories.values.begin() + offsets[list + 1]);
  }
  return histories;
}

}  // namespace micrec
