#include "tests/support/later_world.h"

#include <map>
#include <utility>

#include "data/dataset_writer.h"
#include "tests/support/feature_file.h"

namespace micrec {
namespace {

struct Divided {
  PreparedDomain known;
  RawDomain later;
};

/// What a table has of some items.
FeatureTable part_of(const FeatureTable& table, const std::vector<std::int64_t>& items) {
  FeatureTable part;
  part.modality = table.modality;
  part.width = table.width;
  for (const std::int64_t item : items) part.present.push_back(table.present[item]);
  part.read = [table, items](std::int64_t begin, std::int64_t end, float* out) {
    for (std::int64_t n = begin; n < end; ++n, out += table.width) {
      table.read(items[n], items[n] + 1, out);
    }
  };
  return part;
}

Divided divide(const PreparedDomain& domain) {
  Divided divided;
  PreparedDomain& known = divided.known;
  known.name = divided.later.name = domain.name;
  std::vector<std::int32_t> user_now(domain.users(), -1), item_now(domain.items(), -1);
  for (std::int64_t user = 0; user < domain.users(); ++user) {
    if (domain.new_users[user] != 0) continue;
    user_now[user] = static_cast<std::int32_t>(known.user_keys.size());
    known.user_keys.push_back(domain.user_keys[user]);
  }
  std::vector<std::int64_t> items;
  for (std::int64_t item = 0; item < domain.items(); ++item) {
    if (domain.new_items[item] + domain.cold_items[item] != 0) continue;
    item_now[item] = static_cast<std::int32_t>(items.size());
    items.push_back(item);
    known.item_keys.push_back(domain.item_keys[item]);
  }
  known.new_users.assign(known.user_keys.size(), 0);
  known.new_items.assign(items.size(), 0);
  known.cold_items.assign(items.size(), 0);
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    const std::int32_t user = domain.user[i];
    const std::int32_t item = domain.item[i];
    if (domain.split[i] == Split::later) {
      divided.later.user.push_back(divided.later.users.add(domain.user_keys[user]));
      divided.later.item.push_back(divided.later.items.add(domain.item_keys[item]));
    } else if (user_now[user] >= 0 && item_now[item] >= 0) {
      known.user.push_back(user_now[user]);
      known.item.push_back(item_now[item]);
      known.split.push_back(domain.split[i]);
    }
  }
  for (const FeatureTable& table : domain.features) {
    known.features.push_back(part_of(table, items));
  }
  return divided;
}

void write_features_of_new(const PreparedDomain& domain, const std::string& folder,
                           std::vector<FeatureInput>& inputs) {
  for (const FeatureTable& table : domain.features) {
    std::vector<std::string> keys;
    std::vector<float> values;
    for (std::int64_t item = 0; item < domain.items(); ++item) {
      const bool is_known = domain.new_items[item] + domain.cold_items[item] == 0;
      if (is_known || table.present[item] == 0) continue;
      keys.push_back(domain.item_keys[item]);
      values.resize(values.size() + table.width);
      table.read(item, item + 1, values.data() + values.size() - table.width);
    }
    const std::string path = folder + "/" + table.modality + "-" + domain.name + ".h5";
    write_feature_file(path, keys, table.width, values.data());
    inputs.push_back({table.modality, domain.name, path});
  }
}

}  // namespace

std::vector<NodeName> names_of_nodes(const DatasetFile& dataset) {
  std::vector<NodeName> names;
  const auto domains = static_cast<int>(dataset.domains().size());
  for (int d = 0; d < domains; ++d) {
    for (const std::string& key : dataset.user_keys(d)) names.emplace_back(d, "user", key);
  }
  for (int d = 0; d < domains; ++d) {
    for (const std::string& key : dataset.item_keys(d)) names.emplace_back(d, "item", key);
  }
  return names;
}

ModelConfig small_config(ModelKind kind) {
  ModelConfig config;
  config.kind = kind;
  config.dim = 8;
  config.layers = 2;
  config.semantic_neighbors = 3;
  config.modalities = {"image", "text"};
  return config;
}

LaterWorld write_later_world(const SmallWorld& world, const std::string& folder) {
  LaterWorld later;
  PreparedDataset known;
  known.provenance = "a test";
  for (const PreparedDomain& domain : make_small_world(world).domains) {
    Divided divided = divide(domain);
    known.domains.push_back(std::move(divided.known));
    later.interactions.push_back(std::move(divided.later));
    write_features_of_new(domain, folder, later.features);
  }
  std::map<std::string, std::int32_t> people;
  for (const PreparedDomain& domain : known.domains) {
    for (const std::string& key : domain.user_keys) people.emplace(key, 0);
  }
  for (auto& [key, number] : people) {
    number = static_cast<std::int32_t>(known.person_keys.size());
    known.person_keys.push_back(key);
  }
  for (const PreparedDomain& domain : known.domains) {
    std::vector<std::int32_t>& person = known.person_of_user.emplace_back();
    for (const std::string& key : domain.user_keys) person.push_back(people.at(key));
  }
  later.known = folder + "/known.h5";
  write_dataset(known, later.known);
  return later;
}

}  // namespace micrec
