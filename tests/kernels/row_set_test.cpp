#include "kernels/row_set.h"

#include <gtest/gtest.h>

namespace micrec {
namespace {

TEST(RowSet, KnowsItsMembersAndTheirPositions) {
  const RowSet set(200, {5, 64, 63, 199, 5, 128});
  EXPECT_EQ(set.size(), 5);
  EXPECT_EQ(set.universe(), 200);
  EXPECT_EQ(set.members(), (std::vector<std::int32_t>{5, 63, 64, 128, 199}));
  EXPECT_TRUE(set.contains(63));
  EXPECT_FALSE(set.contains(62));
  EXPECT_EQ(set.position(5), 0);
  EXPECT_EQ(set.position(64), 2);
  EXPECT_EQ(set.position(199), 4);
  EXPECT_EQ(set.position(100), 3) << "of another row: how many members are smaller";
}

TEST(RowSet, CanBeEmpty) {
  EXPECT_EQ(RowSet(0, std::vector<std::int32_t>{}).members().size(), 0U);
  const RowSet none(65, std::vector<std::int32_t>{});
  EXPECT_EQ(none.size(), 0);
  EXPECT_FALSE(none.contains(64));
}

}  // namespace
}  // namespace micrec
