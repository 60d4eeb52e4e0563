#pragma once

namespace micrec {

/// Logs go to stderr, a line each with the time, and with the rank where there are several; no
/// files of glog's own. Called once a process, before anything logs.
void start_logging(const char* program);

}  // namespace micrec
