#pragma once

#include <string>
#include <vector>

#include "report/axis.h"

namespace micrec {

// Pictures of a report: SVG to stand in an HTML page. Colours come from the page's style: a run has
// the class "run0", "run1", ..., what it is held against "against". Text is escaped here.

/// One run in a chart.
struct ChartRun {
  std::string name;
  std::string style;  ///< class
};

struct Curve {
  ChartRun run;
  std::vector<double> x;  ///< steps, rising
  std::vector<double> y;  ///< one each; what is not finite is a gap in the line
};

struct LineChart {
  std::string title;
  std::string note = {};  ///< a line below the title
  Scale scale = Scale::linear;
  std::vector<Curve> curves;
};

/// Curves against steps; empty where no curve has a finite value.
std::string to_svg(const LineChart& chart);

/// A value with, where it is known, the interval that it lies in.
struct Bar {
  double value = 0;  ///< not finite: no bar
  double low = 0;    ///< low < high: an interval is drawn
  double high = 0;
};

struct BarGroup {
  std::string label;      ///< "4–7"
  std::string note;       ///< a second line below it: "1,303 users"
  std::vector<Bar> bars;  ///< one a run
};

struct BarChart {
  std::string title;
  std::string note = {};     ///< a line below the title
  std::string x_label = {};  ///< what the groups are
  bool wide = false;         ///< over two columns of the page
  std::vector<ChartRun> runs;
  std::vector<BarGroup> groups = {};
};

/// Groups of bars, a bar a run, each with its value above it; empty where there is no value.
std::string to_svg(const BarChart& chart);

/// A bar to stand in a cell of a table: `value` of `most`, with a line at `mark` where that is
/// positive. Empty where most is not positive.
std::string inline_bar(double value, double most, double mark = 0);

}  // namespace micrec
