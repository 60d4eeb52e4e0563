#include "data/dataset_file.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "data/additions.h"
#include "data/dataset_format.h"
#include "io/fingerprint.h"
#include "io/hdf5.h"

namespace micrec {
namespace {

constexpr std::int64_t kFeatureBytes = 32 << 20;

template <typename... Parts>
[[noreturn]] void damaged(const std::string& path, const Parts&... what) {
  throw Error(Cause::data, path, ": the dataset file is damaged: ", what...,
              "; make it again with micrec prepare.");
}

}  // namespace

const char* name_of(Split split) {
  constexpr std::array<const char*, 4> kNames = {"train", "valid", "test", "later"};
  return kNames[static_cast<std::size_t>(split)];
}

std::int64_t ones_in(const std::vector<std::uint8_t>& flags) {
  return std::ranges::count(flags, std::uint8_t{1});
}

bool dataset_format::is_valid_name(const std::string& name) {
  if (name.empty() || name == "key" || name == "." || name == "..") return false;
  return std::ranges::all_of(name, [](char c) {
    return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

namespace {

struct LaterInteractions {
  Interactions pairs;
  std::vector<std::int64_t> times;  // (pairs), or none
};

}  // namespace

struct DatasetFile::State {
  explicit State(Hdf5File opened) : file(std::move(opened)) {}

  Hdf5File file;
  std::int64_t version = 0;  // of the format
  std::string fingerprint;
  DatasetOrigin origin;
  std::vector<DomainInfo> domains;
  std::int64_t people = 0;

  // What came after the file was made, where it is not the file alone.
  std::optional<Additions> added;
  std::vector<DomainInfo> in_file;       // (domains) of the file alone
  std::vector<LaterInteractions> later;  // [domain] Split::later, what was added among it
  std::vector<std::vector<std::uint8_t>>
      met_since;  // [domain] (items) 1: by somebody, as was added

  const DomainInfo& domain(int number) const {
    CHECK(0 <= number && number < static_cast<int>(domains.size())) << number;
    return domains[number];
  }

  const ModalityInfo& modality(int domain_number, const std::string& name) const {
    const DomainInfo& info = domain(domain_number);
    std::vector<std::string> known;
    for (const ModalityInfo& modality : info.modalities) {
      if (modality.name == name) return modality;
      known.push_back(modality.name);
    }
    throw Error(
        Cause::usage, file.path(), ": the domain ", info.name, " has no modality '", name, "'",
        known.empty() ? "; it has no features at all." : "; it has " + join(known, ", ") + ".");
  }

  std::vector<std::uint8_t> flags(const std::string& dataset) const {
    std::vector<std::uint8_t> values = file.read<std::uint8_t>(dataset);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] > 1) {
        damaged(file.path(), dataset, ", row ", i, " is ", static_cast<int>(values[i]),
                " and not 0 or 1");
      }
    }
    return values;
  }

  void for_each_piece_of_times(
      int number, Split split,
      const std::function<void(const std::vector<std::int64_t>&)>& use) const {
    constexpr std::int64_t kPiece = 1 << 20;
    const DomainInfo& info = domain(number);
    const std::string times = dataset_format::split_path(info.name, split) + "/timestamp";
    const std::int64_t count = file.exists(times) ? info.interactions[static_cast<int>(split)] : 0;
    std::vector<std::int64_t> part;
    for (std::int64_t begin = 0; begin < count; begin += kPiece) {
      part.resize(std::min(kPiece, count - begin));
      file.read_rows(times, Range{begin, begin + std::ssize(part)}, part.data());
      use(part);
    }
  }
  void read_domain(const std::string& name);
  void read_extends();

  std::vector<std::string> keys(const std::string& dataset,
                                const std::vector<std::string>* more) const {
    std::vector<std::string> all = file.read_text(dataset);
    if (more != nullptr) all.insert(all.end(), more->begin(), more->end());
    return all;
  }
  const DomainAdditions* added_to(int number) const {
    domain(number);
    return added ? &added->domains[number] : nullptr;
  }
};

/// Errors   Error(data) where what it says to be extended is more than there is.
void DatasetFile::State::read_extends() {
  const std::string group = dataset_format::kExtends;
  if (!file.exists(group)) return;
  const auto count = std::ssize(domains);
  const std::vector<std::string> fingerprints = file.read_text(group + "/fingerprint");
  const auto files = std::ssize(fingerprints);
  file.expect_shape(group + "/users", {files, count});
  file.expect_shape(group + "/items", {files, count});
  file.expect_shape(group + "/people", {files});
  const auto users = file.read<std::int64_t>(group + "/users");
  const auto items = file.read<std::int64_t>(group + "/items");
  const auto people_of = file.read<std::int64_t>(group + "/people");
  for (std::int64_t f = 0; f < files; ++f) {
    ExtendedDataset& one = origin.extends.emplace_back();
    one.fingerprint = fingerprints[f];
    one.people = people_of[f];
    bool fits = one.people >= 0 && one.people <= (f + 1 < files ? people_of[f + 1] : people);
    for (std::int64_t d = 0; d < count; ++d) {
      const bool is_last = f + 1 == files;
      one.users.push_back(users[f * count + d]);
      one.items.push_back(items[f * count + d]);
      fits = fits && one.users[d] >= 0 && one.items[d] >= 0 &&
             one.users[d] <= (is_last ? domains[d].users : users[(f + 1) * count + d]) &&
             one.items[d] <= (is_last ? domains[d].items : items[(f + 1) * count + d]);
    }
    if (!fits) {
      damaged(file.path(), group, ", row ", f,
              " has more users, items or people than what extends it");
    }
  }
}

void DatasetFile::State::read_domain(const std::string& name) {
  DomainInfo info;
  info.name = name;
  const std::string group = dataset_format::domain_path(name);
  const std::string users = dataset_format::users_path(name);
  const std::string items = dataset_format::items_path(name);
  info.users = file.integer_attribute(group, "users");
  info.items = file.integer_attribute(group, "items");
  if (info.users < 1 || info.items < 1) {
    damaged(file.path(), group, " has ", info.users, " users and ", info.items, " items");
  }
  file.expect_shape(users + "/key", {info.users});
  file.expect_shape(users + "/new", {info.users});
  file.expect_shape(items + "/key", {info.items});
  file.expect_shape(items + "/new", {info.items});
  file.expect_shape(items + "/cold", {info.items});
  file.expect_shape(dataset_format::person_path(name), {people});
  for (const Split split : dataset_format::kSplits) {
    const std::string path = dataset_format::split_path(name, split);
    const std::int64_t count = file.expect_shape(path + "/user", {-1})[0];
    file.expect_shape(path + "/item", {count});
    info.interactions[static_cast<int>(split)] = count;
    if (file.exists(path + "/timestamp")) {
      file.expect_shape(path + "/timestamp", {count});
      info.has_timestamps = true;
    }
  }
  for (const std::string& modality : file.children(dataset_format::features_path(name))) {
    if (!dataset_format::is_valid_name(modality)) {
      damaged(file.path(), dataset_format::features_path(name), " has a modality ",
              excerpt(modality));
    }
    const std::string path = dataset_format::modality_path(name, modality);
    ModalityInfo table;
    table.name = modality;
    table.width = file.expect_shape(path + "/value", {info.items, -1})[1];
    file.expect_shape(path + "/present", {info.items});
    table.present = file.integer_attribute(path, "present");
    if (table.width < 1 || table.present < 0 || table.present > info.items) {
      damaged(file.path(), path, " has width ", table.width, " and ", table.present,
              " items present of ", info.items);
    }
    info.modalities.push_back(table);
  }
  domains.push_back(std::move(info));
}

DatasetFile::DatasetFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
DatasetFile::~DatasetFile() = default;
DatasetFile::DatasetFile(DatasetFile&&) noexcept = default;
DatasetFile& DatasetFile::operator=(DatasetFile&&) noexcept = default;

DatasetFile DatasetFile::open(const std::string& path) {
  auto state = std::make_unique<State>(Hdf5File::open(path));
  Hdf5File& file = state->file;
  if (!file.has_attribute("/", "format") ||
      file.text_attribute("/", "format") != dataset_format::kFormat) {
    throw Error(Cause::data, path, " is not a dataset file: expected the attribute format = \"",
                dataset_format::kFormat, "\"; micrec prepare makes dataset files from raw ones.");
  }
  const std::int64_t version = file.integer_attribute("/", "format_version");
  if (version < 1 || version > dataset_format::kVersion) {
    throw Error(Cause::data, path, " has dataset format version ", version,
                ", and this program reads up to ", dataset_format::kVersion,
                "; use the micrec that made it, or a newer one.");
  }
  state->version = version;
  state->fingerprint = file.text_attribute("/", "fingerprint");
  state->origin.provenance = file.text_attribute("/", "provenance");
  state->origin.split_rule = file.text_attribute("/", "split");
  state->origin.hold_out = file.text_attribute("/", "hold_out");
  state->origin.core = file.text_attribute("/", "core");
  state->origin.seed = file.integer_attribute("/", "seed");
  state->people = file.expect_shape(dataset_format::kPeopleKeys, {-1})[0];
  for (const std::string& name : split(file.text_attribute("/", "domains"), ',')) {
    if (!dataset_format::is_valid_name(name)) {
      damaged(path, "the attribute domains names a domain ", excerpt(name));
    }
    const std::vector<DomainInfo>& known = state->domains;
    if (std::ranges::any_of(known, [&](const DomainInfo& domain) { return domain.name == name; })) {
      damaged(path, "the attribute domains names ", name, " twice");
    }
    state->read_domain(name);
  }
  if (state->domains.empty()) damaged(path, "the attribute domains is empty");
  state->read_extends();
  return DatasetFile(std::move(state));
}

namespace {

/// Interactions of both, which have none in common, in their order; with times where `a` is of a
/// domain that has them.
LaterInteractions merged(const LaterInteractions& a, bool has_times, const DomainAdditions& b) {
  const auto time = [](const auto& times, std::size_t n) {
    return times.empty() ? INT64_MAX : times[n];  // after all
  };
  const std::vector<std::int32_t>& user = a.pairs.user;
  LaterInteractions all;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < user.size() || j < b.user.size()) {
    const bool is_first =
        j == b.user.size() ||
        (i < user.size() && std::pair(user[i], a.pairs.item[i]) < std::pair(b.user[j], b.item[j]));
    all.pairs.user.push_back(is_first ? user[i] : b.user[j]);
    all.pairs.item.push_back(is_first ? a.pairs.item[i] : b.item[j]);
    if (has_times) all.times.push_back(is_first ? time(a.times, i) : time(b.timestamp, j));
    ++(is_first ? i : j);
  }
  return all;
}

/// The modalities of a domain with what was added.
void add_modalities(const DomainAdditions& added, DomainInfo& info) {
  for (const FeatureTable& table : added.features) {
    const std::int64_t count = ones_in(table.present);
    const auto known = std::ranges::find(info.modalities, table.modality, &ModalityInfo::name);
    if (known != info.modalities.end()) {
      known->present += count;
    } else {
      info.modalities.push_back({table.modality, table.width, count});
    }
  }
  std::ranges::sort(info.modalities, {}, &ModalityInfo::name);
}

/// A digest of what was added to the file with this fingerprint.
std::string fingerprint_with(const std::string& fingerprint, const Additions& added) {
  Fingerprint digest;
  digest.add_text(fingerprint);
  const auto add_column = [&](const auto& column) {
    digest.add_numbers(std::vector(column.begin(), column.end()));
  };
  for (const DomainAdditions& domain : added.domains) {
    digest.add_texts(domain.user_keys);
    digest.add_texts(domain.item_keys);
    add_column(domain.user);
    add_column(domain.item);
    add_column(domain.timestamp);
    for (const FeatureTable& table : domain.features) {
      const auto items = std::ssize(table.present);
      const auto count = std::ssize(domain.item_keys);
      std::vector<float> rows(count * table.width);
      table.read(items - count, items, rows.data());
      digest.add_text(table.modality);
      digest.add_numbers(table.present);
      digest.add_numbers(rows);
    }
  }
  return digest.digits();
}

}  // namespace

