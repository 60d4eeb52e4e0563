#include "data/batches.h"

#include <glog/logging.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "base/parallel.h"
#include "base/random.h"

namespace micrec {
namespace {

// After so many draws that hit the user's own items the rest is enumerated instead; reached only by
// users who have most of the catalogue.
constexpr std::uint32_t kNegativeDraws = 32;

std::optional<GlobalNode> draw_negative(const Random& random, std::int64_t position,
                                        const std::vector<GlobalNode>& eligible,
                                        const GlobalNode* owned_begin,
                                        const GlobalNode* owned_end) {
  if (eligible.empty()) return std::nullopt;
  const auto id = static_cast<std::uint64_t>(position);
  for (std::uint32_t draw = 0; draw < kNegativeDraws; ++draw) {
    const GlobalNode candidate = eligible[random.index(eligible.size(), id, draw)];
    if (!std::binary_search(owned_begin, owned_end, candidate)) return candidate;
  }
  std::vector<GlobalNode> allowed;
  std::set_difference(eligible.begin(), eligible.end(), owned_begin, owned_end,
                      std::back_inserter(allowed));
  if (allowed.empty()) return std::nullopt;
  return allowed[random.index(allowed.size(), id, kNegativeDraws)];
}

}  // namespace

void append_interactions(const NodeSpace& space, const Ownership& ownership, int rank, int domain,
                         const Interactions& interactions, TrainingShare& share) {
  CHECK_EQ(interactions.user.size(), interactions.item.size());
  for (std::size_t i = 0; i < interactions.user.size(); ++i) {
    const GlobalNode user = space.user(domain, interactions.user[i]);
    const bool own = ownership.owner[value(user)] == rank;
    if (user != share.last_user) {
      CHECK_LT(value(share.last_user), value(user)) << "interactions are not sorted by user";
      if (own) share.active.push_back(share.all_users);
      share.last_user = user;
      ++share.all_users;
    }
    if (own) {
      share.user.push_back(user);
      share.item.push_back(space.item(domain, interactions.item[i]));
      share.edge.push_back(share.all_edges);
    }
    ++share.all_edges;
  }
}

TrainingShare read_training_share(const DatasetFile& dataset, const NodeSpace& space,
                                  const Ownership& ownership, int rank) {
  TrainingShare share;
  for (int domain = 0; domain < space.domains(); ++domain) {
    dataset.for_each_chunk(domain, Split::train, [&](const Interactions& chunk) {
      append_interactions(space, ownership, rank, domain, chunk, share);
    });
  }
  share.user.shrink_to_fit();
  share.item.shrink_to_fit();
  share.edge.shrink_to_fit();
  return share;
}

std::vector<std::uint8_t> eligible_items(const DatasetFile& dataset, const NodeSpace& space) {
  std::vector<std::uint8_t> eligible(space.items(), 1);
  for (int domain = 0; domain < space.domains(); ++domain) {
    const auto fresh = dataset.new_items(domain);
    const auto cold = dataset.cold_items(domain);
    const Range items = space.items_of(domain);
    CHECK_EQ(std::ssize(fresh), items.size());
    for (std::int64_t i = 0; i < items.size(); ++i) {
      eligible[items.begin - space.users() + i] = fresh[i] == 0 && cold[i] == 0 ? 1 : 0;
    }
  }
  return eligible;
}

EpochSampler::EpochSampler(const NodeSpace& space, TrainingShare share,
                           const std::vector<std::uint8_t>& eligible, const SamplingConfig& config)
    : space_(space), share_(std::move(share)), config_(config) {
  const std::size_t count = share_.user.size();
  CHECK_EQ(share_.item.size(), count);
  CHECK_EQ(share_.edge.size(), count);
  CHECK_LE(count, static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()));
  CHECK_GE(share_.all_edges, 1) << "no training interactions";
  CHECK_GE(config_.batch_size, 1);
  CHECK_EQ(std::ssize(eligible), space_.items());

  for (std::size_t i = 0; i < count; ++i) {
    if (i == 0 || share_.user[i] != share_.user[i - 1]) {
      CHECK(i == 0 || value(share_.user[i - 1]) < value(share_.user[i]));
      first_.push_back(static_cast<std::int64_t>(i));
    } else {
      CHECK_LT(value(share_.item[i - 1]), value(share_.item[i])) << "a pair is not sorted or twice";
    }
  }
  first_.push_back(static_cast<std::int64_t>(count));
  CHECK_EQ(share_.active.size() + 1, first_.size());

  eligible_.resize(space_.domains());
  for (int domain = 0; domain < space_.domains(); ++domain) {
    const Range items = space_.items_of(domain);
    for (std::int64_t node = items.begin; node < items.end; ++node) {
      if (eligible[node - space_.users()] != 0) {
        eligible_[domain].push_back(GlobalNode(static_cast<std::int32_t>(node)));
      }
    }
  }
}

std::int64_t EpochSampler::steps_per_epoch() const {
  return share_.all_edges / config_.batch_size +
         (share_.all_edges % config_.batch_size > 0 ? 1 : 0);
}

