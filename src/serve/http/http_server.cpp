#include "serve/http/http_server.h"

#include <arpa/inet.h>
#include <glog/logging.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <optional>
#include <semaphore>
#include <thread>

#include "base/error.h"
#include "base/path_error.h"
#include "base/text.h"
#include "serve/http/http_stream.h"
#include "serve/http/pages.h"
#include "serve/http/serving_counters.h"
#include "serve/requests.h"

namespace micrec {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kIdleSeconds = 60;  // of a connection between two requests
constexpr int kBacklog = 511;
constexpr int kRefusingThreads = 2;  // which tell connections that they are too many
constexpr std::string_view kEncodings[] = {"", "identity", "gzip", "deflate"};  // of bodies
constexpr char kJson[] = "application/json";

struct Path {
  const char* path;
  const char* method;
  bool needs_token;
};
constexpr Path kPaths[] = {
    {"/", "GET", false},        {"/openapi.json", "GET", false}, {"/health", "GET", false},
    {"/ready", "GET", false},   {"/metrics", "GET", true},       {"/model", "GET", true},
    {"/items", "GET", true},    {"/recommend", "POST", true},    {"/score", "POST", true},
    {"/similar", "POST", true}, {"/observe", "POST", true},
};

const Path* find_path(const std::string& path) {
  const auto* const found =
      std::ranges::find_if(kPaths, [&](const Path& one) { return path == one.path; });
  return found == std::end(kPaths) ? nullptr : found;
}

/// Looks at every character whether they are equal or not.
bool are_equal(const std::string& given, const std::string& token) {
  std::size_t differences = given.size() ^ token.size();
  for (std::size_t n = 0; n < given.size(); ++n) {
    differences |= static_cast<unsigned char>(given[n] ^ token[n % token.size()]);
  }
  return differences == 0;
}

/// The bytes of the body that a request's headers announce; nothing where they do not say it, or
/// not as one number.
std::optional<std::int64_t> announced_bytes(const httplib::Request& request) {
  if (request.has_header("Transfer-Encoding")) return std::nullopt;
  const std::size_t count = request.get_header_value_count("Content-Length");
  if (count == 0) return 0;
  const std::optional<std::int64_t> bytes =
      parse_integer(request.get_header_value("Content-Length"));
  return count == 1 && bytes && *bytes >= 0 ? bytes : std::nullopt;
}

/// Whether a browser can have been led to this server by another site's name for its address.
bool may_be_another_sites_name(const std::string& host) {
  std::string name = host.substr(0, host.rfind(':'));
  if (host.starts_with("[")) name = host.substr(1, host.find(']') - 1);
  in6_addr address{};
  return !host.empty() && name != "localhost" && inet_pton(AF_INET, name.c_str(), &address) != 1 &&
         inet_pton(AF_INET6, name.c_str(), &address) != 1;
}

void reply(httplib::Response& response, const Reply& reply) {
  response.status = reply.status;
  response.set_content(reply.body, kJson);
}

/// Returns false: the request goes no further.
bool refuse(httplib::Response& response, int status, const std::string& sentence) {
  reply(response, {status, error_json(sentence)});
  return false;
}

/// What httplib refuses by itself.
std::string sentence_of(int status) {
  switch (status) {
    case 400:
      return "this is no HTTP request that the server understands, or it did not come whole in "
             "time";
    case 413:
      return "the body is longer than this server takes";
    case 414:
      return "the address is longer than 8,192 bytes; put what you ask for in a body";
    case 415:
      return "the body has an encoding that this server does not read; send it plain or by gzip";
    case 416:
      return "the range is not one of bytes; ask for the whole";
    default:
      return text("the server answers with status ", status);
  }
}

/// So many a second, and as many at once.
class Rate {
 public:
  explicit Rate(double per_second) : per_second_(per_second), left_(std::max(1.0, per_second)) {}

