#include "report/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/description.h"
#include "report/html_text.h"

namespace micrec {
namespace {

constexpr double kLetter = 6.3;  // width of a letter of a tick's label
constexpr double kWidth = 400;
constexpr double kWide = 820;             // two columns and the gap between
constexpr double kHead = 46;              // title and note
constexpr std::size_t kTitleMost = 44;    // letters
constexpr std::size_t kMostPoints = 500;  // of a curve; a picture has no more columns
constexpr std::size_t kMostMarks = 60;

/// The part of a picture in which values lie.
struct Frame {
  double left = 0;
  double top = kHead;
  double right = 0;
  double bottom = 0;

  double x(double place) const { return left + place * (right - left); }
  double y(double place) const { return bottom - place * (bottom - top); }
};

std::string point(double number) {
  std::string digits = decimal("%.1f", number);
  if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
  return digits == "-0" ? "0" : digits;
}

void begin(std::ostream& out, double width, double height, const std::string& title,
           const std::string& note) {
  const auto letters = static_cast<std::size_t>(kTitleMost * width / kWidth);
  out << "<svg" << (width > kWidth ? " class=\"wide\"" : "") << " viewBox=\"0 0 " << width << " "
      << height << "\" role=\"img\" aria-label=\""
      << escaped(title + (note.empty() ? "" : ", " + note))
      << "\">\n<text class=\"title\" x=\"2\" y=\"16\">" << escaped(shortened(title, letters))
      << "</text>\n";
  if (!note.empty()) {
    out << "<text class=\"note\" x=\"2\" y=\"32\">" << escaped(shortened(note, letters + 20))
        << "</text>\n";
  }
}

/// Room for the labels of an upright axis.
double width_of_labels(const Axis& axis) {
  std::size_t letters = 1;
  for (const double tick : axis.ticks()) letters = std::max(letters, axis.label(tick).size());
  return 10 + kLetter * static_cast<double>(letters);
}

void draw_upright(std::ostream& out, const Axis& axis, const Frame& frame) {
  for (const double tick : axis.ticks()) {
    const std::string y = point(frame.y(axis.place(tick)));
    out << "<line class=\"grid\" x1=\"" << point(frame.left) << "\" x2=\"" << point(frame.right)
        << "\" y1=\"" << y << "\" y2=\"" << y << "\"/><text class=\"tick\" text-anchor=\"end\" x=\""
        << point(frame.left - 5) << "\" y=\"" << y << "\" dy=\"0.35em\">" << axis.label(tick)
        << "</text>\n";
  }
}

void draw_flat(std::ostream& out, const Axis& axis, const Frame& frame, const std::string& label) {
  out << "<line class=\"axis\" x1=\"" << point(frame.left) << "\" x2=\"" << point(frame.right)
      << "\" y1=\"" << point(frame.bottom) << "\" y2=\"" << point(frame.bottom) << "\"/>\n";
  for (const double tick : axis.ticks()) {
    const std::string x = point(frame.x(axis.place(tick)));
    out << "<line class=\"axis\" x1=\"" << x << "\" x2=\"" << x << "\" y1=\"" << point(frame.bottom)
        << "\" y2=\"" << point(frame.bottom + 4)
        << "\"/><text class=\"tick\" text-anchor=\"middle\" x=\"" << x << "\" y=\""
        << point(frame.bottom + 16) << "\">" << axis.label(tick) << "</text>\n";
  }
  out << "<text class=\"tick\" text-anchor=\"middle\" x=\"" << point((frame.left + frame.right) / 2)
      << "\" y=\"" << point(frame.bottom + 32) << "\">" << escaped(label) << "</text>\n";
}

/// Of a long curve the least and the greatest value of each short stretch, so that no peak is lost.
std::vector<std::size_t> points_to_draw(const Curve& curve) {
  std::vector<std::size_t> drawn;
  const std::size_t count = curve.x.size();
  const std::size_t stretch = std::max<std::size_t>(1, (2 * count + kMostPoints - 1) / kMostPoints);
  for (std::size_t first = 0; first < count; first += stretch) {
    const std::size_t end = std::min(count, first + stretch);
    std::size_t least = first;
    std::size_t greatest = first;
    bool has_gap = false;
    for (std::size_t n = first; n < end; ++n) {
      has_gap |= !std::isfinite(curve.y[n]);
      if (!(curve.y[n] >= curve.y[least])) least = n;
      if (!(curve.y[n] <= curve.y[greatest])) greatest = n;
    }
    if (has_gap || count <= kMostPoints) {
      for (std::size_t n = first; n < end; ++n) drawn.push_back(n);
      continue;
    }
    drawn.push_back(std::min(least, greatest));
    if (least != greatest) drawn.push_back(std::max(least, greatest));
  }
  return drawn;
}

void draw_curve(std::ostream& out, const Curve& curve, const Axis& steps, const Axis& values,
                const Frame& frame) {
  const std::vector<std::size_t> drawn = points_to_draw(curve);
  std::ostringstream path;
  std::ostringstream marks;
  bool is_open = false;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const std::size_t n = drawn[i];
    if (!values.has_place(curve.y[n])) {
      is_open = false;
      continue;
    }
    const std::string x = point(frame.x(steps.place(curve.x[n])));
    const std::string y = point(frame.y(values.place(curve.y[n])));
    path << (is_open ? "L" : "M") << x << " " << y;
    const bool goes_on = i + 1 < drawn.size() && values.has_place(curve.y[drawn[i + 1]]);
    // A point that no line comes to would not be seen.
    if (drawn.size() <= kMostMarks || (!is_open && !goes_on)) {
      marks << "<circle cx=\"" << x << "\" cy=\"" << y << "\" r=\"2.6\"><title>"
            << escaped(curve.run.name) << ", step " << count_text(curve.x[n]) << ": "
            << decimal("%.6g", curve.y[n]) << "</title></circle>";
    }
    is_open = true;
  }
  out << "<g class=\"" << curve.run.style << "\"><path d=\"" << path.str() << "\"/>" << marks.str()
      << "</g>\n";
}

std::string value_beside(double value) {
  if (value >= 0.0995) return decimal("%.3f", value);
  return value == 0 ? "0" : decimal("%.4f", value);
}

void draw_bar(std::ostream& out, const ChartRun& run, const Bar& bar, double left, double width,
              const Axis& values, const Frame& frame, bool with_value) {
  if (!std::isfinite(bar.value)) return;
  const double zero = frame.y(values.place(0));
  const double end = frame.y(values.place(bar.value));
  const double height = std::max(std::abs(zero - end), 0.5);
  out << "<g class=\"" << run.style << "\"><rect x=\"" << point(left) << "\" y=\""
      << point(std::min(zero, end)) << "\" width=\"" << point(width) << "\" height=\""
      << point(height) << "\"><title>" << escaped(run.name) << ": " << decimal("%.6g", bar.value)
      << "</title></rect>";
  double top = std::min(zero, end);
  double bottom = std::max(zero, end);
  if (bar.low < bar.high) {
    const std::string middle = point(left + width / 2);
    const double low = frame.y(values.place(bar.low));
    const double high = frame.y(values.place(bar.high));
    out << "<path class=\"interval\" d=\"M" << middle << " " << point(low) << "V" << point(high)
        << "\"/>";
    top = std::min(top, high);
    bottom = std::max(bottom, low);
  }
  if (with_value) {
    out << "<text class=\"value\" text-anchor=\"middle\" x=\"" << point(left + width / 2)
        << "\" y=\"" << point(bar.value < 0 ? bottom + 10 : top - 3) << "\">"
        << value_beside(bar.value) << "</text>";
  }
  out << "</g>\n";
}

std::vector<double> values_of(const BarChart& chart) {
  std::vector<double> values;
  for (const BarGroup& group : chart.groups) {
    for (const Bar& bar : group.bars) {
      if (!std::isfinite(bar.value)) continue;
      values.push_back(bar.value);
      if (bar.low < bar.high) values.insert(values.end(), {bar.low, bar.high});
    }
  }
  return values;
}

}  // namespace

