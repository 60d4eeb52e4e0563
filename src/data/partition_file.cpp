#include "data/partition_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "data/key_table.h"
#include "io/paths.h"
#include "io/tables/csv.h"
#include "io/unfinished_file.h"

namespace micrec {
namespace {

constexpr std::array<const char*, 4> kColumns = {"domain", "kind", "key", "part"};
constexpr std::array<const char*, 2> kKinds = {"user", "item"};

/// The places of the columns in the header, which is the next record.
std::array<std::size_t, kColumns.size()> read_header(CsvReader& csv) {
  if (!csv.next()) {
    throw Error(Cause::data, csv.path(), ": the file is empty; expected the header ",
                "domain,kind,key,part and a line a user and item");
  }
  const std::vector<std::string_view>& fields = csv.fields();
  std::array<std::size_t, kColumns.size()> places{};
  for (std::size_t c = 0; c < kColumns.size(); ++c) {
    const auto at = std::ranges::find(fields, kColumns[c]);
    if (at == fields.end() || fields.size() != kColumns.size()) {
      std::string got;
      for (const std::string_view field : fields) {
        got += (got.empty() ? "" : ",") + std::string(field);
      }
      throw csv.error("expected the header domain,kind,key,part and got ", excerpt(got));
    }
    places[c] = static_cast<std::size_t>(at - fields.begin());
  }
  return places;
}

/// The fields of the next record; false after the last.
bool read_fields(CsvReader& csv) {
  if (!csv.next()) return false;
  if (csv.fields().size() != kColumns.size()) {
    throw csv.error("expected 4 fields (domain, kind, key, part) and got ", csv.fields().size(),
                    "; a key with a comma is written in double quotes");
  }
  return true;
}

class Reader {
 public:
  Reader(const std::string& path, const DatasetFile& dataset, const NodeSpace& space, int parts)
      : csv_(path, ','), dataset_(dataset), space_(space), parts_(parts) {
    owner_.assign(static_cast<std::size_t>(space.nodes()), -1);
    for (int domain = 0; domain < space.domains(); ++domain) {
      keys_[0].push_back(number_keys(dataset.user_keys(domain)));
      keys_[1].push_back(number_keys(dataset.item_keys(domain)));
    }
  }

  Ownership read(const People& people) {
    column_ = read_header(csv_);
    while (read_fields(csv_)) read_record();
    check_complete();
    check_people(people);
    check_parts();
    return {parts_, std::move(owner_)};
  }

 private:
  void read_record() {
    const std::vector<std::string_view>& fields = csv_.fields();
    const int domain = domain_named(fields[column_[0]]);
    const std::string_view kind_word = fields[column_[1]];
    const auto kind = std::ranges::find(kKinds, kind_word) - kKinds.begin();
    if (kind == static_cast<std::ptrdiff_t>(kKinds.size())) {
      throw csv_.error("expected the kind user or item and got ", excerpt(kind_word));
    }
    const std::string_view key = fields[column_[2]];
    const std::int32_t number = keys_[kind][domain].find(key);
    if (number < 0) {
      throw csv_.error("domain ", dataset_.domains()[domain].name, " has no ", kKinds[kind],
                       " with the key ", excerpt(key), "; was the file made for ", dataset_.path(),
                       "?");
    }
    const std::optional<std::int64_t> part = parse_integer(fields[column_[3]]);
    if (!part || *part < 0 || *part >= parts_) {
      throw csv_.error("expected a part from 0 to ", parts_ - 1, ", as there are ", parts_,
                       " row parts, and got ", excerpt(fields[column_[3]]));
    }
    const GlobalNode node = kind == 0 ? space_.user(domain, number) : space_.item(domain, number);
    std::int32_t& owner = owner_[value(node)];
    if (owner >= 0) {
      throw csv_.error("the ", kKinds[kind], " ", excerpt(key), " of domain ",
                       dataset_.domains()[domain].name, " is here a second time");
    }
    owner = static_cast<std::int32_t>(*part);
  }