std::int64_t EpochSampler::global_batch_rows(std::int64_t step_in_epoch) const {
  CHECK(0 <= step_in_epoch && step_in_epoch < steps_per_epoch());
  return std::min(config_.batch_size, share_.all_edges - step_in_epoch * config_.batch_size);
}

Range EpochSampler::history_around(std::int64_t own) const {
  // Histories are short and lie together: doubling steps from `own` touch less memory than a search
  // among all users.
  const GlobalNode user = share_.user[own];
  const auto users = share_.user.begin();
  std::int64_t before = own - 1;
  for (std::int64_t step = 1; before >= 0 && users[before] == user; step *= 2) before -= step;
  std::int64_t after = own + 1;
  const auto count = std::ssize(share_.user);
  for (std::int64_t step = 1; after < count && users[after] == user; step *= 2) after += step;
  const auto begin = std::lower_bound(users + std::max<std::int64_t>(before, 0), users + own, user);
  const auto end = std::upper_bound(users + own, users + std::min(after, count), user);
  return {begin - users, end - users};
}

void EpochSampler::lay_out_epoch(std::int64_t epoch) {
  if (epoch_ == epoch) return;
  const auto count = std::ssize(share_.edge);
  const Permutation permutation(share_.all_edges, config_.seed, Purpose::permutation,
                                static_cast<std::uint32_t>(epoch));
  std::vector<std::int32_t> step_of(count);
  parallel_for(count, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      step_of[i] =
          static_cast<std::int32_t>(permutation.position_of(share_.edge[i]) / config_.batch_size);
    }
  });
  of_step_ = places_by_number(step_of, steps_per_epoch());
  epoch_ = epoch;
}

std::vector<EpochSampler::Draw> EpochSampler::draws_by_permutation(std::int64_t epoch,
                                                                   std::int64_t step_in_epoch) {
  lay_out_epoch(epoch);
  const Permutation permutation(share_.all_edges, config_.seed, Purpose::permutation,
                                static_cast<std::uint32_t>(epoch));
  const std::span<const std::int32_t> of_step = of_step_.of(step_in_epoch);
  std::vector<Draw> draws;
  draws.reserve(of_step.size());
  for (const std::int64_t own : of_step) {
    draws.push_back({static_cast<std::int64_t>(permutation.position_of(share_.edge[own])), own});
  }
  std::ranges::sort(draws, [](const Draw& a, const Draw& b) { return a.position < b.position; });
  return draws;
}

std::vector<EpochSampler::Draw> EpochSampler::draws_by_user(std::int64_t epoch,
                                                            std::int64_t step_in_epoch) const {
  const Random random(config_.seed, Purpose::user_sampling, static_cast<std::uint32_t>(epoch));
  const std::int64_t begin = step_in_epoch * config_.batch_size;
  const std::int64_t end = begin + global_batch_rows(step_in_epoch);
  std::vector<Draw> draws;
  for (std::int64_t position = begin; position < end; ++position) {
    const auto drawn = static_cast<std::int64_t>(random.index(share_.all_users, position, 0));
    const auto found = std::lower_bound(share_.active.begin(), share_.active.end(), drawn);
    if (found == share_.active.end() || *found != drawn) continue;  // another rank's user
    const std::int64_t user = found - share_.active.begin();
    const std::int64_t degree = first_[user + 1] - first_[user];
    draws.push_back(
        {position, first_[user] + static_cast<std::int64_t>(random.index(degree, position, 1))});
  }
  return draws;
}

TripleBatch EpochSampler::batch(std::int64_t epoch, std::int64_t step_in_epoch) {
  CHECK_GE(epoch, 0);
  CHECK(0 <= step_in_epoch && step_in_epoch < steps_per_epoch()) << step_in_epoch;
  const std::vector<Draw> draws = config_.sampling == Sampling::interactions
                                      ? draws_by_permutation(epoch, step_in_epoch)
                                      : draws_by_user(epoch, step_in_epoch);
  const auto count = std::ssize(draws);
  TripleBatch batch;
  batch.user.resize(count);
  batch.positive.resize(count);
  batch.negative.resize(count);
  batch.domain.resize(count);
  batch.position.resize(count);
  batch.weight.resize(count);
  const Random random(config_.seed, Purpose::negatives,
                      static_cast<std::uint32_t>(epoch * steps_per_epoch() + step_in_epoch));
  parallel_for(count, 1 << 10, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto [position, own] = draws[i];
      const Range history = history_around(own);
      const int domain = space_.domain_of(share_.user[own]);
      const std::optional<GlobalNode> negative =
          draw_negative(random, position, eligible_[domain], share_.item.data() + history.begin,
                        share_.item.data() + history.end);
      batch.user[i] = share_.user[own];
      batch.positive[i] = share_.item[own];
      batch.negative[i] = negative.value_or(share_.item[own]);
      batch.domain[i] = domain;
      batch.position[i] = position;
      batch.weight[i] = negative ? 1.0F : 0.0F;
    }
  });
  return batch;
}

}  // namespace micrec