DatasetFile DatasetFile::with(DatasetFile dataset, Additions additions) {
  State& state = *dataset.state_;
  CHECK(!state.added) << "what came later is added once";
  CHECK_EQ(additions.domains.size(), state.domains.size());
  ExtendedDataset& file = state.origin.extends.emplace_back();
  file.fingerprint = state.fingerprint;
  file.people = state.people;
  for (std::size_t d = 0; d < state.domains.size(); ++d) {
    const DomainAdditions& added = additions.domains[d];
    file.users.push_back(state.domains[d].users);
    file.items.push_back(state.domains[d].items);
    const auto domain = static_cast<int>(d);
    state.later.push_back(
        merged({dataset.read(domain, Split::later), dataset.timestamps(domain, Split::later)},
               state.domains[d].has_timestamps, added));
  }
  state.fingerprint = fingerprint_with(state.fingerprint, additions);
  state.in_file = state.domains;
  state.people += std::ssize(additions.person_keys);
  for (std::size_t d = 0; d < state.domains.size(); ++d) {
    const DomainAdditions& added = additions.domains[d];
    DomainInfo& info = state.domains[d];
    info.users += std::ssize(added.user_keys);
    info.items += std::ssize(added.item_keys);
    info.interactions[static_cast<int>(Split::later)] += std::ssize(added.user);
    add_modalities(added, info);
    std::vector<std::uint8_t>& met = state.met_since.emplace_back(info.items, 0);
    for (const std::int32_t item : added.item) met[item] = 1;
  }
  state.added = std::move(additions);
  return dataset;
}

