#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
#include "serve/served_model.h"
#include "serve/service.h"

namespace micrec {
namespace {

constexpr std::size_t kShortestToken = 16;
constexpr std::int64_t kLongestTokenFile = 4096;

struct ServeOptions {
  TrainedRunOptions run;
  HttpOptions http;
  ServiceLimits limits;
  std::string token_file;
  std::string titles;
  std::string attributes;
  std::string log;
  bool from_stdin = false;
  JobOptions job = job_of("serve");
};

/// The signals that a server acts on, kept back until it asks for them. Made before other threads,
/// which keep them back too.
class ServerSignals {
 public:
  ServerSignals() {
    sigemptyset(&signals_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, kWake}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~ServerSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  ServerSignals(const ServerSignals&) = delete;
  ServerSignals& operator=(const ServerSignals&) = delete;

  /// Has whoever waits in next() look up. By any thread.
  static void wake() { kill(getpid(), kWake); }

  /// The next within a second, or 0.
  int next() const {
    const timespec second = {1, 0};
    return std::max(0, sigtimedwait(&signals_, nullptr, &second));
  }

 private:
  static constexpr int kWake = SIGUSR1;

  sigset_t signals_{};
  sigset_t before_{};
};

std::shared_ptr<const ServedModel> load(const ServeOptions& options, Job& job,
                                        const ServedAdditions& additions) {
  TrainedRunOptions run = options.run;
  run.read_additions = additions.read;
  ServedFiles files = {read_item_titles(files_by_domain("--titles", options.titles)),
                       files_by_domain("--attributes", options.attributes)};
  for (const auto& [domain, titles] : additions.titles) {
    files.titles[domain].insert(titles.begin(), titles.end());
  }
  return std::make_shared<const ServedModel>(open_trained_run(run, job), files, job.log_once());
}

void load_again(Job& job, RecommendationService& service) {
  const auto describe = [&] {
    const ServiceState state = service.state();
    return state.new_items == 0
               ? state.checkpoint
               : text(state.checkpoint, " with ", with_commas(state.new_items), " new items");
  };
  try {
    service.reload();
    job.log_once() << "answers are from " << describe() << " now" << std::endl;
  } catch (const Error& error) {
    job.log_once() << error.what() << "; answers stay from " << describe() << std::endl;
  }
}

int serve_http(const ServeOptions& options, HttpServer& server, RecommendationService& service,
               const ServerSignals& signals, Job& job) {
  server.start(service);
  job.log_once() << "listening on http://" << options.http.host << ":" << server.port()
                 << ", answers are from " << service.state().checkpoint << std::endl;
  while (true) {
    const int signal = signals.next();
    if (signal == SIGHUP || service.has_news()) load_again(job, service);
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

int serve_stdin(RecommendationService& service, Job& job) {
  std::string line;
  while (std::cout && std::getline(std::cin, line)) {
    std::cout << answer_line(service, line) << std::endl;
    if (service.has_news()) load_again(job, service);
  }
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
  RecommendationService service(
      [&](const ServedAdditions& additions) { return load(options, job, additions); },
      options.limits, options.log, job.log_once(), server ? ServerSignals::wake : nullptr);
  return server ? serve_http(options, *server, service, *signals, job) : serve_stdin(service, job);
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

/// What the flags mean together, before anything is opened. Errors: Error(usage), Error(io).
void check(ServeOptions& options, const Arguments& arguments) {
  HttpOptions& http = options.http;
  if (!options.token_file.empty()) http.token = read_token(options.token_file);
  if (!options.from_stdin && http.token.empty() && !is_loopback(http.host)) {
    throw Error(Cause::usage,
                text("other machines may reach --host=", http.host,
                     ", where a secret must keep strangers out: give --token_file=FILE, or listen "
                     "on 127.0.0.1"));
  }
  if (options.log.empty()) {
    options.log = (std::filesystem::path(options.run.run_dir) / "observed.log").string();
  } else {
    std::vector<std::string> inputs = files_of_run(options.run.run_dir);
    inputs.insert(inputs.end(), {options.run.dataset, options.token_file});
    for (const auto& [flag, list] :
         {std::pair("--titles", options.titles), std::pair("--attributes", options.attributes)}) {
      for (const auto& [domain, path] : files_by_domain(flag, list)) inputs.push_back(path);
    }
    std::erase(inputs, "");
    check_output("--log", options.log, arguments, inputs);
  }
}

std::vector<Flag> flags_of(ServeOptions& options) {
  HttpOptions& http = options.http;
  return trained_run_flags(
      options.run,
      {{"host", "Address", "",
        "the address to listen on; one that other machines reach needs --token_file", http.host},
       {"port", "Address", "", "the port to listen on; 0: any that is free, which is told",
        http.port, between(0, 65535)},
       {"token_file", "Address", "FILE",
        "holds a secret of at least 16 characters: requests must bear it, in the header "
        "Authorization: Bearer SECRET",
        options.token_file},
       {"stdin", "Address", "",
        "answer requests from standard input, a JSON object a line, on standard output, instead of "
        "listening",
        options.from_stdin},
       {"titles", "What is served", "DOMAIN=FILE,...",
        "titles of items for people: JSON lines or a table with item_id and title", options.titles},
       {"attributes", "What is served", "DOMAIN=FILE,...",
        "what \"where\" and \"at_most\" of requests ask about: tables with a header line, item_id "
        "and other columns of numbers or texts",
        options.attributes},
       {"log", "What is served", "FILE",
        "events and new items that /observe was told of, read at the start and appended to; empty: "
        "observed.log "
        "in the run folder",
        options.log},
       {"rate", "Limits", "requests a second", "how many are answered; 0: no limit",
        http.requests_per_second, at_least(0)},
       {"timeout", "Limits", "seconds",
        "how long a request may take to come in and to wait for its turn, and its answer to leave",
        http.timeout_seconds, between(0.01, 86400)},
       {"connections", "Limits", "", "how many at once; more are answered 503", http.connections,
        between(1, 10000)},
       {"max_body", "Limits", "bytes", "of a request's body", http.body_bytes, at_least(1024)},
       {"max_k", "Limits", "items", "in a list", options.limits.k, at_least(1)},
       {"max_items", "Limits", "items", "that a request may name, and events that it may bring",
        options.limits.items, at_least(1)}},
      options.job);
}

}  // namespace

Command serve_command() {
  Command command;
  command.name = "serve";
  command.summary = "answer requests for lists over HTTP, and remember what people did since";
  command.usage = "micrec serve --run_dir=FOLDER [--port=8080] [flags]";
  command.example = "micrec serve --run_dir=runs/fk --titles=food=food.items.jsonl.gz";
  const auto options = std::make_shared<ServeOptions>();
  command.flags = flags_of(*options);
  command.run = [options](const Arguments& arguments) {
    check(*options, arguments);
    std::optional<ServerSignals> signals;
    if (!options->from_stdin) signals.emplace();
    const ServerSignals* const held = signals ? &*signals : nullptr;
    return run_job(0, nullptr, options->job,
                   [&](Job& self) { return serve(*options, held, self); });
  };
  return command;
}

}  // namespace micrec
