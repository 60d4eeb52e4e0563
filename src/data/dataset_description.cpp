#include "data/dataset_description.h"

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "base/description.h"
#include "base/text.h"
#include "data/dataset_file.h"
#include "data/dataset_format.h"

namespace micrec {
namespace {

std::string with_average(std::int64_t count, double training_interactions) {
  return text(with_commas(count), "; ",
              decimal("%.1f", training_interactions / std::max<double>(1, count)),
              " training interactions each on average");
}

void describe_domain(const DatasetFile& dataset, int number, std::ostream& out) {
  const DomainInfo& domain = dataset.domains()[static_cast<std::size_t>(number)];
  std::int64_t all = 0;
  std::vector<std::string> by_split;
  for (const Split split : dataset_format::kSplits) {
    const std::int64_t count = domain.interactions[static_cast<int>(split)];
    all += count;
    if (count > 0) by_split.push_back(text(with_commas(count), " ", name_of(split)));
  }
  const double pairs = static_cast<double>(domain.users) * static_cast<double>(domain.items);
  const double train = static_cast<double>(domain.interactions[static_cast<int>(Split::train)]);

  out << "\ndomain " << domain.name << "\n";
  print_row(out, "  users", with_average(domain.users, train));
  print_row(out, "  items", with_average(domain.items, train));
  print_row(out, "  interactions",
            text(with_commas(all), ": ", or_none(join(by_split, ", ")), "; ",
                 decimal("%.4f%%", pairs > 0 ? 100.0 * static_cast<double>(all) / pairs : 0),
                 " of all pairs; ", domain.has_timestamps ? "with" : "without", " timestamps"));
  for (const ModalityInfo& modality : domain.modalities) {
    print_row(
        out, "  " + modality.name,
        text(modality.width, " columns, for ", share_of(modality.present, domain.items, "items")));
  }
  if (domain.modalities.empty()) print_row(out, "  features", "none");
  if (!dataset.has_hold_outs()) return;
  print_row(
      out, "  held out",
      text(share_of(ones_in(dataset.new_users(number)), domain.users, "users"), " are new, ",
           share_of(ones_in(dataset.new_items(number)), domain.items, "items"), " are new, ",
           share_of(ones_in(dataset.cold_items(number)), domain.items, "items"), " are cold"));
}

void describe_overlap(const DatasetFile& dataset, std::ostream& out) {
  const std::vector<DomainInfo>& domains = dataset.domains();
  if (domains.size() < 2) return;
  std::vector<std::vector<bool>> is_user;  // by domain, by person
  for (std::size_t domain = 0; domain < domains.size(); ++domain) {
    std::vector<bool>& people = is_user.emplace_back(static_cast<std::size_t>(dataset.people()));
    for (const std::int32_t person : dataset.person_of_user(static_cast<int>(domain))) {
      people[static_cast<std::size_t>(person)] = true;
    }
  }
  out << "\noverlap\n";
  for (std::size_t a = 0; a < domains.size(); ++a) {
    for (std::size_t b = a + 1; b < domains.size(); ++b) {
      std::int64_t both = 0;
      for (std::size_t person = 0; person < is_user[a].size(); ++person) {
        both += is_user[a][person] && is_user[b][person];
      }
      out << "  " << share_of(both, domains[a].users, "users of " + domains[a].name)
          << " are among the " << with_commas(domains[b].users) << " users of " << domains[b].name
          << "\n";
    }
  }
}

}  // namespace

void describe_dataset(const std::string& path, std::ostream& out) {
  const DatasetFile dataset = DatasetFile::open(path);
  print_title(out, path, "a dataset");
  print_row(out, "fingerprint", dataset.fingerprint());
  const DatasetOrigin& origin = dataset.origin();
  print_row(out, "made by", or_none(origin.provenance));
  for (const ExtendedDataset& extended : origin.extends) {
    std::vector<std::string> sizes;
    for (std::size_t d = 0; d < extended.users.size(); ++d) {
      sizes.push_back(text(with_commas(extended.users[d]), " users and ",
                           with_commas(extended.items[d]), " items of ",
                           dataset.domains()[d].name));
    }
    print_row(out, "extends", text(extended.fingerprint, ": ", join(sizes, ", ")));
  }
  print_row(out, "split", text(or_none(origin.split_rule), ", seed ", origin.seed));
  print_row(out, "core", origin.core.empty() ? "everything kept" : origin.core);
  print_row(out, "held out", origin.hold_out.empty() ? "nothing" : origin.hold_out);
  print_row(
      out, "domains",
      text(dataset.domains().size(), ", with ", with_commas(dataset.people()), " distinct people"));
  for (std::size_t domain = 0; domain < dataset.domains().size(); ++domain) {
    describe_domain(dataset, static_cast<int>(domain), out);
  }
  describe_overlap(dataset, out);
}

}  // namespace micrec
