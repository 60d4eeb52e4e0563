#include "partition/process_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

void expect_refused(const std::string& grid, int ranks, int dim,
                    const std::vector<std::string>& words) {
  expect_error(Cause::usage, words, [&] { parse_grid(grid, ranks, dim); });
}

TEST(ProcessGrid, IsReadAsRowsTimesColumns) {
  const ProcessGrid grid = parse_grid("4x2", 8, 64);
  EXPECT_EQ(grid.rows, 4);
  EXPECT_EQ(grid.columns, 2);
  EXPECT_EQ(to_text(grid), "4x2");
  EXPECT_EQ(parse_grid("1x1", 1, 63).ranks(), 1);
  EXPECT_EQ(parse_grid("1x64", 64, 64).columns, 64);
}

TEST(ProcessGrid, RefusesWhatIsNoGridOfTheseRanks) {
  for (const std::string word : {"", "4", "4x", "x2", "0x2", "-1x-2", "2x2x2", "axb"}) {
    expect_refused(word, 4, 64, {"--grid=" + word, "RxC"});
  }
  expect_refused("2x2", 3, 64, {"2 x 2", "3 ranks", "--grid"});
  expect_refused("4294967296x4294967296", 4, 64, {"--grid"});
}

TEST(ProcessGrid, RefusesColumnPartsThatAreNoSubtrees) {
  expect_refused("1x3", 3, 63, {"--dim=63", "cut in 1 "});
  expect_refused("1x3", 3, 48, {"1, 2, 4, 8, 16"});
  expect_refused("1x8", 8, 12, {"1, 2, 4"});
  expect_refused("1x128", 128, 1024, {"at most 64"});
}

TEST(ProcessGrid, NumbersTheRanksOfARowPartSideBySide) {
  const ProcessGrid grid{3, 4};
  for (int rank = 0; rank < 12; ++rank) {
    EXPECT_EQ(grid.rank_of(grid.row_part(rank), grid.column_part(rank)), rank);
  }
  EXPECT_EQ(grid.row_part(3), grid.row_part(0));
  EXPECT_EQ(grid.column_part(4), grid.column_part(0));
}

TEST(ProcessGrid, CutsTheColumnsInEqualWholeSubtrees) {
  for (const int dim : {1, 12, 63, 64, 100, 4096}) {
    const int leaves = column_leaves(dim);
    EXPECT_EQ(dim % leaves, 0);
    for (int columns = 1; columns <= leaves; columns *= 2) {
      std::int64_t next = 0;
      for (int part = 0; part < columns; ++part) {
        const Range own = columns_of({1, columns}, dim, part);
        EXPECT_EQ(own.begin, next);
        EXPECT_EQ(own.size() % (dim / leaves), 0);
        next = own.end;
      }
      EXPECT_EQ(next, dim);
    }
  }
}

struct OverlappingWorld {
  NodeSpace space{{40, 60}, {30, 0}};
  People people{70, {}};
  OverlappingWorld() {  // the first 30 people of both domains are the same
    for (std::int32_t user = 0; user < 100; ++user) {
      people.person.push_back(user < 40 ? user : user - 40 < 30 ? user - 40 : user - 30);
    }
  }
};

TEST(Layout, KeepsWhatARankHasWholeWithinItsRowPart) {
  const OverlappingWorld world;
  for (const ProcessGrid grid : {ProcessGrid{1, 1}, {1, 4}, {3, 2}, {2, 1}}) {
    const Layout layout = make_layout(world.space, world.people,
                                      assign_by_hash(world.space, world.people, grid.rows), grid);
    EXPECT_EQ(layout.rows.ranks, grid.rows);
    EXPECT_EQ(layout.whole.ranks, grid.ranks());
    EXPECT_EQ(layout.rows.owner, layout.summands.owner);
    std::vector<std::int64_t> users(grid.ranks()), items(grid.ranks());
    std::vector<std::int32_t> rank_of_person(world.people.count, -1);
    for (std::int64_t node = 0; node < world.space.nodes(); ++node) {
      const std::int32_t rank = layout.whole.owner[node];
      EXPECT_EQ(grid.row_part(rank), layout.rows.owner[node]);
      if (node >= world.space.users()) {
        ++items[rank];
        continue;
      }
      std::int32_t& of_person = rank_of_person[world.people.person[node]];
      if (of_person < 0) {
        of_person = rank;
        ++users[rank];
      }
      EXPECT_EQ(of_person, rank) << "people stay together";
    }
    for (int row = 0; row < grid.rows; ++row) {
      for (const std::vector<std::int64_t>& counts : {users, items}) {
        const auto first = counts.begin() + row * grid.columns;
        const auto [least, most] = std::minmax_element(first, first + grid.columns);
        EXPECT_LE(*most - *least, 1) << "a row part's people and items are shared out evenly";
      }
    }
  }
}

TEST(Layout, GivesARowPartWholeSummandsWhateverTheGrid) {
  const OverlappingWorld world;
  const Ownership summands = assign_by_hash(world.space, world.people, 7);
  for (const int rows : {1, 2, 3, 7}) {
    const Layout layout =
        make_layout(world.space, world.people, summands, {rows, 2}, /*reproducible=*/true);
    EXPECT_EQ(layout.summands.owner, summands.owner);
    std::int64_t next = 0;
    for (int part = 0; part < rows; ++part) {
      const Range own = summands_of(layout, part);
      EXPECT_EQ(own.begin, next);
      EXPECT_GE(own.size(), 1);
      next = own.end;
      for (std::int64_t node = 0; node < world.space.nodes(); ++node) {
        EXPECT_EQ(layout.rows.owner[node] == part, own.contains(summands.owner[node]));
      }
    }
    EXPECT_EQ(next, 7);
  }
}

}  // namespace
}  // namespace micrec