const std::string& DatasetFile::path() const { return state_->file.path(); }
const std::string& DatasetFile::fingerprint() const { return state_->fingerprint; }
const DatasetOrigin& DatasetFile::origin() const { return state_->origin; }
const std::vector<DomainInfo>& DatasetFile::domains() const { return state_->domains; }
std::int64_t DatasetFile::people() const { return state_->people; }
bool DatasetFile::has_hold_outs() const {
  return !state_->origin.hold_out.empty() || state_->added;
}
std::vector<std::string> DatasetFile::person_keys() const {
  return state_->keys(dataset_format::kPeopleKeys,
                      state_->added ? &state_->added->person_keys : nullptr);
}

std::vector<std::string> DatasetFile::domain_names() const {
  std::vector<std::string> names;
  for (const DomainInfo& domain : domains()) names.push_back(domain.name);
  return names;
}

int DatasetFile::domain_number(const std::string& name) const {
  const std::vector<std::string> known = domain_names();
  const auto found = std::ranges::find(known, name);
  if (found != known.end()) return static_cast<int>(found - known.begin());
  const auto close = nearest(name, known);
  throw Error(Cause::usage, path(), " has no domain ", excerpt(name), "; it has ",
              join(known, ", "), close ? ". Did you mean '" + *close + "'?" : ".");
}

