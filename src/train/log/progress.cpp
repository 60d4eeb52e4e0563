#include "train/log/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <utility>

#include "base/description.h"
#include "base/text.h"
#include "base/timer.h"
#include "train/trainer.h"

namespace micrec {
namespace {

constexpr int kDefaultColumns = 80;

std::string in_thousands(double number) {
  if (number >= 1e6) return decimal("%.1fM", number / 1e6);
  if (number >= 1e3) return decimal("%.0fk", number / 1e3);
  return decimal("%.0f", number);
}

int columns_of_terminal(int descriptor) {
  if (isatty(descriptor) == 0) return 0;
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return size.ws_col;
}

}  // namespace

ProgressOutput ProgressOutput::standard_error() {
  return {&std::cerr, columns_of_terminal(STDERR_FILENO),
          [timer = Timer()] { return timer.seconds(); }};
}

Progress::Progress(ProgressGoal goal, ProgressOutput output)
    : goal_(std::move(goal)), output_(std::move(output)) {}

Progress::~Progress() { end_line(); }

std::string Progress::line_of(const StepRecord& record) const {
  const std::int64_t epochs = (goal_.last_step + goal_.steps_per_epoch - 1) /
                              std::max<std::int64_t>(1, goal_.steps_per_epoch);
  std::string line = text("epoch ", record.epoch + 1, "/", epochs, "  step ",
                          with_commas(record.step), "/", with_commas(goal_.last_step));
  // What is solved or counted need not have a loss, and goes through no triples.
  if (record.loss != 0) line += "  loss " + decimal("%.4f", record.loss);
  // Parts that are off are left out.
  std::vector<std::string> parts;
  for (const auto& [name, part] : record.parts.by_name) {
    if (part != 0) parts.push_back(text(name, " ", decimal("%.4f", part)));
  }
  if (parts.size() > 1) line += " (" + join(parts, ", ") + ")";
  if (record.triples_per_second > 0) {
    line += "  " + in_thousands(record.triples_per_second) + " triples/s";
  }

  const std::int64_t done = record.step - goal_.first_step;
  const std::int64_t left = goal_.last_step - record.step;
  if (done > 0 && left > 0) {
    // Validation and saving are in the elapsed time, so they are in the time left as well.
    const double seconds_left =
        output_.elapsed_seconds() / static_cast<double>(done) * static_cast<double>(left);
    line += "  " + in_time(seconds_left) + " left";
  }
  line += "  " + in_bytes(peak_memory_bytes());
  if (goal_.best_metric) {
    line += text("  best ", goal_.metric, " ", decimal("%.4f", *goal_.best_metric), " at step ",
                 with_commas(goal_.best_step));
  }
  return line;
}

void Progress::stepped(const StepRecord& record) {
  std::string line = line_of(record);
  if (output_.columns == 0) {
    *output_.stream << line << '\n' << std::flush;
    return;
  }
  // A line that wrapped could not be rewritten.
  if (line.size() >= static_cast<std::size_t>(output_.columns)) {
    line.resize(static_cast<std::size_t>(output_.columns - 1));
  }
  *output_.stream << '\r' << line << "\x1b[K" << std::flush;  // erases the rest of the old line
  line_is_open_ = true;
}

void Progress::validated(std::int64_t step, const ValidatedMetric& metric, bool improved) {
  if (improved) {
    goal_.best_metric = metric.value;
    goal_.best_step = step;
  }
  end_line();
  *output_.stream << text("validation at step ", with_commas(step), ": ", goal_.metric, " ",
                          decimal("%.4f", metric.value),
                          metric.margin ? " +-" + decimal("%.4f", *metric.margin) : "",
                          improved ? ", the best so far" : "")
                  << '\n'
                  << std::flush;
}

void Progress::end_line() {
  if (line_is_open_) *output_.stream << '\n' << std::flush;
  line_is_open_ = false;
}

}  // namespace micrec
