#include "cluster/logging.h"

#include <glog/logging.h>

#include <cstdio>
#include <ctime>
#include <string>

#include "base/text.h"
#include "cluster/launch_environment.h"

namespace micrec {
namespace {

/// glog's own prefix names source files and threads, which say nothing to a user.
class PlainSink : public google::LogSink {
 public:
  using google::LogSink::send;
  void send(google::LogSeverity severity, const char* /*full_filename*/, const char* file, int line,
            const std::tm* time, const char* message, std::size_t length) override {
    char clock[16];
    std::snprintf(clock, sizeof clock, "%02d:%02d:%02d ", time->tm_hour, time->tm_min,
                  time->tm_sec);
    std::string out = clock;
    if (launched_.size > 1) out += text("[rank ", launched_.rank, "] ");
    if (severity == google::GLOG_WARNING) out += "warning: ";
    if (severity == google::GLOG_ERROR) out += "error: ";
    if (severity == google::GLOG_FATAL) out += text("internal error at ", file, ":", line, ": ");
    out.append(message, length);
    out += '\n';
    std::fwrite(out.data(), 1, out.size(), stderr);  // One call, so that lines of ranks do not mix.
  }

 private:
  const LaunchEnvironment launched_ = launched_or_alone();
};

}  // namespace

void start_logging(const char* program) {
  // The sink below is the only place that writes: no copies on stderr, no files.
  FLAGS_logtostderr = false;
  FLAGS_alsologtostderr = false;
  FLAGS_stderrthreshold = google::NUM_SEVERITIES;
  google::InitGoogleLogging(program);
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");
  }
  static PlainSink* const sink =
      new PlainSink;  // Not destroyed: others may log while the process ends.
  google::AddLogSink(sink);
}

}  // namespace micrec
