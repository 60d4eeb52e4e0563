#include "report/axis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

namespace micrec {
namespace {

std::vector<std::string> labels(const Axis& axis) {
  std::vector<std::string> labels;
  for (const double tick : axis.ticks()) labels.push_back(axis.label(tick));
  return labels;
}

using Labels = std::vector<std::string>;

TEST(Axis, HasRoundTicks) {
  EXPECT_EQ(labels(Axis(Scale::from_zero, {0.176}, 6)),
            (Labels{"0.00", "0.05", "0.10", "0.15", "0.20"}));
  EXPECT_EQ(labels(Axis(Scale::linear, {0.0605, 0.0610}, 6)),
            (Labels{"0.0605", "0.0606", "0.0607", "0.0608", "0.0609", "0.0610"}));
  EXPECT_EQ(labels(Axis(Scale::from_zero, {52'000}, 6)), (Labels{"0", "20k", "40k", "60k"}));
  EXPECT_EQ(labels(Axis(Scale::from_zero, {-3, 8}, 6)), (Labels{"-5", "0", "5", "10"}));
  EXPECT_EQ(labels(Axis::of_steps(0, 360, 6)), (Labels{"0", "100", "200", "300"}));
  EXPECT_EQ(labels(Axis::of_steps(0, 1, 6)), (Labels{"0", "1"}));
  EXPECT_EQ(labels(Axis(Scale::log, {0.0006, 0.7}, 6)),
            (Labels{"0.001", "0.003", "0.01", "0.03", "0.1", "0.3"}));
  EXPECT_EQ(labels(Axis(Scale::log, {0.02, 0.5}, 6)),
            (Labels{"0.02", "0.05", "0.1", "0.2", "0.5"}));
}

TEST(Axis, GivesALoneValueRoom) {
  for (const Scale scale : {Scale::from_zero, Scale::linear, Scale::log}) {
    const Axis axis(scale, {0.06}, 6);
    EXPECT_GE(axis.ticks().size(), 2u);
    EXPECT_GE(axis.place(0.06), 0);
    EXPECT_LE(axis.place(0.06), 1);
  }
  EXPECT_GE(Axis(Scale::linear, {0}, 6).ticks().size(), 2u);
  EXPECT_GE(Axis(Scale::from_zero, {-2}, 6).place(-2), 0);
}

// Whatever is drawn lies on the axis, ticks too, and no two of them are written alike.
TEST(Axis, CoversItsValuesWithFewTicks) {
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    const double size = std::pow(10.0, std::uniform_real_distribution(-5.0, 8.0)(random));
    const double spread = std::pow(10.0, std::uniform_real_distribution(-4.0, 0.0)(random));
    const double low = size * (round % 3 == 0 ? -1 : 1);
    const std::vector<double> values = {low, low + size * spread};
    for (const Scale scale : {Scale::from_zero, Scale::linear, Scale::log}) {
      if (scale == Scale::log && (values[0] <= 0 || values[1] <= 0)) continue;
      const Axis axis(scale, values, 6);
      ASSERT_GE(axis.ticks().size(), 2u) << values[0] << " " << values[1];
      ASSERT_LE(axis.ticks().size(), 6u) << values[0] << " " << values[1];
      for (const double value : values) {
        ASSERT_GE(axis.place(value), -1e-6) << values[0] << " " << values[1];
        ASSERT_LE(axis.place(value), 1 + 1e-6) << values[0] << " " << values[1];
      }
      std::set<std::string> written;
      for (const double tick : axis.ticks()) {
        ASSERT_GE(axis.place(tick), -1e-6) << values[0] << " " << values[1];
        ASSERT_LE(axis.place(tick), 1 + 1e-6) << values[0] << " " << values[1];
        ASSERT_TRUE(written.insert(axis.label(tick)).second)
            << axis.label(tick) << " twice: " << values[0] << " " << values[1];
      }
    }
  }
}

}  // namespace
}  // namespace micrec
