#include "data/dataset_writer.h"

#include <glog/logging.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <vector>

#include "base/text.h"
#include "data/dataset_format.h"
#include "io/fingerprint.h"
#include "io/hdf5.h"
#include "io/unfinished_file.h"

namespace micrec {
namespace {

constexpr std::int64_t kBlockBytes = 32 << 20;
const Hdf5Storage kCompressed{.compress = true};

/// Writes those values of a column that are of a split, in pieces.
template <typename T>
void write_column(const PreparedDomain& domain, Split split, const PackedColumn<T>& column,
                  std::int64_t count, const std::string& path, Hdf5File& file,
                  Fingerprint& fingerprint) {
  constexpr std::int64_t kPiece = 1 << 18;  // whole chunks of the file
  if (count == 0) return file.write(path, std::vector<T>(), kCompressed);
  file.reserve<T>(path, {count}, kCompressed);
  typename PackedColumn<T>::Block room;
  // And a block that comes behind, or one that is written over.
  std::vector<T> piece(std::min<std::int64_t>(count, kPiece + std::ssize(room)) + 1);
  std::int64_t written = 0;
  std::int64_t size = 0;
  for (std::size_t at = 0; at < column.size(); at += room.size()) {
    const std::span<const T> values = column.block(at, room);
    // Without a branch, as chance decides on it.
    for (std::size_t i = 0; i < values.size(); ++i) {
      piece[size] = values[i];
      size += domain.split[at + i] == split ? 1 : 0;
    }
    const bool is_last = at + values.size() == column.size();
    if (size < kPiece && !is_last) continue;
    const std::int64_t whole = is_last ? size : kPiece;
    file.write_rows(path, Range{written, written + whole}, piece.data());
    fingerprint.add_numbers(piece.data(), whole);
    written += whole;
    std::copy(piece.begin() + whole, piece.begin() + size, piece.begin());
    size -= whole;
  }
  CHECK_EQ(written, count);
}

void write_split(const PreparedDomain& domain, Split split, Hdf5File& file,
                 Fingerprint& fingerprint) {
  const std::int64_t count = domain.interactions(split);
  const std::string path = dataset_format::split_path(domain.name, split);
  fingerprint.add_count(count);
  write_column(domain, split, domain.user, count, path + "/user", file, fingerprint);
  write_column(domain, split, domain.item, count, path + "/item", file, fingerprint);
  if (domain.timestamp.empty()) return;
  write_column(domain, split, domain.timestamp, count, path + "/timestamp", file, fingerprint);
}

void write_features(const PreparedDomain& domain, const FeatureTable& table, Hdf5File& file,
                    Fingerprint& fingerprint) {
  CHECK_EQ(std::ssize(table.present), domain.items());
  CHECK_GE(table.width, 1);
  const std::string path = dataset_format::modality_path(domain.name, table.modality);
  file.write(path + "/present", table.present, kCompressed);
  file.set_attribute(path, "present", ones_in(table.present));
  fingerprint.add_text(table.modality);
  fingerprint.add_count(table.width);
  fingerprint.add_numbers(table.present);

  const std::string value = path + "/value";
  file.reserve<float>(value, {domain.items(), table.width});
  const std::int64_t block_rows = std::max<std::int64_t>(
      1, kBlockBytes / (table.width * static_cast<std::int64_t>(sizeof(float))));
  std::vector<float> block;
  for (std::int64_t begin = 0; begin < domain.items(); begin += block_rows) {
    const std::int64_t end = std::min(domain.items(), begin + block_rows);
    block.assign((end - begin) * table.width, 0.0F);
    table.read(begin, end, block.data());
    file.write_rows(value, Range{begin, end}, block.data());
    fingerprint.add_numbers(block);
  }
}

void write_domain(const PreparedDomain& domain, Hdf5File& file, Fingerprint& fingerprint) {
  const std::string users = dataset_format::users_path(domain.name);
  const std::string items = dataset_format::items_path(domain.name);
  file.write_text(users + "/key", domain.user_keys, kCompressed);
  file.write_text(items + "/key", domain.item_keys, kCompressed);
  file.write(users + "/new", domain.new_users, kCompressed);
  file.write(items + "/new", domain.new_items, kCompressed);
  file.write(items + "/cold", domain.cold_items, kCompressed);
  const std::string group = dataset_format::domain_path(domain.name);
  file.set_attribute(group, "users", domain.users());
  file.set_attribute(group, "items", domain.items());

  fingerprint.add_text(domain.name);
  fingerprint.add_count(domain.users());
  fingerprint.add_count(domain.items());
  fingerprint.add_texts(domain.user_keys);
  fingerprint.add_texts(domain.item_keys);
  fingerprint.add_numbers(domain.new_users);
  fingerprint.add_numbers(domain.new_items);
  fingerprint.add_numbers(domain.cold_items);

  for (const Split split : dataset_format::kSplits) write_split(domain, split, file, fingerprint);

  file.make_group(dataset_format::features_path(domain.name));
  fingerprint.add_count(std::ssize(domain.features));
  for (const FeatureTable& table : domain.features) {
    write_features(domain, table, file, fingerprint);
  }
}

void write_people(const PreparedDataset& dataset, Hdf5File& file) {
  file.write_text(dataset_format::kPeopleKeys, dataset.person_keys, kCompressed);
  for (std::size_t d = 0; d < dataset.domains.size(); ++d) {
    std::vector<std::int32_t> user_of_person(dataset.person_keys.size(), -1);
    const std::vector<std::int32_t>& person = dataset.person_of_user[d];
    for (std::size_t user = 0; user < person.size(); ++user) {
      user_of_person[person[user]] = static_cast<std::int32_t>(user);
    }
    file.write(dataset_format::person_path(dataset.domains[d].name), user_of_person, kCompressed);
  }
}

void write_extends(const std::vector<ExtendedDataset>& extends, Hdf5File& file) {
  std::vector<std::string> fingerprints;
  std::vector<std::int64_t> users, items, people;
  for (const ExtendedDataset& one : extends) {
    fingerprints.push_back(one.fingerprint);
    users.insert(users.end(), one.users.begin(), one.users.end());
    items.insert(items.end(), one.items.begin(), one.items.end());
    people.push_back(one.people);
  }
  const auto files = std::ssize(extends);
  const auto domains = std::ssize(extends.front().users);
  const std::string group = dataset_format::kExtends;
  file.write_text(group + "/fingerprint", fingerprints);
  file.write(group + "/users", users.data(), {files, domains});
  file.write(group + "/items", items.data(), {files, domains});
  file.write(group + "/people", people);
}

void check_shapes(const PreparedDataset& dataset) {
  CHECK_EQ(dataset.person_of_user.size(), dataset.domains.size());
  for (std::size_t d = 0; d < dataset.domains.size(); ++d) {
    const PreparedDomain& domain = dataset.domains[d];
    CHECK(dataset_format::is_valid_name(domain.name)) << domain.name;
    CHECK_EQ(domain.item.size(), domain.user.size());
    CHECK_EQ(domain.split.size(), domain.user.size());
    CHECK(domain.timestamp.empty() || domain.timestamp.size() == domain.user.size());
    CHECK_EQ(domain.new_users.size(), domain.user_keys.size());
    CHECK_EQ(domain.new_items.size(), domain.item_keys.size());
    CHECK_EQ(domain.cold_items.size(), domain.item_keys.size());
    CHECK_EQ(dataset.person_of_user[d].size(), domain.user_keys.size());
    CHECK(std::ranges::is_sorted(domain.features, {}, &FeatureTable::modality));
  }
}

}  // namespace

std::string write_dataset(const PreparedDataset& dataset, const std::string& path) {
  check_shapes(dataset);
  UnfinishedFile unfinished(path);
  Fingerprint fingerprint;
  {
    Hdf5File file = Hdf5File::create(unfinished.name());
    std::vector<std::string> names;
    for (const PreparedDomain& domain : dataset.domains) {
      write_domain(domain, file, fingerprint);
      names.push_back(domain.name);
    }
    write_people(dataset, file);
    if (!dataset.extends.empty()) write_extends(dataset.extends, file);
    file.set_attribute("/", "format", dataset_format::kFormat);
    file.set_attribute("/", "format_version", dataset_format::kVersion);
    file.set_attribute("/", "fingerprint", fingerprint.digits());
    file.set_attribute("/", "provenance", dataset.provenance);
    file.set_attribute("/", "domains", join(names, ","));
    file.set_attribute("/", "split", dataset.split_rule);
    file.set_attribute("/", "hold_out", dataset.hold_out);
    file.set_attribute("/", "core", dataset.core);
    file.set_attribute("/", "seed", dataset.seed);
    file.close();
  }
  unfinished.finish();
  return fingerprint.digits();
}

}  // namespace micrec