  bool take() {
    if (per_second_ <= 0) return true;
    const std::lock_guard<std::mutex> lock(mutex_);
    const Clock::time_point now = Clock::now();
    const double passed = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    left_ = std::min(std::max(1.0, per_second_), left_ + passed * per_second_);
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  const double per_second_;
  std::mutex mutex_;
  double left_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace

bool is_loopback(const std::string& host) {
  in6_addr address{};
  return host == "localhost" || host == "::1" ||
         (host.starts_with("127.") && inet_pton(AF_INET, host.c_str(), &address) == 1);
}

class HttpServer::Server final : public httplib::Server {
 public:
  explicit Server(const HttpOptions& options)
      : options_(options),
        rate_(options.requests_per_second),
        turns_(std::max(1, options.threads)),
        stop_event_(eventfd(0, EFD_CLOEXEC)) {
    PCHECK(stop_event_ >= 0);
    // Not httplib's own, by which two servers may share one port.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    errno = 0;
    port_ = options.port;
    if (options.port == 0) {
      port_ = bind_to_any_port(options.host);
    } else if (!bind_to_port(options.host, options.port)) {
      port_ = -1;
    }
    if (port_ < 0) {
      throw Error(Cause::io, path_error("listen on", text(options.host, ":", options.port), errno),
                  "; give another --host or --port");
    }
    ::listen(svr_sock_, kBacklog);
    new_task_queue = [this] {
      return new httplib::ThreadPool(options_.connections + kRefusingThreads);
    };
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return check(request, response) ? HandlerResponse::Unhandled : HandlerResponse::Handled;
    });
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty()) {
        response.set_content(error_json(sentence_of(response.status)), kJson);
      }
    });
    set_post_routing_handler([this](const httplib::Request&, httplib::Response& response) {
      if (is_draining_ && !response.has_header("Connection")) {
        response.set_header("Connection", "close");
      }
    });
    set_exception_handler([](const httplib::Request& request, httplib::Response& response,
                             std::exception_ptr failure) {
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& error) {
        LOG(ERROR) << "no answer to " << request.path << ": " << error.what();
      } catch (...) {
        LOG(ERROR) << "no answer to " << request.path;
      }
      refuse(response, 500, "the server failed to answer this; its log says more");
    });
    set_logger([this](const httplib::Request& request, const httplib::Response& response) {
      if (request.response_handler) {
        request.response_handler(response);
      } else {
        counters_.count("malformed", response.status, 0);
      }
    });
  }

  ~Server() override {
    drain();
    if (const socket_t socket = svr_sock_.exchange(INVALID_SOCKET); socket != INVALID_SOCKET) {
      ::close(socket);  // was never started
    }
    ::close(stop_event_);
  }

  int port() const { return port_; }

  void start(RecommendationService& service) {
    service_ = &service;
    add_pages();
    add_questions();
    listening_ = std::thread([this] {
      listen_after_bind();
      has_ended_ = true;
    });
    while (!is_running() && !has_ended_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  void drain() {
    if (!is_draining_.exchange(true)) {
      const std::uint64_t one = 1;
      PCHECK(::write(stop_event_, &one, sizeof one) == sizeof one);
    }
    stop();
    if (listening_.joinable()) listening_.join();
  }

 private:
  /// What is known of a request while it is answered.
  struct Exchange {
    bool has_begun = false;
    std::string route;
    Clock::time_point begin;
    std::optional<std::int64_t> body_bytes;
    int status = 0;
  };

  void add_pages() {
    Get("/", [](const httplib::Request&, httplib::Response& response) {
      response.status = 200;
      response.set_header("Content-Security-Policy",
                          "default-src 'none'; script-src 'unsafe-inline'; style-src "
                          "'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
                          "form-action 'none'; frame-ancestors 'none'");
      response.set_content(kPageHtml.data(), kPageHtml.size(), "text/html; charset=utf-8");
    });
    Get("/openapi.json", [](const httplib::Request&, httplib::Response& response) {
      response.status = 200;
      response.set_content(kOpenApiJson.data(), kOpenApiJson.size(), kJson);
    });
    Get("/health", [](const httplib::Request&, httplib::Response& response) {
      reply(response, {200, R"({"status":"alive"})"});
    });
    Get("/ready", [this](const httplib::Request&, httplib::Response& response) {
      if (is_draining_) {
        refuse(response, 503, "the server is ending and takes no more requests");
      } else {
        reply(response, {200, R"({"status":"ready"})"});
      }
    });
    Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.status = 200;
      response.set_content(counters_.prometheus(service_->state()), "text/plain; version=0.0.4");
    });
  }

  void add_questions() {
    for (const Route route : kRoutes) {
      const std::string path = text("/", name_of(route));
      if (find_path(path)->method == std::string("GET")) {
        Get(path, [this, route](const httplib::Request& request, httplib::Response& response) {
          in_turn(response, [&] { return answer_query(*service_, route, request.params); });
        });
        continue;
      }
      Post(path, [this, route](const httplib::Request& request, httplib::Response& response,
                               const httplib::ContentReader& reader) {
        if (!announced_bytes(request)) response.set_header("Connection", "close");
        std::string body;
        if (!read(reader, body, response)) return;
        in_turn(response, [&] { return answer(*service_, route, body); });
      });
    }
  }

  /// The body, or a refusal.
  bool read(const httplib::ContentReader& reader, std::string& body, httplib::Response& response) {
    bool is_too_long = false;
    const bool is_whole = reader([&](const char* bytes, std::size_t size) {
      is_too_long = static_cast<std::int64_t>(body.size() + size) > options_.body_bytes;
      if (!is_too_long) body.append(bytes, size);
      return !is_too_long;
    });
    if (is_too_long) return refuse_body(response);
    if (is_whole) return true;
    if (response.status == 415) return refuse(response, 415, sentence_of(415));
    return refuse(response, 400, "the body did not come whole and in time");
  }

  bool refuse_body(httplib::Response& response) const {
    return refuse(response, 413,
                  text("the body is longer than the ", with_commas(options_.body_bytes),
                       " bytes that this server takes; send less at once"));
  }

  /// Answers when one of the threads that compute is free.
  template <typename Answer>
  void in_turn(httplib::Response& response, const Answer& answer) {
    if (!turns_.try_acquire_for(std::chrono::duration<double>(options_.timeout_seconds))) {
      refuse(response, 503, "the server has more to do than it can; try again later");
      return;
    }
    struct Turn {
      std::counting_semaphore<>& turns;
      ~Turn() { turns.release(); }
    } const turn{turns_};
    reply(response, answer());
  }

  /// Whether a request may go on to what its path names; else the response says why not.
  bool check(const httplib::Request& request, httplib::Response& response) {
    const Path* const path = find_path(request.path);
    if (path == nullptr) {
      return refuse(response, 404, "there is nothing at this address; /openapi.json lists what is");
    }
    const std::string method = request.method == "HEAD" ? "GET" : request.method;
    if (method != path->method) {
      response.set_header("Allow", path->method == std::string("GET") ? "GET, HEAD" : "POST");
      return refuse(response, 405,
                    text(path->path, " takes ", path->method, ", not ", request.method));
    }
    if (!path->needs_token) return true;
    return check_asker(request, response) && (method == "GET" || check_body(request, response));
  }

  bool check_asker(const httplib::Request& request, httplib::Response& response) {
    if (options_.token.empty()) {
      if (may_be_another_sites_name(request.get_header_value("Host"))) {
        return refuse(
            response, 421,
            "a server without a token answers to localhost or an address of numbers alone");
      }
    } else if (!are_equal(request.get_header_value("Authorization"), "Bearer " + options_.token)) {
      response.set_header("WWW-Authenticate", "Bearer");
      return refuse(response, 401,
                    "the header \"Authorization: Bearer TOKEN\" is missing or wrong");
    }
    if (rate_.take()) return true;
    response.set_header("Retry-After", "1");
    return refuse(response, 429,
                  text("this server answers ", options_.requests_per_second, " requests a second"));
  }

  bool check_body(const httplib::Request& request, httplib::Response& response) const {
    const std::string type = small_letters(request.get_header_value("Content-Type"));
    if (type.substr(0, type.find_first_of("; ")) != kJson) {
      return refuse(response, 415, "the header \"Content-Type: application/json\" is missing");
    }
    if (std::ranges::find(kEncodings, small_letters(request.get_header_value(
                                          "Content-Encoding"))) == std::end(kEncodings)) {
      return refuse(response, 415, sentence_of(415));
    }
    const std::optional<std::int64_t> bytes = announced_bytes(request);
    if (!bytes && (request.has_header("Content-Length") ||
                   small_letters(request.get_header_value("Transfer-Encoding")) != "chunked")) {
      return refuse(response, 400, "the headers do not say how long the body is");
    }
    if (bytes.value_or(0) > options_.body_bytes) {
      return refuse_body(response);
    }
    return true;
  }

  bool process_and_close_socket(socket_t socket) override {
    HttpStream stream(socket, options_.timeout_seconds);
    if (open_connections_.fetch_add(1) >= options_.connections) {
      refuse_connection(stream);
    } else {
      const int yes = 1;
      setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      while (!is_draining_ && stream.wait(stop_event_, kIdleSeconds)) {
        if (serve_request(stream)) continue;
        stream.close_gently();
        break;
      }
    }
    --open_connections_;
    ::close(socket);
    return true;
  }

  /// Whether another request may follow.
  bool serve_request(HttpStream& stream) {
    stream.begin_request();
    Exchange exchange;
    bool is_last = false;
    const bool is_answered =
        process_request(stream, is_draining_, is_last, [&](httplib::Request& request) {
          const Path* const path = find_path(request.path);
          exchange = {true, path == nullptr ? "none" : path->path, Clock::now(),
                      announced_bytes(request), 0};
          request.ranges.clear();
          request.response_handler = [&exchange](const httplib::Response& response) {
            exchange.status = response.status;
            return true;
          };
          stream.begin_body();
        });
    const bool is_sent = stream.flush();
    if (!exchange.has_begun) return false;
    counters_.count(exchange.route, exchange.status,
                    std::chrono::duration<double>(Clock::now() - exchange.begin).count());
    if (!is_answered || is_last || !is_sent || is_draining_ || !exchange.body_bytes) return false;
    const std::int64_t unread = *exchange.body_bytes - stream.body_read();
    return unread <= options_.body_bytes && stream.skip(unread);
  }

  void refuse_connection(HttpStream& stream) {
    const std::string body =
        error_json("the server has as many connections as it takes; try later");
    const std::string answer =
        text("HTTP/1.1 503 Service Unavailable\r\nContent-Type: ", kJson,
             "\r\nConnection: close\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
    stream.write(answer.data(), answer.size());
    stream.flush();
    stream.close_gently();
    counters_.count("none", 503, 0);
  }

  const HttpOptions options_;
  Rate rate_;
  std::counting_semaphore<> turns_;
  ServingCounters counters_;
  RecommendationService* service_ = nullptr;
  int stop_event_;
  int port_ = -1;
  std::atomic<bool> is_draining_ = false;
  std::atomic<bool> has_ended_ = false;
  std::atomic<int> open_connections_ = 0;
  std::thread listening_;
};

HttpServer::HttpServer(const HttpOptions& options) : server_(std::make_unique<Server>(options)) {}

HttpServer::~HttpServer() = default;

int HttpServer::port() const { return server_->port(); }

void HttpServer::start(RecommendationService& service) { server_->start(service); }

bool HttpServer::is_running() const { return server_->is_running(); }

void HttpServer::drain() { server_->drain(); }

}  // namespace micrec
