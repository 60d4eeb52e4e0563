#include "graph/list_exchange.h"

namespace micrec {

NumberLists fetch_lists(Communicator& communicator, const char* name,
                        std::span<const std::int32_t> wanted,
                        const std::function<int(std::int32_t)>& owner,
                        const std::function<std::span<const std::int32_t>(std::int32_t)>& own) {
  NumberLists lists;
  lists.offsets.reserve(wanted.size() + 1);
  if (communicator.size() == 1) {
    std::size_t all = 0;
    for (const std::int32_t number : wanted) all += own(number).size();
    reserve_huge(lists.values, all);
    for (const std::int32_t number : wanted) lists.add(own(number));
    return lists;
  }
  const int ranks = communicator.size();
  std::vector<std::vector<std::int32_t>> asked(ranks);
  for (const std::int32_t number : wanted) asked[owner(number)].push_back(number);
  const std::vector<std::vector<std::int32_t>> questions =
      exchange_lists(communicator, name, asked);

  std::vector<std::vector<std::int32_t>> lengths(ranks);
  std::vector<std::vector<std::int32_t>> values(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    for (const std::int32_t number : questions[rank]) {
      const std::span<const std::int32_t> list = own(number);
      lengths[rank].push_back(static_cast<std::int32_t>(list.size()));
      values[rank].insert(values[rank].end(), list.begin(), list.end());
    }
  }
  lengths = exchange_lists(communicator, name, lengths);
  values = exchange_lists(communicator, name, values);

  std::size_t all = 0;
  for (const std::vector<std::int32_t>& of_rank : values) all += of_rank.size();
  reserve_huge(lists.values, all);
  std::vector<std::size_t> next_list(ranks, 0);
  std::vector<std::size_t> next_value(ranks, 0);
  for (const std::int32_t number : wanted) {
    const int rank = owner(number);
    const auto length = static_cast<std::size_t>(lengths[rank][next_list[rank]++]);
    lists.add(std::span(values[rank]).subspan(next_value[rank], length));
    next_value[rank] += length;
  }
  return lists;
}

}  // namespace micrec
