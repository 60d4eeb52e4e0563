#include "serve/list_writer.h"

#include <map>
#include <ostream>
#include <vector>

#include "base/description.h"
#include "base/text.h"
#include "io/tables/csv.h"

namespace micrec {
namespace {

constexpr std::size_t kReasons = 3;

std::string number(double value) { return decimal("%.6g", value); }

/// The keys of all items.
class ItemNames {
 public:
  explicit ItemNames(const DatasetFile& dataset) : domains_(dataset.domain_names()) {
    for (int d = 0; d < std::ssize(domains_); ++d) keys_.push_back(dataset.item_keys(d));
  }

  const std::string& key(int domain, std::int32_t item) const { return keys_[domain][item]; }
  std::string with_domain(int domain, std::int32_t item) const {
    return text(domains_[domain], ":", key(domain, item));
  }

 private:
  std::vector<std::string> domains_;
  std::vector<std::vector<std::string>> keys_;
};

void write_reasons(const Explanation& explanation, const ItemNames& names, std::ostream& csv) {
  csv << ',' << number(explanation.embeddings);
  const Reasons reasons = largest(explanation, kReasons);
  for (std::size_t n = 0; n < kReasons; ++n) {
    if (n >= reasons.items.size()) {
      csv << ",,";
      continue;
    }
    const ItemShare& item = reasons.items[n];
    csv << ',' << csv_field(names.with_domain(item.domain, item.item)) << ',' << number(item.share);
  }
  csv << ',' << number(reasons.other_items) << ',' << number(explanation.no_item);
}

}  // namespace

std::string list_columns(bool with_reasons) {
  std::string columns = "user_id,domain,rank,item_id,score,basis";
  if (!with_reasons) return columns;
  columns += ",embeddings";
  for (std::size_t n = 1; n <= kReasons; ++n) columns += text(",because_", n, ",share_", n);
  return columns + ",other_items,no_item";
}

void write_lists(const Recommender& recommender, int domain, std::span<const std::string> keys,
                 const ListOptions& options, const Explainer* explainer, std::ostream& csv,
                 std::ostream& report) {
  const std::string& name = recommender.dataset().domains()[domain].name;
  const ItemNames names(recommender.dataset());
  std::map<std::string, std::int64_t> served;  // by the name of the basis
  std::string stranger;                        // the first
  recommender.recommend(domain, keys, options, [&](const Recommendation& list) {
    const std::string basis = name_of(list.basis);
    if (served[basis]++ == 0 && list.basis == Basis::popular) stranger = list.user;
    std::vector<Explanation> explanations;
    if (explainer != nullptr) explanations = explainer->explain(domain, list);
    for (std::size_t rank = 0; rank < list.items.size(); ++rank) {
      const ScoredItem& item = list.items[rank];
      csv << csv_field(list.user) << ',' << name << ',' << rank + 1 << ','
          << csv_field(names.key(domain, item.item)) << ',' << number(item.score) << ',' << basis;
      if (explainer != nullptr) write_reasons(explanations[rank], names, csv);
      csv << '\n';
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
