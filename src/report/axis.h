#pragma once

#include <string>
#include <vector>

namespace micrec {

enum class Scale {
  from_zero,  ///< linear, from zero or below
  linear,     ///< linear, around the values
  log,        ///< logarithmic; values of zero and below have no place on it
};

/// An axis of numbers with round ticks: 1, 2 or 5 times a power of ten apart.
class Axis {
 public:
  /// Covers the values, which are finite and at least one; `most_ticks` at most, two at least.
  Axis(Scale scale, const std::vector<double>& values, int most_ticks);
  /// An axis of whole numbers from `first` to `last`, which end it.
  static Axis of_steps(double first, double last, int most_ticks);

  /// Where a value lies: 0 at the lower end, 1 at the upper.
  double place(double value) const;
  bool has_place(double value) const;
  const std::vector<double>& ticks() const { return ticks_; }
  /// What is written at a tick: "0.061", "20k", as many decimals as the ticks need.
  std::string label(double tick) const;

 private:
  Axis() = default;
  void set_linear_ticks(double low, double high, int most_ticks, bool grow);
  void set_log_ticks(double low, double high, int most_ticks);

  Scale scale_ = Scale::linear;
  double low_ = 0;
  double high_ = 1;
  double apart_ = 1;  // ticks; 0: they are powers of ten and parts of these
  std::vector<double> ticks_;
};

}  // namespace micrec
