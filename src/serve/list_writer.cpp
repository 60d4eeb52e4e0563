#include "serve/list_writer.h"

#include <map>
#include <ostream>
#include <vector>

#include "base/description.h"
#include "base/text.h"
#include "io/csv.h"

namespace micrec {

void write_lists(const Recommender& recommender, int domain, std::span<const std::string> keys,
                 const ListOptions& options, std::ostream& csv, std::ostream& report) {
  const std::string& name = recommender.dataset().domains()[domain].name;
  const std::vector<std::string> item_keys = recommender.dataset().item_keys(domain);
  std::map<std::string, std::int64_t> served;  // by the name of the basis
  std::string stranger;                        // the first
  recommender.recommend(domain, keys, options, [&](const Recommendation& list) {
    const std::string basis = name_of(list.basis);
    if (served[basis]++ == 0 && list.basis == Basis::popular) stranger = list.user;
    for (std::size_t rank = 0; rank < list.items.size(); ++rank) {
      const ScoredItem& item = list.items[rank];
      csv << csv_field(list.user) << ',' << name << ',' << rank + 1 << ','
          << csv_field(item_keys[item.item]) << ',' << decimal("%.6g", item.score) << ',' << basis
          << '\n';
    }
  });

  report << name << ": " << with_commas(static_cast<std::int64_t>(keys.size())) << " people";
  for (const auto& [basis, count] : served) {
    report << ", " << with_commas(count) << " from " << basis;
  }
  report << "\n";
  const auto popular = served.find(name_of(Basis::popular));
  if (popular == served.end()) return;
  report
      << "  nothing that scores items is known of " << with_commas(popular->second)
      << " of them, as '" << stranger << "': they get the most popular items of " << name
      << "; --history=FILE with their interactions, of items that others met too, would make the "
         "lists their own\n";
}

}  // namespace micrec
