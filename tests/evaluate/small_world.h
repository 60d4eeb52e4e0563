#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/text.h"
#include "data/dataset_file.h"
#include "data/dataset_writer.h"
#include "data/prepared_dataset.h"
#include "kernels/sparse_rows.h"
#include "model/step/shard.h"
#include "partition/node_space.h"
#include "partition/ownership.h"
#include "tests/support/temporary_folder.h"

namespace micrec {

struct WorldShape {
  std::vector<std::int64_t> users = {90, 60};
  std::vector<std::int64_t> items = {70, 110};
  bool hold_outs = true;
  bool modalities = true;
  bool valid_in_domain_1 = true;
  bool times = false;  // some of a person's are equal
};

/// A data set at random. Users of equal even number in two domains are one person; users whose
/// number ends in 9 have no test interaction unless it is with a cold item, and in domain 1 few
/// users have validation interactions.
inline PreparedDataset make_dataset(const WorldShape& shape) {
  PreparedDataset dataset;
  dataset.split_rule = "ratio:6:1:3";
  dataset.provenance = "a test";
  const Random random(11, Purpose::synthetic);
  const auto padded = [](std::int64_t number) {
    return std::to_string(1'000'000 + number).substr(1);
  };

  for (std::size_t d = 0; d < shape.users.size(); ++d) {
    const auto draw = [&](std::uint64_t id, std::uint32_t which) {
      return random.uniform(id * 8 + d, which);
    };
    PreparedDomain& domain = dataset.domains.emplace_back();
    domain.name = text("domain", d);
    for (std::int64_t u = 0; u < shape.users[d]; ++u) {
      domain.user_keys.push_back(u % 2 == 0 ? "p" + padded(u) : text("p", padded(u), "-", d));
      domain.new_users.push_back(shape.hold_outs && draw(u, 1) < 0.2);
    }
    for (std::int64_t i = 0; i < shape.items[d]; ++i) {
      domain.item_keys.push_back("i" + padded(i));
      const double fate = shape.hold_outs ? draw(i, 2) : 1;
      domain.cold_items.push_back(fate < 0.1);
      domain.new_items.push_back(fate >= 0.1 && fate < 0.3);
    }
    for (std::int32_t u = 0; u < shape.users[d]; ++u) {
      for (std::int32_t i = 0; i < shape.items[d]; ++i) {
        const std::uint64_t pair = static_cast<std::uint64_t>(u) * 1000 + i;
        // Small numbers are popular, so that all buckets of degrees occur.
        if (draw(pair, 3) > 0.6 / (1 + 0.15 * i)) continue;
        const double fate = draw(pair, 4);
        Split split = fate < 0.6 ? Split::train : fate < 0.75 ? Split::valid : Split::test;
        if (split == Split::test && u % 10 == 9) split = Split::train;
        if (split == Split::valid && d == 1 && (!shape.valid_in_domain_1 || u % 7 != 0)) {
          split = Split::train;
        }
        const bool hidden = domain.new_users[u] != 0 || domain.new_items[i] != 0;
        if (split == Split::train && hidden) split = Split::later;
        if (domain.cold_items[i] != 0) split = Split::test;
        domain.user.push_back(u);
        domain.item.push_back(i);
        domain.split.push_back(split);
        if (shape.times) domain.timestamp.push_back(random.index(12, pair, 9));
      }
    }
    const auto add_modality = [&](const std::string& name, std::int64_t width, double share) {
      FeatureTable& table = domain.features.emplace_back();
      table.modality = name;
      table.width = width;
      for (std::int64_t i = 0; i < shape.items[d]; ++i) {
        table.present.push_back(draw(i, 5 + static_cast<std::uint32_t>(width)) < share);
      }
      table.read = [present = table.present, width](std::int64_t begin, std::int64_t end,
                                                    float* out) {
        for (std::int64_t n = begin * width; n < end * width; ++n) *out++ = present[n / width];
      };
    };
    if (shape.modalities) add_modality("image", 3, 0.4);
    if (shape.modalities && d == 0) add_modality("text", 2, 0.8);
    dataset.person_keys.insert(dataset.person_keys.end(), domain.user_keys.begin(),
                               domain.user_keys.end());
  }
  std::vector<std::string>& people = dataset.person_keys;
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

/// A data set as it is read back from a file.
inline DatasetFile written(const PreparedDataset& dataset, const std::string& path) {
  write_dataset(dataset, path);
  return DatasetFile::open(path);
}

/// Owners at random; with several ranks the second owns nothing.
inline Ownership make_ownership(const NodeSpace& space, int ranks) {
  const Random random(12, Purpose::synthetic);
  Ownership ownership;
  ownership.ranks = ranks;
  for (std::int64_t node = 0; node < space.nodes(); ++node) {
    const auto owner = static_cast<std::int32_t>(random.index(ranks, node));
    ownership.owner.push_back(ranks > 1 && owner == 1 ? 0 : owner);
  }
  return ownership;
}

/// Rows of small whole numbers, so that many scores are equal and all are exact, or of any numbers.
/// (nodes, dim)
inline std::vector<float> make_embeddings(std::int64_t nodes, std::int64_t dim, bool whole) {
  const Random random(13, Purpose::synthetic);
  std::vector<float> values(nodes * dim);
  for (std::size_t n = 0; n < values.size(); ++n) {
    values[n] = whole ? static_cast<float>(random.index(3, n)) - 1
                      : static_cast<float>(random.normal(n)[0]);
  }
  return values;
}

/// The rows of one rank out of those of all nodes.
inline at::Tensor rows_of(const Ownership& ownership, int rank, const std::vector<float>& all,
                          std::int64_t dim) {
  std::vector<float> own;
  const std::vector<GlobalNode> nodes = ownership.nodes_of(rank);
  for (const GlobalNode node : nodes) {
    own.insert(own.end(), all.begin() + value(node) * dim, all.begin() + (value(node) + 1) * dim);
  }
  return at::tensor(own, at::kFloat).reshape({static_cast<std::int64_t>(nodes.size()), dim});
}

/// Coefficients of all items, (items of all domains) rows, which cross domains: of half of the rows
/// none, else of a tenth of all items; of small whole numbers or of any.
inline SparseRows make_coefficients(const NodeSpace& space, bool whole) {
  const Random random(14, Purpose::synthetic);
  const std::int64_t items = space.nodes() - space.users();
  SparseRows rows;
  for (std::int64_t target = 0; target < items; ++target) {
    for (std::int64_t source = 0; source < items; ++source) {
      const std::uint64_t id = target * items + source;
      if (target % 2 == 0 || source == target || random.index(10, id) > 0) continue;
      rows.column.push_back(static_cast<std::int32_t>(source));
      rows.value.push_back(whole ? static_cast<float>(random.index(3, id, 1)) - 1
                                 : static_cast<float>(random.normal(id, 1)[0]));
    }
    rows.offsets.push_back(static_cast<std::int64_t>(rows.column.size()));
  }
  return rows;
}

/// The coefficients of one rank's items out of those of all.
inline SparseRows coefficients_of(const NodeSpace& space, const Ownership& ownership, int rank,
                                  const SparseRows& all) {
  SparseRows own;
  for (const GlobalNode node : ownership.nodes_of(rank)) {
    if (space.is_user(node)) continue;
    const std::int64_t row = value(node) - space.users();
    own.column.insert(own.column.end(), all.column.begin() + all.offsets[row],
                      all.column.begin() + all.offsets[row + 1]);
    own.value.insert(own.value.end(), all.value.begin() + all.offsets[row],
                     all.value.begin() + all.offsets[row + 1]);
    own.offsets.push_back(static_cast<std::int64_t>(own.column.size()));
  }
  return own;
}

/// What a person interacted with in all domains, numbered over all of them; [user of a domain].
inline std::vector<std::set<std::int32_t>> histories_of(const PreparedDataset& dataset,
                                                        const NodeSpace& space, int domain,
                                                        bool with_later) {
  std::vector<std::set<std::int32_t>> of_person(dataset.person_keys.size());
  for (int d = 0; d < space.domains(); ++d) {
    const PreparedDomain& from = dataset.domains[d];
    for (std::int64_t n = 0; n < from.interactions(); ++n) {
      if (from.split[n] != Split::train && !(with_later && from.split[n] == Split::later)) continue;
      of_person[dataset.person_of_user[d][from.user[n]]].insert(
          static_cast<std::int32_t>(space.items_of(d).begin - space.users()) + from.item[n]);
    }
  }
  std::vector<std::set<std::int32_t>> of_user;
  for (const std::int32_t person : dataset.person_of_user[domain]) {
    of_user.push_back(of_person[person]);
  }
  return of_user;
}

/// The sum of an item's coefficients over a history, one addition after the other.
template <typename History>
float plain_sum(const SparseRows& coefficients, std::int64_t row, const History& history) {
  float sum = 0;
  for (std::int64_t n = coefficients.offsets[row]; n < coefficients.offsets[row + 1]; ++n) {
    const bool is_met = std::ranges::find(history, coefficients.column[n]) != history.end();
    if (is_met) sum += coefficients.value[n];
  }
  return sum;
}

}  // namespace micrec
