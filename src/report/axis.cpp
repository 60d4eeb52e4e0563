#include "report/axis.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/description.h"
#include "base/text.h"

namespace micrec {
namespace {

/// The round distance that makes at most so many steps of a length.
double round_distance(double length, int most_steps) {
  const double least = length / most_steps;
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double times : {1.0, 2.0, 5.0}) {
    if (times * power >= least * (1 - 1e-9)) return times * power;
  }
  return 10 * power;
}

/// Without the trailing noise of its binary digits: "0.002", "150".
std::string plain_number(double value) { return decimal("%.10g", value); }

}  // namespace

Axis::Axis(Scale scale, const std::vector<double>& values, int most_ticks) : scale_(scale) {
  CHECK(!values.empty() && most_ticks >= 2);
  double low = *std::ranges::min_element(values);
  double high = *std::ranges::max_element(values);
  if (scale == Scale::log) {
    set_log_ticks(low, high, most_ticks);
    return;
  }
  if (scale == Scale::from_zero) {
    low = std::min(low, 0.0);
    high = std::max(high, 0.0);
  }
  // A lone value has a little room around it.
  const double room = std::max(std::abs(low), std::abs(high));
  if (high - low <= 1e-9 * room) {
    low -= scale == Scale::from_zero && low >= 0 ? 0 : 0.1 * room;
    high += 0.1 * room;
  }
  if (high <= low) high = low + 1;
  set_linear_ticks(low, high, most_ticks, /*grow=*/true);
}

Axis Axis::of_steps(double first, double last, int most_ticks) {
  Axis axis;
  if (last <= first) last = first + 1;
  axis.set_linear_ticks(first, last, most_ticks, /*grow=*/false);
  if (axis.apart_ < 1) {
    axis.apart_ = 1;
    axis.ticks_ = {first, last};
  }
  return axis;
}

void Axis::set_linear_ticks(double low, double high, int most_ticks, bool grow) {
  apart_ = round_distance(high - low, most_ticks - 1);
  double first = std::floor(low / apart_ + 1e-9);
  double last = std::ceil(high / apart_ - 1e-9);
  // To begin and end at round numbers may take a tick more than there may be.
  if (grow && last - first + 1 > most_ticks) {
    apart_ = round_distance(apart_ * 1.01, 1);
    first = std::floor(low / apart_ + 1e-9);
    last = std::ceil(high / apart_ - 1e-9);
  }
  low_ = grow ? first * apart_ : low;
  high_ = grow ? last * apart_ : high;
  ticks_.clear();
  const auto steps = static_cast<std::int64_t>(last - first);
  for (std::int64_t step = 0; step <= steps; ++step) {
    const double at = (first + static_cast<double>(step)) * apart_;
    const double tick = at == 0 ? 0 : at;  // not -0
    if (tick >= low_ - 1e-9 * apart_ && tick <= high_ + 1e-9 * apart_) ticks_.push_back(tick);
  }
}

void Axis::set_log_ticks(double low, double high, int most_ticks) {
  CHECK(low > 0);
  if (high <= low * 1.000001) {
    low /= 1.2;
    high *= 1.2;
  }
  if (high < 4 * low) {  // too narrow for powers of ten
    set_linear_ticks(low, high, most_ticks, /*grow=*/false);
    return;
  }
  low_ = low;
  high_ = high;
  apart_ = 0;
  const int first = static_cast<int>(std::floor(std::log10(low)));
  const int last = static_cast<int>(std::ceil(std::log10(high)));
  // From fine to coarse, until there are few enough.
  const std::vector<std::vector<double>> finer = {{1, 2, 5}, {1, 3}, {1}};
  for (const std::vector<double>& times : finer) {
    ticks_.clear();
    for (int power = first; power <= last; ++power) {
      for (const double factor : times) {
        const double tick = factor * std::pow(10.0, power);
        if (has_place(tick) && tick >= low_ * 0.999999 && tick <= high_ * 1.000001) {
          ticks_.push_back(tick);
        }
      }
    }
    if (static_cast<int>(ticks_.size()) <= most_ticks) break;
  }
  const std::size_t keep = (ticks_.size() + most_ticks - 1) / most_ticks;
  std::vector<double> kept;
  for (std::size_t n = 0; n < ticks_.size(); ++n) {
    if (n % std::max<std::size_t>(keep, 1) == 0) kept.push_back(ticks_[n]);
  }
  ticks_ = kept;
  if (ticks_.size() < 2) ticks_ = {low_, high_};
}

double Axis::place(double value) const {
  if (scale_ == Scale::log) return std::log(value / low_) / std::log(high_ / low_);
  return (value - low_) / (high_ - low_);
}

bool Axis::has_place(double value) const {
  return std::isfinite(value) && (scale_ != Scale::log || value > 0);
}

std::string Axis::label(double tick) const {
  const double size = std::abs(tick);
  if (size >= 1e15 || (size > 0 && size < 1e-6)) return decimal("%.2g", tick);
  if (apart_ == 0) {
    if (size >= 1e6) return plain_number(tick / 1e6) + "M";
    if (size >= 1e4) return plain_number(tick / 1e3) + "k";
    return decimal("%.2g", tick).find('e') == std::string::npos ? decimal("%.2g", tick)
                                                                : plain_number(tick);
  }
  const double most = std::max(std::abs(low_), std::abs(high_));
  if (most >= 1e9) return plain_number(tick / 1e6) + "M";
  if (most >= 1e6) return tick == 0 ? "0" : plain_number(tick / 1e6) + "M";
  if (most >= 1e4) return tick == 0 ? "0" : plain_number(tick / 1e3) + "k";
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(apart_) - 1e-9)));
  return decimal(text("%.", decimals, "f").c_str(), tick);
}

}  // namespace micrec
