#include "report/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <regex>

namespace micrec {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

Curve curve(std::vector<double> y) {
  Curve curve = {.run = {"runs/fk", "run0"}, .x = {}, .y = std::move(y)};
  for (std::size_t n = 0; n < curve.y.size(); ++n) curve.x.push_back(static_cast<double>(10 * n));
  return curve;
}

std::string svg_of(std::vector<double> y, Scale scale = Scale::linear) {
  return to_svg(
      LineChart{.title = "Loss", .note = "", .scale = scale, .curves = {curve(std::move(y))}});
}

// The heights of the points of the one curve, as its path has them.
std::vector<double> heights(const std::string& svg) {
  std::smatch path;
  EXPECT_TRUE(std::regex_search(svg, path, std::regex("<path d=\"([^\"]*)\"")));
  const std::string points = path[1];
  const std::regex one("[ML][0-9.]+ ([0-9.]+)");
  std::vector<double> heights;
  for (std::sregex_iterator at(points.begin(), points.end(), one), end; at != end; ++at) {
    heights.push_back(std::stod((*at)[1]));
  }
  return heights;
}

TEST(LineChart, TellsTheValueOfEachPoint) {
  const std::string svg = svg_of({0.0605017, 0.0610201, 0.0608914});
  EXPECT_THAT(svg, HasSubstr("<title>runs/fk, step 0: 0.0605017</title>"));
  EXPECT_THAT(svg, HasSubstr("<title>runs/fk, step 10: 0.0610201</title>"));
  EXPECT_THAT(svg, HasSubstr("<title>runs/fk, step 20: 0.0608914</title>"));
  const std::vector<double> y = heights(svg);
  ASSERT_EQ(y.size(), 3u);
  // Upright is down in a picture: places are as the values.
  EXPECT_NEAR((y[0] - y[2]) / (y[0] - y[1]), (0.0608914 - 0.0605017) / (0.0610201 - 0.0605017),
              1e-3);
}

TEST(LineChart, IsLogarithmicWhereAsked) {
  const std::vector<double> y = heights(svg_of({0.001, 0.01, 1}, Scale::log));
  ASSERT_EQ(y.size(), 3u);
  EXPECT_NEAR((y[0] - y[1]) / (y[0] - y[2]), 1.0 / 3, 2e-3);
}

TEST(LineChart, LeavesGapsWhereThereIsNoNumber) {
  const std::string svg = svg_of({1, NAN, 2, 3, INFINITY});
  EXPECT_EQ(heights(svg).size(), 3u);
  EXPECT_EQ(count(svg, "<circle"), 3);
  const std::string path = svg.substr(svg.find("<path d=\""));
  EXPECT_EQ(count(path.substr(0, path.find("\"/>")), "M"), 2);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(LineChart, IsNothingWithoutANumber) {
  EXPECT_EQ(svg_of({}), "");
  EXPECT_EQ(svg_of({NAN, INFINITY}), "");
  EXPECT_EQ(svg_of({0, -1}, Scale::log), "");
  EXPECT_NE(svg_of({0.06}), "");
}

TEST(LineChart, KeepsThePeakOfALongRun) {
  std::vector<double> y(100'000, 0.5);
  y[77'777] = 9;
  y[33'333] = 0.1;
  const std::string svg = svg_of(y, Scale::from_zero);
  EXPECT_LT(svg.size(), 20'000u);
  const std::vector<double> drawn = heights(svg);
  const auto [top, bottom] = std::ranges::minmax(drawn);
  EXPECT_NEAR(top, 46 + 1.0 / 10 * (210 - 46), 0.2);  // 9 on an axis from 0 to 10
  EXPECT_NEAR(bottom, 210 - 0.1 / 10 * (210 - 46), 0.2);
}

TEST(BarChart, HasABarARunWithItsValue) {
  BarChart chart = {.title = "by degree",
                    .note = "",
                    .x_label = "interactions",
                    .wide = false,
                    .runs = {{"a", "run0"}, {"b", "against"}},
                    .groups = {}};
  chart.groups.push_back({.label = "0", .note = "460 users", .bars = {{0.0157}, {NAN}}});
  chart.groups.push_back({.label = "4–7", .note = "1 user", .bars = {{0.2, 0.1, 0.3}, {0.05}}});
  const std::string svg = to_svg(chart);
  EXPECT_EQ(count(svg, "<rect"), 3);
  EXPECT_EQ(count(svg, "class=\"interval\""), 1);
  EXPECT_THAT(svg, HasSubstr("<title>a: 0.0157</title>"));
  EXPECT_THAT(svg, HasSubstr(">0.0157</text>"));
  EXPECT_THAT(svg, HasSubstr(">0.200</text>"));
  EXPECT_THAT(svg, HasSubstr("<title>b: 0.05</title>"));
  EXPECT_THAT(svg, HasSubstr(">460 users</text>"));
  chart.groups = {{.label = "0", .note = "", .bars = {{NAN}, {NAN}}}};
  EXPECT_EQ(to_svg(chart), "");
}

TEST(InlineBar, IsItsShareOfTheMost) {
  EXPECT_THAT(inline_bar(1, 4), HasSubstr("width=\"30\""));
  EXPECT_THAT(inline_bar(1, 4, 2), HasSubstr("<path d=\"M61 0V14\"/>"));
  EXPECT_EQ(inline_bar(1, 0), "");
  EXPECT_EQ(inline_bar(NAN, 1), "");
}

TEST(Charts, EscapeNames) {
  Curve bad = curve({1, 2});
  bad.run.name = "<script>alert(1)</script>";
  const std::string svg = to_svg(
      LineChart{.title = "\"><script>", .note = "<i>", .scale = Scale::linear, .curves = {bad}});
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, Not(HasSubstr("<i>")));
}

}  // namespace
}  // namespace micrec
