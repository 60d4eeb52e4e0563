#include "partition/planning/grid_choice.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/support/expect_error.h"

namespace micrec {
namespace {

std::vector<std::string> names(const std::vector<ProcessGrid>& grids) {
  std::vector<std::string> names;
  for (const ProcessGrid& grid : grids) names.push_back(to_text(grid));
  return names;
}

GridChoice choose(const std::map<std::string, GridCost>& costs, double limit = 0) {
  const auto ranks = 4;
  return choose_grid(possible_grids(ranks, 64), limit, [&](ProcessGrid grid) {
    GridCost cost = costs.at(to_text(grid));
    cost.grid = grid;
    return cost;
  });
}

TEST(GridChoice, KnowsTheGridsThatRanksCanForm) {
  EXPECT_EQ(names(possible_grids(1, 64)), (std::vector<std::string>{"1x1"}));
  EXPECT_EQ(names(possible_grids(4, 64)), (std::vector<std::string>{"4x1", "2x2", "1x4"}));
  EXPECT_EQ(names(possible_grids(6, 64)), (std::vector<std::string>{"6x1", "3x2"}));
  EXPECT_EQ(names(possible_grids(8, 6)), (std::vector<std::string>{"8x1", "4x2"}));
  EXPECT_EQ(names(possible_grids(7, 64)), (std::vector<std::string>{"7x1"}));
  EXPECT_EQ(names(possible_grids(1024, 64)).back(), "16x64");
}

TEST(GridChoice, TakesTheShortestStep) {
  const GridChoice choice =
      choose({{"4x1", {{}, 3, 100, 9}}, {"2x2", {{}, 2, 100, 5}}, {"1x4", {{}, 2.5, 100, 1}}});
  EXPECT_EQ(to_text(choice.grid), "2x2");
  EXPECT_TRUE(choice.fits);
  expect_has(choice.reason, {"2x2 has the shortest predicted step", "next is 1x4"});
  EXPECT_EQ(choice.costs.size(), 3U);
}

TEST(GridChoice, PrefersRowPartsWhereStepsAreAlike) {
  const GridChoice choice =
      choose({{"4x1", {{}, 2.02, 1, 1}}, {"2x2", {{}, 2.01, 1, 1}}, {"1x4", {{}, 2, 1, 1}}});
  EXPECT_EQ(to_text(choice.grid), "4x1");
}

TEST(GridChoice, PassesOverWhatDoesNotFit) {
  const std::map<std::string, GridCost> costs = {
      {"4x1", {{}, 3, 100, 9}}, {"2x2", {{}, 2, 200, 5}}, {"1x4", {{}, 1, 300, 1}}};
  EXPECT_EQ(to_text(choose(costs, 250).grid), "2x2");
  EXPECT_EQ(to_text(choose(costs, 100).grid), "4x1");
  const GridChoice none = choose(costs, 99);
  EXPECT_FALSE(none.fits);
  EXPECT_EQ(to_text(none.grid), "4x1") << "the one that needs least";
}

}  // namespace
}  // namespace micrec