void DatasetFile::for_each_chunk(int domain, Split split,
                                 const std::function<void(const Interactions&)>& use,
                                 std::int64_t most) const {
  CHECK_GE(most, 1);
  const DomainInfo& info = state_->domain(domain);
  const std::string group = dataset_format::split_path(info.name, split);
  const std::int64_t count = info.interactions[static_cast<int>(split)];
  if (state_->added && split == Split::later) {
    const Interactions& all = state_->later[domain].pairs;
    for (std::int64_t begin = 0; begin < count; begin += most) {
      const std::int64_t end = std::min(count, begin + most);
      use({{all.user.begin() + begin, all.user.begin() + end},
           {all.item.begin() + begin, all.item.begin() + end}});
    }
    return;
  }
  std::int64_t last = -1;  // user and item of the last pair as one number
  for (std::int64_t begin = 0; begin < count; begin += most) {
    const Range rows{begin, std::min(count, begin + most)};
    Interactions part;
    part.user.resize(rows.size());
    part.item.resize(rows.size());
    state_->file.read_rows(group + "/user", rows, part.user.data());
    state_->file.read_rows(group + "/item", rows, part.item.data());
    for (std::int64_t i = 0; i < rows.size(); ++i) {
      const std::int64_t user = part.user[i];
      const std::int64_t item = part.item[i];
      if (user < 0 || user >= info.users || item < 0 || item >= info.items) {
        damaged(path(), group, ", row ", begin + i, " is the pair (", user, ", ", item,
                ") where there are ", info.users, " users and ", info.items, " items");
      }
      const std::int64_t pair = user * info.items + item;
      if (pair <= last) {
        damaged(path(), group, ", row ", begin + i, " does not follow the row before it");
      }
      last = pair;
    }
    use(part);
  }
}

