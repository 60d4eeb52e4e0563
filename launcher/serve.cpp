#include <gflags/gflags.h>
#include <signal.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "cluster/job.h"
#include "io/durable_files.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/trained_run.h"
#include "serve/http_server.h"
#include "serve/item_titles.h"
#include "serve/requests.h"
#include "serve/service.h"

DEFINE_string(host, "127.0.0.1",
              "the address to listen on; one that other machines reach needs --token_file");
DEFINE_int32(port, 8080, "the port to listen on; 0: any that is free, which is told");
DEFINE_string(
    token_file, "",
    "a file with a secret of at least 16 characters: requests must bear it, in the header "
    "Authorization: Bearer SECRET");
DEFINE_bool(
    stdin, false,
    "answer requests from standard input, a JSON object a line, on standard output, instead "
    "of listening");
DEFINE_string(log, "",
              "the file of events that /observe was told of, read at the start and appended to; "
              "empty: observed.log in the run folder");
DEFINE_string(titles, "",
              "titles of items for people: JSON lines or a table with item_id and title, for each "
              "domain DOMAIN=FILE with commas between");
DEFINE_double(rate, 0, "requests a second that are answered; 0: no limit");
DEFINE_double(
    timeout, 10,
    "how long a request may take to come in, to wait for its turn, and its answer to leave");
DEFINE_int32(connections, 64, "connections at once; more are answered 503");
DEFINE_int64(max_body, 1 << 20, "largest body of a request");
DEFINE_int64(max_k, 1000, "longest list that can be asked for");
DEFINE_int64(max_items, 10000, "items that one request may name, and events that it may bring");

namespace micrec {
namespace {

constexpr std::size_t kShortestToken = 16;
constexpr std::int64_t kLongestTokenFile = 4096;

struct ServeOptions {
  TrainedRunOptions run;
  HttpOptions http;
  ServiceLimits limits;
  ItemTitles titles;
  std::string log;
  bool from_stdin = false;
};

/// The signals that a server acts on, kept back until it asks for them. Made before other threads,
/// which keep them back too.
class ServerSignals {
 public:
  ServerSignals() {
    sigemptyset(&signals_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~ServerSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  ServerSignals(const ServerSignals&) = delete;
  ServerSignals& operator=(const ServerSignals&) = delete;

  /// The next within a second, or 0.
  int next() const {
    const timespec second = {1, 0};
    return std::max(0, sigtimedwait(&signals_, nullptr, &second));
  }

 private:
  sigset_t signals_{};
  sigset_t before_{};
};

std::shared_ptr<const ServedModel> load(const ServeOptions& options, Job& job) {
  return make_served_model(open_trained_run(options.run, job), options.titles);
}

void load_again(const ServeOptions& options, Job& job, RecommendationService& service) {
  try {
    service.replace(load(options, job));
    job.log_once() << "answers are from " << service.state().checkpoint << " now\n";
  } catch (const Error& error) {
    job.log_once() << error.what() << "; answers stay from " << service.state().checkpoint << "\n";
  }
}

int serve_http(const ServeOptions& options, HttpServer& server, RecommendationService& service,
               const ServerSignals& signals, Job& job) {
  server.start(service);
  job.log_once() << "listening on http://" << options.http.host << ":" << server.port()
                 << ", answers are from " << service.state().checkpoint << std::endl;
  while (true) {
    const int signal = signals.next();
    if (signal == SIGHUP) load_again(options, job, service);
    if (signal == SIGTERM || signal == SIGINT) break;
    if (!server.is_running()) {
      throw Error(Cause::io,
                  "the system takes no more connections from this server; see whether "
                  "the process may have more open files, then start it again");
    }
  }
  job.log_once() << "asked to end: finishing what was begun" << std::endl;
  server.drain();
  return 0;
}

int serve_stdin(RecommendationService& service) {
  std::string line;
  while (std::getline(std::cin, line)) std::cout << answer_line(service, line) << std::endl;
  return 0;
}

int serve(const ServeOptions& options, const ServerSignals* signals, Job& job) {
  if (job.world_size() > 1) {
    throw Error(Cause::usage, text("serve runs as one process, but was started as ",
                                   job.world_size(), "; start it without mpirun"));
  }
  std::optional<HttpServer> server;
  if (!options.from_stdin) {
    HttpOptions http = options.http;
    http.threads = job.threads();
    server.emplace(http);
  }
  RecommendationService service(load(options, job), options.limits, options.log, job.log_once());
  return server ? serve_http(options, *server, service, *signals, job) : serve_stdin(service);
}

std::string read_token(const std::string& path) {
  std::string token = read_small_file(path, kLongestTokenFile);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  const bool is_plain = token.find_first_not_of(
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
                            "=") == std::string::npos;
  if (token.size() >= kShortestToken && is_plain) return token;
  throw Error(Cause::usage, text(path, " must hold one secret of at least ", kShortestToken,
                                 " letters, digits and -._~+/=; openssl rand -hex 32 makes one"));
}

int run_serve(const Arguments& arguments) {
  ServeOptions options;
  options.http.host = FLAGS_host;
  options.http.port = FLAGS_port;
  options.http.connections = FLAGS_connections;
  options.http.requests_per_second = FLAGS_rate;
  options.http.timeout_seconds = FLAGS_timeout;
  options.http.body_bytes = FLAGS_max_body;
  options.limits = {FLAGS_max_k, FLAGS_max_items};
  options.from_stdin = FLAGS_stdin;
  if (!FLAGS_token_file.empty()) options.http.token = read_token(FLAGS_token_file);
  if (!options.from_stdin && options.http.token.empty() && !is_loopback(FLAGS_host)) {
    throw Error(Cause::usage,
                text("other machines may reach --host=", FLAGS_host,
                     ", where a secret must keep strangers out: give --token_file=FILE, or listen "
                     "on 127.0.0.1"));
  }
  options.run = trained_run_from_flags(arguments);
  options.log = FLAGS_log;
  if (options.log.empty()) {
    options.log = (std::filesystem::path(FLAGS_run_dir) / "observed.log").string();
  } else {
    check_output("--log", options.log, arguments, {FLAGS_dataset});
  }
  std::optional<ServerSignals> signals;
  if (!options.from_stdin) signals.emplace();
  options.titles = read_titles_by_domain(FLAGS_titles);
  const ServerSignals* const held = signals ? &*signals : nullptr;
  return run_ranks_of("serve", [&](Job& self) { return serve(options, held, self); });
}

}  // namespace

Command serve_command() {
  Command command;
  command.name = "serve";
  command.summary = "answer requests for lists over HTTP, and remember what people did since";
  command.usage = "micrec serve --run_dir=FOLDER [--port=8080] [flags]";
  command.example =
      "micrec serve --run_dir=runs/fk "
      "--titles=food=food.items.jsonl.gz,kitchen=kitchen.items.jsonl.gz";
  command.flags = trained_run_flags({{"host", "Address", ""},
                                     {"port", "Address", "", between(0, 65535)},
                                     {"token_file", "Address", "a file"},
                                     {"stdin", "Address", ""},
                                     {"log", "What is served", "a file"},
                                     {"titles", "What is served", "DOMAIN=FILE,..."},
                                     {"rate", "Limits", "requests a second", at_least(0)},
                                     {"timeout", "Limits", "seconds", above(0)},
                                     {"connections", "Limits", "", between(1, 10000)},
                                     {"max_body", "Limits", "bytes", at_least(1024)},
                                     {"max_k", "Limits", "items", at_least(1)},
                                     {"max_items", "Limits", "items", at_least(1)}});
  command.run = run_serve;
  return command;
}

}  // namespace micrec