std::string to_svg(const LineChart& chart) {
  std::vector<double> y;
  std::vector<double> x;
  for (const Curve& curve : chart.curves) {
    for (std::size_t n = 0; n < curve.x.size(); ++n) {
      x.push_back(curve.x[n]);
      if (std::isfinite(curve.y[n]) && (chart.scale != Scale::log || curve.y[n] > 0)) {
        y.push_back(curve.y[n]);
      }
    }
  }
  if (y.empty()) return "";
  const double width = kWidth;
  const double height = 250;
  const Axis values(chart.scale, y, 6);
  const Axis steps = Axis::of_steps(0, *std::ranges::max_element(x), 6);
  const Frame frame = {
      .left = width_of_labels(values), .top = kHead, .right = width - 14, .bottom = height - 40};
  std::ostringstream out;
  begin(out, width, height, chart.title, chart.note);
  draw_upright(out, values, frame);
  draw_flat(out, steps, frame, "step");
  for (const Curve& curve : chart.curves) draw_curve(out, curve, steps, values, frame);
  out << "</svg>\n";
  return out.str();
}

std::string to_svg(const BarChart& chart) {
  const std::vector<double> all = values_of(chart);
  if (all.empty()) return "";
  const auto groups = static_cast<double>(chart.groups.size());
  const auto runs = static_cast<double>(std::max<std::size_t>(1, chart.runs.size()));
  const double width = chart.wide ? kWide : kWidth;
  const double height = 280;
  const Axis values(Scale::from_zero, all, 6);
  const Frame frame = {
      .left = width_of_labels(values), .top = kHead + 8, .right = width - 4, .bottom = height - 54};
  std::ostringstream out;
  begin(out, width, height, chart.title, chart.note);
  draw_upright(out, values, frame);
  const double room = (frame.right - frame.left) / groups;
  const double bar = std::min(44.0, 0.8 * room / runs);
  for (std::size_t g = 0; g < chart.groups.size(); ++g) {
    const BarGroup& group = chart.groups[g];
    const double middle = frame.left + (static_cast<double>(g) + 0.5) * room;
    for (std::size_t r = 0; r < group.bars.size() && r < chart.runs.size(); ++r) {
      const double left = middle + (static_cast<double>(r) - runs / 2) * bar;
      // Beside each other the numbers of two narrow bars would run into one.
      draw_bar(out, chart.runs[r], group.bars[r], left, 0.92 * bar, values, frame, bar >= 33);
    }
    out << "<text class=\"tick\" text-anchor=\"middle\" x=\"" << point(middle) << "\" y=\""
        << point(frame.bottom + 15) << "\">" << escaped(group.label)
        << "</text><text class=\"count\" text-anchor=\"middle\" x=\"" << point(middle) << "\" y=\""
        << point(frame.bottom + 29) << "\">" << escaped(group.note) << "</text>\n";
  }
  out << "<line class=\"axis\" x1=\"" << point(frame.left) << "\" x2=\"" << point(frame.right)
      << "\" y1=\"" << point(frame.y(values.place(0))) << "\" y2=\""
      << point(frame.y(values.place(0))) << "\"/>\n<text class=\"tick\" text-anchor=\"middle\" x=\""
      << point((frame.left + frame.right) / 2) << "\" y=\"" << point(height - 7) << "\">"
      << escaped(chart.x_label) << "</text>\n</svg>\n";
  return out.str();
}

std::string inline_bar(double value, double most, double mark) {
  if (!(most > 0) || !std::isfinite(value)) return "";
  constexpr double kLength = 120;
  std::ostringstream out;
  out << "<svg class=\"inline\" viewBox=\"0 0 124 14\" aria-hidden=\"true\"><rect x=\"1\" y=\"3\" "
         "width=\""
      << point(std::clamp(value / most, 0.0, 1.0) * kLength) << "\" height=\"8\"/>";
  if (mark > 0) {
    const std::string x = point(1 + std::clamp(mark / most, 0.0, 1.0) * kLength);
    out << "<path d=\"M" << x << " 0V14\"/>";
  }
  out << "</svg>";
  return out.str();
}

}  // namespace micrec
