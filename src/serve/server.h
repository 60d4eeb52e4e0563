#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "serve/held_signals.h"
#include "serve/http/http_server.h"
#include "serve/observations.h"
#include "serve/service.h"
#include "serve/trained_run.h"

namespace micrec {

/// What a server is started with, besides the run that it serves.
struct ServerOptions {
  HttpOptions http;
  ServiceLimits limits;
  std::string titles;      ///< of items, "DOMAIN=FILE,..."; or empty
  std::string attributes;  ///< likewise, an ItemTable each
  std::string log;         ///< of what is observed
};

/// Opens the run that is served, with what it was told since; null: nothing.
using RunOpener = std::function<std::unique_ptr<TrainedRun>(const ToldReader& told)>;

/// The files of titles and attributes. Errors: Error(usage) where a list cannot be read.
std::vector<std::string> files_of(const ServerOptions& options);

/// Gives a server the secret that a file holds, be one named.
///
/// Errors   Error(io) where the file cannot be read, Error(usage) where it holds no secret of at
///          least 16 characters, or where none is named and other machines reach the server.
void take_token(const std::string& file, HttpOptions& http);

/// Serves a run over HTTP until SIGTERM or SIGINT, and opens it again at SIGHUP and when there are
/// new items. Says on `report` what it does.
///
/// Errors   those of HttpServer, RunOpener, ServedModel and ObservedLog; Error(io) where the system
///          takes no more connections.
void serve_http(const ServerOptions& options, const RunOpener& open, const HeldSignals& signals,
                std::ostream& report);

/// Answers a request a line, until the lines end or nobody takes answers.
///
/// Errors   those of RunOpener, ServedModel and ObservedLog.
void serve_lines(const ServerOptions& options, const RunOpener& open, std::istream& requests,
                 std::ostream& answers, std::ostream& report);

}  // namespace micrec
