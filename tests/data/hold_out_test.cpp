#include "data/hold_out.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

PreparedDataset world(const std::string& shares, bool with_features = false,
                      std::uint64_t seed = 0) {
  PreparationOptions options;
  options.hold_out = parse_hold_out(shares);
  options.seed = seed;
  return prepare_quietly(random_world(), options,
                         with_features ? FeatureReader(telling_features) : kNoFeatures);
}

std::int64_t ones(const std::vector<std::uint8_t>& flags) {
  return std::count(flags.begin(), flags.end(), std::uint8_t{1});
}

TEST(HoldOutShares, ReadWhatTheyWrite) {
  for (const char* shares :
       {"", "users:0.2", "interactions:0.2,users:0.2,items:0.2,cold_items:0.1"}) {
    EXPECT_EQ(parse_hold_out(shares).to_string(), shares);
  }
  EXPECT_EQ(parse_hold_out("items:0,users:0.25").to_string(), "users:0.25");
}

TEST(HoldOutShares, RefuseWhatTheyCannotRead) {
  for (const char* wrong : {"users", "users:", "users:1", "users:-0.1", "users:20%", "people:0.2",
                            "users:0.2,,items:0.1", "users:nan"}) {
    expect_error(Cause::usage, {"--hold_out", "cold_items:0.1"}, [&] { parse_hold_out(wrong); });
  }
}

TEST(HoldOutShares, RefuseAShareThatIsGivenTwice) {
  for (const char* wrong : {"users:0.2,users:0.3", "users:0.2,items:0.1,users:0.2"}) {
    expect_error(Cause::usage, {"--hold_out=", wrong, "the share of users a second time"},
                 [&] { parse_hold_out(wrong); });
  }
}

TEST(HoldOut, TakesPeopleInAllTheirDomains) {
  const PreparedDataset plain = world("");
  const PreparedDataset held = world("users:0.2");
  std::vector<int> seen(held.people(), -1);
  for (std::size_t d = 0; d < held.domains.size(); ++d) {
    const PreparedDomain& domain = held.domains[d];
    EXPECT_EQ(ones(domain.new_items) + ones(domain.cold_items), 0);
    for (std::int64_t user = 0; user < domain.users(); ++user) {
      int& of_person = seen[held.person_of_user[d][user]];
      if (of_person >= 0) {
        EXPECT_EQ(of_person, domain.new_users[user]);
      }
      of_person = domain.new_users[user];
    }
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      const Split before = plain.domains[d].split[i];
      const bool is_new = domain.new_users[domain.user[i]] != 0;
      EXPECT_EQ(domain.split[i], is_new && before == Split::train ? Split::later : before);
    }
    EXPECT_GT(domain.interactions(Split::later), 0);
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1),
            std::llround(0.2 * static_cast<double>(held.people())));
}

TEST(HoldOut, TakesItemsOfEachDomain) {
  const PreparedDataset plain = world("");
  const PreparedDataset held = world("items:0.25");
  for (std::size_t d = 0; d < held.domains.size(); ++d) {
    const PreparedDomain& domain = held.domains[d];
    EXPECT_EQ(ones(domain.new_items), std::llround(0.25 * static_cast<double>(domain.items())));
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      const Split before = plain.domains[d].split[i];
      const bool is_new = domain.new_items[domain.item[i]] != 0;
      EXPECT_EQ(domain.split[i], is_new && before == Split::train ? Split::later : before);
    }
  }
}

TEST(HoldOut, TakesInteractionsOfTraining) {
  const PreparedDataset plain = world("");
  const PreparedDataset held = world("interactions:0.2");
  for (std::size_t d = 0; d < held.domains.size(); ++d) {
    const PreparedDomain& domain = held.domains[d];
    const std::int64_t training = plain.domains[d].interactions(Split::train);
    EXPECT_EQ(domain.interactions(Split::later), std::llround(0.2 * static_cast<double>(training)));
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      if (domain.split[i] == Split::later) {
        EXPECT_EQ(plain.domains[d].split[i], Split::train);
      } else {
        EXPECT_EQ(plain.domains[d].split[i], domain.split[i]);
      }
    }
  }
}

TEST(HoldOut, LeavesColdItemsOnlyTestInteractions) {
  for (const bool with_features : {false, true}) {
    const PreparedDataset held = world("cold_items:0.1", with_features);
    for (const PreparedDomain& domain : held.domains) {
      std::int64_t candidates = domain.items();
      if (with_features) candidates = ones(domain.features[0].present);
      EXPECT_EQ(ones(domain.cold_items), std::llround(0.1 * static_cast<double>(candidates)));
      for (std::int64_t item = 0; item < domain.items(); ++item) {
        if (with_features && domain.cold_items[item] != 0) {
          EXPECT_EQ(domain.features[0].present[item], 1);
        }
      }
      std::int64_t cold_interactions = 0;
      for (std::int64_t i = 0; i < domain.interactions(); ++i) {
        if (domain.cold_items[domain.item[i]] == 0) continue;
        EXPECT_EQ(domain.split[i], Split::test);
        ++cold_interactions;
      }
      EXPECT_GT(cold_interactions, 0);
    }
  }
}

TEST(HoldOut, PartsCombineAndLeaveEachOthersChoicesAlone) {
  const std::string all = "interactions:0.2,users:0.2,items:0.2,cold_items:0.1";
  const PreparedDataset held = world(all);
  const PreparedDataset people_only = world("users:0.2");
  const PreparedDataset cold_only = world("cold_items:0.1");
  EXPECT_EQ(held.hold_out, all);
  for (std::size_t d = 0; d < held.domains.size(); ++d) {
    const PreparedDomain& domain = held.domains[d];
    EXPECT_EQ(domain.new_users, people_only.domains[d].new_users);
    EXPECT_EQ(domain.cold_items, cold_only.domains[d].cold_items);
    for (std::int64_t item = 0; item < domain.items(); ++item) {
      EXPECT_LE(domain.new_items[item] + domain.cold_items[item], 1);
    }
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      if (domain.split[i] == Split::train) {
        EXPECT_EQ(domain.new_users[domain.user[i]], 0);
        EXPECT_EQ(domain.new_items[domain.item[i]], 0);
        EXPECT_EQ(domain.cold_items[domain.item[i]], 0);
      }
    }
    EXPECT_GT(domain.interactions(Split::train), 0);
  }
}

TEST(HoldOut, DependsOnTheSeed) {
  EXPECT_EQ(world("users:0.2", false, 1).domains[0].new_users,
            world("users:0.2", false, 1).domains[0].new_users);
  EXPECT_NE(world("users:0.2", false, 1).domains[0].new_users,
            world("users:0.2", false, 2).domains[0].new_users);
}

TEST(HoldOut, RefusesToLeaveNoTraining) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("tiny", {{"u", "a", 1}, {"u", "b", 2}}));
  PreparationOptions options;
  options.hold_out = parse_hold_out("users:0.9");
  expect_error(Cause::data, {"tiny", "without a training interaction", "smaller shares"},
               [&] { prepare_quietly(std::move(raw), options); });
}

}  // namespace
}  // namespace micrec
