#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "serve/service.h"

namespace micrec {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 8080;    // 0: any that is free
  std::string token;  // that requests must bear; empty: none
  int threads = 1;    // that compute at once, each a request
  int connections = 64;
  double requests_per_second = 0;  // 0: no limit
  double timeout_seconds = 10;  // for a request to come in, for its turn, for its answer to leave
  std::int64_t body_bytes = 1 << 20;
};

/// Whether an address reaches this machine alone.
bool is_loopback(const std::string& host);

/// A service over HTTP: what openapi.json says, and a page for people. Every refusal is JSON with
/// one member, "error". A connection that is one too many is answered 503 and closed; a request
/// that is not whole in time, or whose headers are longer than 64 KiB, ends its connection.
class HttpServer {
 public:
  /// Takes the address; connections wait until start(). Errors: Error(io) where it is not to be
  /// had.
  explicit HttpServer(const HttpOptions& options);
  /// As drain().
  ~HttpServer();

  int port() const;
  /// Answers from now on, in threads of its own; the service outlives them. Once.
  void start(RecommendationService& service);
  /// Whether it still accepts connections.
  bool is_running() const;
  /// Accepts nothing more and returns when everything that was asked is answered.
  void drain();

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace micrec