  int domain_named(std::string_view name) const {
    const std::vector<std::string> known = dataset_.domain_names();
    const auto found = std::ranges::find(known, name);
    if (found != known.end()) return static_cast<int>(found - known.begin());
    throw csv_.error("there is no domain ", excerpt(name), "; the data set has ",
                     join(known, ", "));
  }

  std::string describe(std::int64_t node) const {
    const auto global = GlobalNode(static_cast<std::int32_t>(node));
    const int domain = space_.domain_of(global);
    const int kind = space_.is_user(global) ? 0 : 1;
    return text("the ", kKinds[kind], " ",
                excerpt(keys_[kind][domain].key(space_.number_in_domain(global))), " of domain ",
                dataset_.domains()[domain].name);
  }

  void check_complete() const {
    const auto first = std::ranges::find(owner_, -1);
    if (first == owner_.end()) return;
    const auto missing = std::ranges::count(owner_, -1);
    throw Error(Cause::data, csv_.path(), " says nothing of ", with_commas(missing), " of ",
                with_commas(space_.nodes()), " users and items, ", describe(first - owner_.begin()),
                " among them; every one needs a line with its part");
  }

  void check_people(const People& people) const {
    std::vector<std::int32_t> first_node(static_cast<std::size_t>(people.count), -1);
    for (std::int64_t user = 0; user < space_.users(); ++user) {
      std::int32_t& first = first_node[people.person[user]];
      if (first < 0) {
        first = static_cast<std::int32_t>(user);
      } else if (owner_[first] != owner_[user]) {
        throw Error(Cause::data, csv_.path(), " puts one person into two parts: ", describe(first),
                    " into ", owner_[first], " and ", describe(user), " into ", owner_[user],
                    "; a person's users stay together");
      }
    }
  }

  void check_parts() const {
    const std::int32_t used = *std::ranges::max_element(owner_) + 1;
    if (used == parts_) return;
    throw Error(Cause::data, csv_.path(), " has ", used, used == 1 ? " part" : " parts",
                " and the run has ", parts_, " row parts; start ", used,
                " ranks, make an assignment to ", parts_, " parts, or give --partition=balanced");
  }

  CsvReader csv_;
  const DatasetFile& dataset_;
  const NodeSpace& space_;
  int parts_;
  std::array<std::size_t, kColumns.size()> column_{};
  std::vector<KeyTable> keys_[2];  // [user or item][domain]
  std::vector<std::int32_t> owner_;
};

}  // namespace

Ownership read_partition_file(const std::string& path, const DatasetFile& dataset,
                              const NodeSpace& space, const People& people, int parts) {
  return Reader(path, dataset, space, parts).read(people);
}

int count_parts(const std::string& path) {
  CsvReader csv(path, ',');
  const std::size_t column = read_header(csv)[3];
  std::int64_t parts = 0;
  while (read_fields(csv)) {
    const std::optional<std::int64_t> part = parse_integer(csv.fields()[column]);
    if (!part || *part < 0 || *part >= std::numeric_limits<std::int32_t>::max()) {
      throw csv.error("expected a part, a whole number from 0, and got ",
                      excerpt(csv.fields()[column]));
    }
    parts = std::max(parts, *part + 1);
  }
  return static_cast<int>(parts);
}

void write_partition_file(const std::string& path, const DatasetFile& dataset,
                          const NodeSpace& space, const Ownership& ownership) {
  UnfinishedFile file(path);
  errno = 0;
  std::ofstream out(file.name());
  out << "domain,kind,key,part\n";
  for (int domain = 0; domain < space.domains(); ++domain) {
    const std::string& name = dataset.domains()[domain].name;
    for (const int kind : {0, 1}) {
      const std::vector<std::string> keys =
          kind == 0 ? dataset.user_keys(domain) : dataset.item_keys(domain);
      const std::int64_t begin =
          kind == 0 ? space.users_of(domain).begin : space.items_of(domain).begin;
      for (std::size_t n = 0; n < keys.size(); ++n) {
        out << name << ',' << kKinds[kind] << ',' << csv_field(keys[n]) << ','
            << ownership.owner[begin + static_cast<std::int64_t>(n)] << '\n';
      }
    }
  }
  out.close();
  if (!out) refuse_path("write", path, errno);
  file.finish();
}

}  // namespace micrec
