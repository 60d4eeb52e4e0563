#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace micrec {

/// Scalars for TensorBoard: a new RUN_DIR/events.out.tfevents.<seconds>.<host>.<process> for every
/// attempt of a run. TensorBoard reads them as one series; what an earlier attempt wrote of later
/// steps it leaves out.
///
/// Ranks    rank 0 alone makes one.
/// Errors   Error(Cause::io) where the file cannot be written.
/// Source   TFRecord framing and tensorflow/core/util/event.proto, of which four fields are enough.
class TensorBoardLog {
 public:
  /// A log that goes on from a checkpoint of `step` (0: a new run).
  TensorBoardLog(const std::string& run_dir, std::int64_t step);

  /// Values of one step, by tag ("loss/ranking"); in the hands of the operating system on return.
  void scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values);

  const std::string& path() const { return path_; }

 private:
  void write_event(std::string_view event);

  std::string path_;
  std::ofstream file_;
};

}  // namespace micrec