Interactions DatasetFile::read(int domain, Split split) const {
  Interactions all;
  const std::int64_t count = state_->domain(domain).interactions[static_cast<int>(split)];
  if (count == 0) return all;
  for_each_chunk(
      domain, split, [&](const Interactions& part) { all = part; }, count);
  return all;
}

std::vector<std::int64_t> DatasetFile::timestamps(int domain, Split split) const {
  if (state_->added && split == Split::later) return state_->later[domain].times;
  const std::string times =
      dataset_format::split_path(state_->domain(domain).name, split) + "/timestamp";
  if (!state_->file.exists(times)) return {};
  return state_->file.read<std::int64_t>(times);
}

std::vector<std::string> DatasetFile::user_keys(int domain) const {
  const DomainAdditions* const added = state_->added_to(domain);
  return state_->keys(dataset_format::users_path(state_->domain(domain).name) + "/key",
                      added != nullptr ? &added->user_keys : nullptr);
}

std::vector<std::string> DatasetFile::item_keys(int domain) const {
  const DomainAdditions* const added = state_->added_to(domain);
  return state_->keys(dataset_format::items_path(state_->domain(domain).name) + "/key",
                      added != nullptr ? &added->item_keys : nullptr);
}

std::vector<std::int32_t> DatasetFile::person_of_user(int domain) const {
  const DomainInfo& info = state_->domain(domain);
  const std::string dataset = dataset_format::person_path(info.name);
  const auto user_of_person = state_->file.read<std::int32_t>(dataset);
  const DomainAdditions* const added = state_->added_to(domain);
  const std::int64_t in_file = added != nullptr ? state_->in_file[domain].users : info.users;
  std::vector<std::int32_t> person(in_file, -1);
  for (std::size_t p = 0; p < user_of_person.size(); ++p) {
    const std::int32_t user = user_of_person[p];
    if (user == -1) continue;
    if (user < 0 || user >= in_file || person[user] != -1) {
      damaged(path(), dataset, ", row ", p, " is ", user,
              ", which is no user or belongs to another person");
    }
    person[user] = static_cast<std::int32_t>(p);
  }
  const auto lost = std::ranges::find(person, -1);
  if (lost != person.end()) {
    damaged(path(), dataset, " names no person for user ", lost - person.begin());
  }
  if (added != nullptr) person.insert(person.end(), added->person.begin(), added->person.end());
  return person;
}

std::vector<std::uint8_t> DatasetFile::new_users(int domain) const {
  const DomainInfo& info = state_->domain(domain);
  auto flags = state_->flags(dataset_format::users_path(info.name) + "/new");
  flags.resize(info.users, 1);
  return flags;
}

// A cold item that somebody has met since is a new one.
std::vector<std::uint8_t> DatasetFile::new_items(int domain) const {
  const DomainInfo& info = state_->domain(domain);
  auto flags = state_->flags(dataset_format::items_path(info.name) + "/new");
  if (!state_->added) return flags;
  flags.resize(info.items, 1);
  const std::vector<std::uint8_t> cold = cold_items(domain);
  const std::vector<std::uint8_t> cold_before =
      state_->flags(dataset_format::items_path(info.name) + "/cold");
  for (std::size_t item = 0; item < flags.size(); ++item) {
    if (cold[item] != 0) flags[item] = 0;
    if (item < cold_before.size() && cold_before[item] > cold[item]) flags[item] = 1;
  }
  return flags;
}

std::vector<std::uint8_t> DatasetFile::cold_items(int domain) const {
  const DomainInfo& info = state_->domain(domain);
  auto flags = state_->flags(dataset_format::items_path(info.name) + "/cold");
  if (!state_->added) return flags;
  flags.resize(info.items, 1);
  for (std::size_t item = 0; item < flags.size(); ++item) {
    if (state_->met_since[domain][item] != 0) flags[item] = 0;
  }
  return flags;
}

