#include <algorithm>
#include <cstring>
#include <vector>

#include "data/dataset_file.h"
#include "data/partition_file.h"
#include "tests/fuzz/reader.h"

namespace micrec::fuzz {
namespace {

constexpr std::int64_t kBlockItems = 64;

/// As training reads it: what does not matter to a model is not compared with the fingerprint.
void read_parts(const DatasetFile& file, int domain) {
  const DomainInfo& info = file.domains()[static_cast<std::size_t>(domain)];
  const auto expect_rows = [](std::size_t got, std::int64_t expected) {
    if (static_cast<std::int64_t>(got) != expected)
      throw std::logic_error("another number of rows than the file was said to have");
  };
  expect_rows(file.user_keys(domain).size(), info.users);
  expect_rows(file.item_keys(domain).size(), info.items);
  expect_rows(file.new_users(domain).size(), info.users);
  expect_rows(file.new_items(domain).size(), info.items);
  expect_rows(file.cold_items(domain).size(), info.items);
  for (const std::int32_t person : file.person_of_user(domain)) {
    if (person < 0 || person >= file.people()) throw std::logic_error("a person that is not there");
  }
  for (const Split split : {Split::train, Split::valid, Split::test, Split::later}) {
    const Interactions all = file.read(domain, split);
    expect_rows(all.user.size(), info.interactions[static_cast<int>(split)]);
    expect_rows(all.item.size(), info.interactions[static_cast<int>(split)]);
    for (std::size_t i = 0; i < all.user.size(); ++i) {
      if (all.user[i] < 0 || all.user[i] >= info.users || all.item[i] < 0 ||
          all.item[i] >= info.items)
        throw std::logic_error("a pair that is not of the domain");
    }
  }
  for (const ModalityInfo& modality : info.modalities) {
    expect_rows(file.features_present(domain, modality.name).size(), info.items);
    for (std::int64_t begin = 0; begin < info.items; begin += kBlockItems) {
      const std::int64_t end = std::min(info.items, begin + kBlockItems);
      expect_all_written("a row of features", [&](std::uint8_t fill) {
        std::vector<float> values(static_cast<std::size_t>((end - begin) * modality.width));
        std::memset(values.data(), fill, values.size() * sizeof(float));
        file.read_features(domain, modality.name, begin, end, values.data());
        const char* const bytes = reinterpret_cast<const char*>(values.data());
        return std::string(bytes, values.size() * sizeof(float));
      });
    }
  }
}

void read_dataset(const std::string& path, int variant) {
  const DatasetFile file = DatasetFile::open(path);
  if (variant == 0) {
    file.verify();
    return;
  }
  for (std::size_t d = 0; d < file.domains().size(); ++d) read_parts(file, static_cast<int>(d));
}

/// A dataset, and its nodes in one row, that partition files are for.
struct Partitioned {
  DatasetFile file = DatasetFile::open(MICREC_SOURCE_DIR "/tests/fuzz/seeds/dataset/prepared.h5");
  NodeSpace space{{file.domains()[0].users}, {file.domains()[0].items}};
  People people{file.people(), file.person_of_user(0)};
};

/// Variant 1 counts the parts, as a run does to choose its grid.
void read_partition(const std::string& path, int variant) {
  static const Partitioned of;
  constexpr int kParts = 2;
  if (variant == 1) {
    if (count_parts(path) < 0) throw std::logic_error("less than no parts");
    return;
  }
  const Ownership ownership = read_partition_file(path, of.file, of.space, of.people, kParts);
  if (static_cast<std::int64_t>(ownership.owner.size()) != of.space.nodes())
    throw std::logic_error("another number of owners than nodes");
  for (const std::int32_t part : ownership.owner) {
    if (part < 0 || part >= kParts) throw std::logic_error("a part that is not there");
  }
}

}  // namespace

const Reader& dataset() {
  static const Reader reader = {"dataset", "dataset.h5", 2, false, read_dataset};
  return reader;
}

const Reader& partition() {
  static const Reader reader = {"partition", "parts.csv", 2, false, read_partition};
  return reader;
}

}  // namespace micrec::fuzz
