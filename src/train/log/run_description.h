#pragma once

#include <iosfwd>
#include <string>

namespace micrec {

/// Whether there is something of a run in a folder: its settings, metrics or checkpoints.
bool is_run(const std::string& folder);

/// Tells of a run's folder who uses it, how far it has come, its settings, metrics and checkpoints.
/// Lines of metrics.jsonl that are no JSON, as a crash leaves one, are counted.
///
/// Errors   Error(Cause::io) where something of it is there and cannot be read; what was told until
///          then stands. A checkpoint that cannot be used is told with the reason.
void describe_run(const std::string& run_dir, std::ostream& out);

}  // namespace micrec