void DatasetFile::read_features(int domain, const std::string& modality, std::int64_t begin,
                                std::int64_t end, float* out) const {
  const std::int64_t width = state_->modality(domain, modality).width;
  const std::string& name = state_->domain(domain).name;
  const std::string value = dataset_format::modality_path(name, modality) + "/value";
  const DomainAdditions* const added = state_->added_to(domain);
  if (added == nullptr) {
    state_->file.read_rows(value, Range{begin, end}, out);
    return;
  }
  const std::int64_t first_added =
      std::clamp<std::int64_t>(state_->in_file[domain].items, begin, end);
  std::fill_n(out, (end - begin) * width, 0.0F);
  if (begin < first_added && state_->file.exists(value)) {
    state_->file.read_rows(value, Range{begin, first_added}, out);
  }
  const auto table = std::ranges::find(added->features, modality, &FeatureTable::modality);
  if (first_added == end || table == added->features.end()) return;
  table->read(first_added, end, out + (first_added - begin) * width);
}

std::vector<std::uint8_t> DatasetFile::features_present(int domain,
                                                        const std::string& modality) const {
  state_->modality(domain, modality);
  const DomainInfo& info = state_->domain(domain);
  const std::string present = dataset_format::modality_path(info.name, modality) + "/present";
  const DomainAdditions* const added = state_->added_to(domain);
  if (added == nullptr) return state_->flags(present);
  std::vector<std::uint8_t> flags;
  if (state_->file.exists(present)) flags = state_->flags(present);
  flags.resize(info.items, 0);
  const auto table = std::ranges::find(added->features, modality, &FeatureTable::modality);
  if (table == added->features.end()) return flags;
  for (std::int64_t item = state_->in_file[domain].items; item < info.items; ++item) {
    flags[item] = table->present[item];
  }
  return flags;
}

void DatasetFile::verify() const {
  CHECK(!state_->added) << "only a file can be compared with its fingerprint";
  Fingerprint fingerprint;
  for (int d = 0; d < static_cast<int>(domains().size()); ++d) {
    const DomainInfo& info = domains()[d];
    fingerprint.add_text(info.name);
    fingerprint.add_count(info.users);
    fingerprint.add_count(info.items);
    fingerprint.add_texts(user_keys(d));
    fingerprint.add_texts(item_keys(d));
    fingerprint.add_numbers(new_users(d));
    fingerprint.add_numbers(new_items(d));
    fingerprint.add_numbers(cold_items(d));
    for (const Split split : dataset_format::kSplits) {
      fingerprint.add_count(info.interactions[static_cast<int>(split)]);
      // All users come before all items, so each column is read in pieces by itself.
      for_each_chunk(d, split,
                     [&](const Interactions& part) { fingerprint.add_numbers(part.user); });
      for_each_chunk(d, split,
                     [&](const Interactions& part) { fingerprint.add_numbers(part.item); });
      if (state_->version >= dataset_format::kVersionOfTimesInFingerprint) {
        state_->for_each_piece_of_times(d, split,
                                        [&](const auto& part) { fingerprint.add_numbers(part); });
      }
    }
    fingerprint.add_count(std::ssize(info.modalities));
    for (const ModalityInfo& modality : info.modalities) {
      const auto present = features_present(d, modality.name);
      if (ones_in(present) != modality.present) {
        damaged(path(), "the modality ", modality.name, " of the domain ", info.name,
                " does not have ", modality.present, " items present");
      }
      fingerprint.add_text(modality.name);
      fingerprint.add_count(modality.width);
      fingerprint.add_numbers(present);
      const std::int64_t block_rows = std::max<std::int64_t>(
          1, kFeatureBytes / (modality.width * static_cast<std::int64_t>(sizeof(float))));
      std::vector<float> block;
      for (std::int64_t begin = 0; begin < info.items; begin += block_rows) {
        const std::int64_t end = std::min(info.items, begin + block_rows);
        block.resize((end - begin) * modality.width);
        read_features(d, modality.name, begin, end, block.data());
        for (std::size_t i = 0; i < block.size(); ++i) {
          if (!std::isfinite(block[i])) {
            damaged(path(), "the modality ", modality.name, " of the domain ", info.name, ", item ",
                    begin + static_cast<std::int64_t>(i) / modality.width, ", column ",
                    static_cast<std::int64_t>(i) % modality.width, " is not finite");
          }
        }
        fingerprint.add_numbers(block);
      }
    }
    person_of_user(d);
  }
  if (fingerprint.digits() != state_->fingerprint) {
    damaged(path(), "its contents have the fingerprint ", fingerprint.digits(), " and not ",
            excerpt(state_->fingerprint));
  }
}

}  // namespace micrec
