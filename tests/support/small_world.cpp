#include "tests/support/small_world.h"

#include <algorithm>

#include "base/random.h"
#include "base/text.h"
#include "data/dataset_writer.h"

namespace micrec {
namespace {

/// What a random number is for.
enum Draw : std::uint32_t {
  kNewPerson,
  kItemFate,
  kInteracts,
  kSplit,
  kLater,
  kMissing,
  kFeature,
  kTime = 1000
};

std::string numbered(const char* letter, std::int64_t number) {
  return letter + std::to_string(10'000 + number).substr(1);
}

bool is_shared(const SmallWorld& world, std::int64_t user) {
  return world.domains > 1 && user < world.users / 2;
}

/// Shared people stay away from one of three domains or more, in turn.
bool is_in_domain(const SmallWorld& world, std::int64_t user, int domain) {
  return world.domains < 3 || !is_shared(world, user) || user % (world.domains + 1) != domain;
}

FeatureTable make_features(const SmallWorld& world, const PreparedDomain& domain, int number,
                           std::size_t modality) {
  const auto& [name, width] = world.modalities[modality];
  FeatureTable table;
  table.modality = name;
  table.width = width;
  const Random random(world.seed, Purpose::synthetic, 100 + static_cast<std::uint32_t>(modality));
  std::vector<float> values;
  for (std::int64_t item = 0; item < domain.items(); ++item) {
    const std::uint64_t id = static_cast<std::uint64_t>(item) * 8 + number;
    const bool unknown = item + 1 == domain.items();
    const bool needed = domain.cold_items[item] != 0 && modality == 0;
    const bool lacks = random.uniform(id, kMissing) < world.missing;
    const bool present = !unknown && (needed || !lacks) && !world.masked.contains(name);
    table.present.push_back(present ? 1 : 0);
    for (std::int64_t column = 0; column < width; ++column) {
      const double value = 0.4 * static_cast<double>(column) - 0.7 +
                           random.normal(id, kFeature + static_cast<std::uint32_t>(column))[0] *
                               (1 + static_cast<double>(column % 3));
      const bool flat = world.flat_columns.contains(static_cast<int>(column));
      values.push_back(present ? static_cast<float>((flat ? 0.25 : value) * world.unit) : 0.0F);
    }
  }
  table.read = [values, width](std::int64_t begin, std::int64_t end, float* out) {
    std::copy(values.begin() + begin * width, values.begin() + end * width, out);
  };
  return table;
}

PreparedDomain make_domain(const SmallWorld& world, int number) {
  const Random random(world.seed, Purpose::synthetic, static_cast<std::uint32_t>(number));
  const Random of_people(world.seed, Purpose::synthetic, 99);
  PreparedDomain domain;
  domain.name = text("domain", number);
  std::vector<std::int64_t> person;  // of each user
  for (std::int64_t user = 0; user < world.users; ++user) {
    if (!is_in_domain(world, user, number)) continue;
    const bool shared = is_shared(world, user);
    domain.user_keys.push_back(shared ? numbered("p", user)
                                      : numbered("q", user) + text("-", number));
    const bool is_new = shared ? of_people.uniform(user, kNewPerson) < 0.15
                               : random.uniform(user, kNewPerson) < 0.15;
    domain.new_users.push_back(world.hold_outs && is_new && user > 4 && user + 1 < world.users);
    person.push_back(user);
  }
  for (std::int64_t item = 0; item < world.items; ++item) {
    domain.item_keys.push_back(numbered("i", item) + text("-", number));
    const double fate = random.uniform(item, kItemFate);
    const bool known = !world.hold_outs || item + 1 == world.items || item < 2;
    domain.cold_items.push_back(!known && fate < 0.15);
    domain.new_items.push_back(!known && fate >= 0.15 && fate < 0.3);
  }
  for (std::size_t u = 0; u < person.size(); ++u) {
    const bool lone = person[u] + 1 == world.users;
    const bool elsewhere_only = is_shared(world, person[u]) &&
                                (number == 0 ? person[u] == 1 || person[u] == 4
                                             : number + 1 == world.domains && person[u] == 2);
    for (std::int64_t item = 0; item + 1 < world.items; ++item) {
      const std::uint64_t pair = static_cast<std::uint64_t>(person[u]) * 1000 + item;
      const double popularity = (0.12 + 0.5 / (1 + 0.3 * static_cast<double>(item))) /
                                (1 + 0.25 * static_cast<double>(number));
      const bool favourite = item == static_cast<std::int64_t>(u) % 2;
      if (!favourite && random.uniform(pair, kInteracts) > popularity) continue;
      const double fate = random.uniform(pair, kSplit);
      Split split = favourite || fate < 0.7 ? Split::train
                    : fate < 0.8            ? Split::valid
                                            : Split::test;
      const bool held_out = domain.new_users[u] != 0 || domain.new_items[item] != 0 ||
                            (world.hold_outs && !favourite && random.uniform(pair, kLater) < 0.1);
      if (split == Split::train && held_out) split = Split::later;
      if (lone || elsewhere_only || domain.cold_items[item] != 0) split = Split::test;
      if (split == Split::later && !world.later_interactions) continue;
      domain.user.push_back(static_cast<std::int32_t>(u));
      domain.item.push_back(static_cast<std::int32_t>(item));
      domain.split.push_back(split);
      if (world.times) domain.timestamp.push_back(random.index(9, pair, kTime));
    }
  }
  for (std::size_t modality = 0; modality < world.modalities.size(); ++modality) {
    const bool poor = world.domains >= 3 && number + 1 == world.domains;
    if (poor && modality > 0) continue;
    domain.features.push_back(make_features(world, domain, number, modality));
  }
  return domain;
}

}  // namespace

PreparedDataset make_small_world(const SmallWorld& world) {
  PreparedDataset dataset;
  dataset.provenance = "a test";
  dataset.seed = world.seed;
  std::vector<std::string>& people = dataset.person_keys;
  for (int number = 0; number < world.domains; ++number) {
    dataset.domains.push_back(make_domain(world, number));
    const std::vector<std::string>& keys = dataset.domains.back().user_keys;
    people.insert(people.end(), keys.begin(), keys.end());
  }
  std::sort(people.begin(), people.end());
  people.erase(std::unique(people.begin(), people.end()), people.end());
  for (const PreparedDomain& domain : dataset.domains) {
    std::vector<std::int32_t>& person = dataset.person_of_user.emplace_back();
    for (const std::string& key : domain.user_keys) {
      person.push_back(static_cast<std::int32_t>(
          std::lower_bound(people.begin(), people.end(), key) - people.begin()));
    }
  }
  return dataset;
}

DatasetFile write_small_world(const SmallWorld& world, const std::string& path) {
  write_dataset(make_small_world(world), path);
  return DatasetFile::open(path);
}

}  // namespace micrec
