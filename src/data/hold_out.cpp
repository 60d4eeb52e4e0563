#include "data/hold_out.h"

#include <algorithm>
#include <cmath>
#include <compare>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "data/value_of_rank.h"

namespace micrec {
namespace {

constexpr std::pair<const char*, double HoldOutShares::*> kParts[] = {
    {"interactions", &HoldOutShares::interactions},
    {"users", &HoldOutShares::users},
    {"items", &HoldOutShares::items},
    {"cold_items", &HoldOutShares::cold_items},
};

/// Independent streams of Purpose::hold_out (as its time).
enum HoldOutStream : std::uint32_t { kCold = 1, kUsers = 2, kItems = 3, kInteractions = 4 };

struct Candidate {
  std::uint64_t random;
  std::int64_t number;
  auto operator<=>(const Candidate&) const = default;
};

/// The numbers of round(share * candidates) of them, those with the smallest random numbers.
std::vector<std::int64_t> choose(double share, std::vector<Candidate> candidates) {
  const auto count =
      static_cast<std::ptrdiff_t>(std::llround(share * static_cast<double>(candidates.size())));
  std::nth_element(candidates.begin(), candidates.begin() + count, candidates.end());
  std::vector<std::int64_t> chosen;
  for (std::ptrdiff_t i = 0; i < count; ++i) chosen.push_back(candidates[i].number);
  return chosen;
}

void hold_out_cold_items(double share, std::uint64_t seed, PreparedDomain& domain) {
  const Random random(seed, Purpose::hold_out, kCold);
  std::vector<Candidate> candidates;
  for (std::int64_t item = 0; item < domain.items(); ++item) {
    const bool described = domain.features.empty() ||
                           std::ranges::any_of(domain.features, [&](const FeatureTable& table) {
                             return table.present[item] != 0;
                           });
    if (described) candidates.push_back({random.first_word(item, domain.random_stream()), item});
  }
  for (const std::int64_t item : choose(share, std::move(candidates))) domain.cold_items[item] = 1;
  PackedReader<std::int32_t> item_of(domain.item);
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    if (domain.cold_items[item_of[i]] != 0) domain.split[i] = Split::test;
  }
}

void hold_out_people(double share, std::uint64_t seed, PreparedDataset& dataset) {
  const Random random(seed, Purpose::hold_out, kUsers);
  std::vector<Candidate> candidates;
  for (std::int64_t person = 0; person < dataset.people(); ++person) {
    candidates.push_back({random.first_word(person), person});
  }
  std::vector<std::uint8_t> is_new(dataset.people(), 0);
  for (const std::int64_t person : choose(share, std::move(candidates))) is_new[person] = 1;
  for (std::size_t d = 0; d < dataset.domains.size(); ++d) {
    PreparedDomain& domain = dataset.domains[d];
    for (std::int64_t user = 0; user < domain.users(); ++user) {
      domain.new_users[user] = is_new[dataset.person_of_user[d][user]];
    }
  }
}

void hold_out_items(double share, std::uint64_t seed, PreparedDomain& domain) {
  const Random random(seed, Purpose::hold_out, kItems);
  std::vector<Candidate> candidates;
  for (std::int64_t item = 0; item < domain.items(); ++item) {
    if (domain.cold_items[item] != 0) continue;
    candidates.push_back({random.first_word(item, domain.random_stream()), item});
  }
  for (const std::int64_t item : choose(share, std::move(candidates))) domain.new_items[item] = 1;
}

void hold_out_interactions(double share, std::uint64_t seed, PreparedDomain& domain) {
  const Random random(seed, Purpose::hold_out, kInteractions);
  PackedReader<std::int32_t> user(domain.user);
  PackedReader<std::int32_t> item(domain.item);
  const std::uint32_t stream = domain.random_stream();
  const auto for_each_candidate = [&](const auto& use) {
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      if (domain.split[i] != Split::train) continue;
      const std::uint64_t pair =
          static_cast<std::uint64_t>(user[i]) << 32 | static_cast<std::uint32_t>(item[i]);
      use({random.first_word(pair, stream), i});
    }
  };
  const std::int64_t count =
      std::llround(share * static_cast<double>(domain.interactions(Split::train)));
  if (count == 0) return;
  // As choose() does, but without a list of them.
  RankedValue last = value_of_rank(count - 1, [&](const auto& use) {
    for_each_candidate([&](const Candidate& one) { use(one.random); });
  });
  for_each_candidate([&](const Candidate& one) {
    const bool is_chosen =
        one.random < last.value || (one.random == last.value && last.among_equals-- >= 0);
    if (is_chosen) domain.split[one.number] = Split::later;
  });
}

}  // namespace

std::string HoldOutShares::to_string() const {
  std::vector<std::string> parts;
  for (const auto& [name, member] : kParts) {
    if (this->*member > 0) parts.push_back(text(name, ":", this->*member));
  }
  return join(parts, ",");
}

HoldOutShares parse_hold_out(const std::string& shares) {
  HoldOutShares parsed;
  std::set<std::string> given;
  for (const std::string& part : split(shares, ',')) {
    const std::size_t colon = part.find(':');
    const std::string name = part.substr(0, colon);
    const auto found = std::find_if(std::begin(kParts), std::end(kParts),
                                    [&](const auto& known) { return name == known.first; });
    const auto share =
        colon == std::string::npos ? std::nullopt : parse_real(part.substr(colon + 1));
    if (found == std::end(kParts) || !share || !(*share >= 0 && *share < 1)) {
      throw Error(Cause::usage, "--hold_out=", shares, ": cannot read '", part,
                  "'; expected interactions:0.2,users:0.2,items:0.2,cold_items:0.1 or some of "
                  "them, each share at least 0 and below 1.");
    }
    if (!given.insert(name).second) {
      throw Error(Cause::usage, "--hold_out=", shares, ": '", part, "' gives the share of ", name,
                  " a second time; give it once.");
    }
    parsed.*(found->second) = *share;
  }
  return parsed;
}

void apply_hold_outs(const HoldOutShares& shares, std::uint64_t seed, PreparedDataset& dataset) {
  if (!shares.any()) return;
  if (shares.cold_items > 0) {
    for (PreparedDomain& domain : dataset.domains) {
      hold_out_cold_items(shares.cold_items, seed, domain);
    }
  }
  if (shares.users > 0) hold_out_people(shares.users, seed, dataset);
  for (PreparedDomain& domain : dataset.domains) {
    if (shares.items > 0) hold_out_items(shares.items, seed, domain);
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      if (domain.split[i] != Split::train) continue;
      if (domain.new_users[domain.user[i]] != 0 || domain.new_items[domain.item[i]] != 0) {
        domain.split[i] = Split::later;
      }
    }
    if (shares.interactions > 0) hold_out_interactions(shares.interactions, seed, domain);
    if (domain.interactions(Split::train) == 0) {
      throw Error(Cause::data, "--hold_out=", shares.to_string(), " leaves the domain ",
                  domain.name, " without a training interaction (it has ", domain.interactions(),
                  " in all); use smaller shares.");
    }
  }
}

}  // namespace micrec
