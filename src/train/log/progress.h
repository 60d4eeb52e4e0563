#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>

namespace micrec {

struct StepRecord;

/// What validation looks at.
struct ValidatedMetric {
  double value = 0;
  /// Half the width of its 95% interval, where it is that of a sample of users.
  std::optional<double> margin;
};

/// How far the run is.
struct ProgressGoal {
  std::int64_t first_step = 0;  // steps taken before this process started
  std::int64_t last_step = 0;   // where the run ends unless it stops early
  std::int64_t steps_per_epoch = 1;
  std::string metric;                 // name of the validation metric, "ndcg@20"
  std::optional<double> best_metric;  // so far; a resumed run knows it
  std::int64_t best_step = 0;
};

/// Where progress lines go.
struct ProgressOutput {
  std::ostream* stream = nullptr;  // outlives the progress
  int columns = 0;  // of a terminal, whose line is rewritten; 0: none, lines follow each other
  std::function<double()> elapsed_seconds;  // since the start of this process's training

  /// stderr as it is; the clock starts now.
  static ProgressOutput standard_error();
};

/// One line for people: epoch, step, loss and its parts, triples a second, time left, memory, best;
/// what the model does not have is left out.
///
/// Ranks    rank 0 alone makes one.
class Progress {
 public:
  explicit Progress(ProgressGoal goal, ProgressOutput output = ProgressOutput::standard_error());
  /// Ends the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void stepped(const StepRecord& record);
  void validated(std::int64_t step, const ValidatedMetric& metric, bool improved);

  /// Ends a line that is being rewritten, before something else is written to the terminal.
  void end_line();

 private:
  std::string line_of(const StepRecord& record) const;

  ProgressGoal goal_;
  ProgressOutput output_;
  bool line_is_open_ = false;
};

}  // namespace micrec
