#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "cluster/job.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/trained_run.h"
#include "serve/later_files.h"
#include "serve/server.h"

namespace micrec {
namespace {

struct ServeOptions {
  TrainedRunOptions run;
  ServerOptions server;
  std::string token_file;
  bool from_stdin = false;
  JobOptions job = job_of("serve");
};

int serve(const ServeOptions& options, const HeldSignals* signals, Job& job) {
  require_one_process("serve", job);
  ServerOptions server = options.server;
  server.http.threads = compute_threads();
  const RunOpener open = [&](const ToldReader& told) {
    TrainedRunOptions run = options.run;
    run.read_additions = additions_reader(run.later, told);
    return open_trained_run(run, job);
  };
  if (signals != nullptr) {
    serve_http(server, open, *signals, job.log_once());
  } else {
    serve_lines(server, open, std::cin, std::cout, job.log_once());
  }
  return 0;
}

/// What the flags mean together, before anything is opened. Errors: Error(usage), Error(io).
void check(ServeOptions& options, const Arguments& arguments) {
  ServerOptions& server = options.server;
  if (!options.from_stdin) take_token(options.token_file, server.http);
  if (server.log.empty()) {
    server.log = (std::filesystem::path(options.run.run_dir) / "observed.log").string();
    return;
  }
  std::vector<std::string> inputs = inputs_of_run(options.run);
  for (std::string& path : files_of(server)) inputs.push_back(std::move(path));
  inputs.insert(inputs.end(), {options.run.dataset, options.token_file});
  std::erase(inputs, "");
  check_output("--log", server.log, arguments, inputs);
}

std::vector<Flag> flags_of(ServeOptions& options) {
  ServerOptions& server = options.server;
  HttpOptions& http = server.http;
  const std::vector<Flag> address = {
      {"host", "Address", "",
       "the address to listen on; one that other machines reach needs --token_file", http.host},
      {"port", "Address", "", "the port to listen on; 0: any that is free, which is told",
       http.port, between(0, 65535)},
      {"token_file", "Address", "FILE",
       "holds a secret of at least 16 characters: requests must bear it, in the header "
       "Authorization: Bearer SECRET",
       options.token_file}};
  const std::vector<Flag> served = {
      {"stdin", "Address", "",
       "answer requests from standard input, a JSON object a line, on standard output, instead of "
       "listening",
       options.from_stdin},
      {"titles", "What is served", "DOMAIN=FILE,...",
       "titles of items for people: JSON lines or a table with item_id and title", server.titles},
      {"attributes", "What is served", "DOMAIN=FILE,...",
       "what \"where\" and \"at_most\" of requests ask about: tables with a header line, item_id "
       "and other columns of numbers or texts",
       server.attributes},
      {"log", "What is served", "FILE",
       "events and new items that /observe was told of, read at the start and appended to; empty: "
       "observed.log in the run folder",
       server.log}};
  const std::vector<Flag> connections = {
      {"rate", "Limits", "requests a second", "how many are answered; 0: no limit",
       http.requests_per_second, at_least(0)},
      {"timeout", "Limits", "seconds",
       "how long a request may take to come in and to wait for its turn, and its answer to leave",
       http.timeout_seconds, between(0.01, 86400)},
      {"connections", "Limits", "", "how many at once; more are answered 503", http.connections,
       between(1, 10000)},
      {"max_body", "Limits", "bytes", "of a request's body", http.body_bytes, at_least(1024)}};
  const std::vector<Flag> limits = {
      {"max_k", "Limits", "items", "in a list", server.limits.k, at_least(1)},
      {"max_items", "Limits", "items", "that a request may name, and events that it may bring",
       server.limits.items, at_least(1)}};
  const auto nobody_connects = [&options] {
    return options.from_stdin ? std::string("with --stdin") : std::string();
  };
  return trained_run_flags(options.run,
                           idle_where(nobody_connects, address) + served +
                               addition_flags(options.run.later) +
                               idle_where(nobody_connects, connections) + limits,
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
    std::optional<HeldSignals> signals;
    if (!options->from_stdin) signals.emplace();
    const HeldSignals* const held = signals ? &*signals : nullptr;
    return run_job(options->job, [&](Job& self) { return serve(*options, held, self); });
  };
  return command;
}

}  // namespace micrec
