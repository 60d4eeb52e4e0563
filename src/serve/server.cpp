#include "serve/server.h"

#include <istream>
#include <ostream>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "io/durable_files.h"
#include "serve/item_titles.h"
#include "serve/requests.h"
#include "serve/served_model.h"

namespace micrec {
namespace {

constexpr std::size_t kShortestToken = 16;
constexpr std::int64_t kLongestTokenFile = 4096;

std::string read_token(const std::string& path) {
  std::string token = read_small_file(path, kLongestTokenFile);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  const bool is_plain = token.find_first_not_of(
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
                            "=") == std::string::npos;
  if (token.size() >= kShortestToken && is_plain) return token;
  throw Error(Cause::usage, path, " must hold one secret of at least ", kShortestToken,
              " letters, digits and -._~+/=; openssl rand -hex 32 makes one");
}

/// `options`, `open` and `report` are of whoever asks, and outlive it.
ModelLoader loader_of(const ServerOptions& options, const RunOpener& open, std::ostream& report) {
  return [&options, &open, &report](const ServedAdditions& additions) {
    ServedFiles files = {read_item_titles(files_by_domain("--titles", options.titles)),
                         files_by_domain("--attributes", options.attributes)};
    for (const auto& [domain, titles] : additions.titles) {
      files.titles[domain].insert(titles.begin(), titles.end());
    }
    return std::make_shared<const ServedModel>(open(additions.told), files, report);
  };
}

void load_again(RecommendationService& service, std::ostream& report) {
  const auto describe = [&] {
    const ServiceState state = service.state();
    return state.new_items == 0
               ? state.checkpoint
               : text(state.checkpoint, " with ", with_commas(state.new_items), " new items");
  };
  try {
    service.reload();
    report << "answers are from " << describe() << " now" << std::endl;
  } catch (const Error& error) {
    report << error.what() << "; answers stay from " << describe() << std::endl;
  }
}

}  // namespace

std::vector<std::string> files_of(const ServerOptions& options) {
  std::vector<std::string> paths;
  for (const auto& [flag, list] :
       {std::pair("--titles", options.titles), std::pair("--attributes", options.attributes)}) {
    for (const auto& [domain, path] : files_by_domain(flag, list)) paths.push_back(path);
  }
  return paths;
}

void take_token(const std::string& file, HttpOptions& http) {
  if (!file.empty()) http.token = read_token(file);
  if (!http.token.empty() || is_loopback(http.host)) return;
  throw Error(Cause::usage, "other machines may reach --host=", http.host,
              ", where a secret must keep strangers out: give --token_file=FILE, or listen "
              "on 127.0.0.1");
}

void serve_http(const ServerOptions& options, const RunOpener& open, const HeldSignals& signals,
                std::ostream& report) {
  HttpServer server(options.http);  // first, as an address that is taken is soon told
  RecommendationService service(loader_of(options, open, report), options.limits, options.log,
                                report, [&signals] { signals.wake(); });
  server.start(service);
  report << "listening on http://" << options.http.host << ":" << server.port()
         << ", answers are from " << service.state().checkpoint << std::endl;
  while (true) {
    const int signal = signals.next();
    if (signal == SIGHUP || service.has_news_in_time()) load_again(service, report);
    if (signal == SIGTERM || signal == SIGINT) break;
    if (!server.is_running()) {
      throw Error(Cause::io,
                  "the system takes no more connections from this server; see whether "
                  "the process may have more open files, then start it again");
    }
  }
  report << "asked to end: finishing what was begun" << std::endl;
  server.drain();
}

void serve_lines(const ServerOptions& options, const RunOpener& open, std::istream& requests,
                 std::ostream& answers, std::ostream& report) {
  RecommendationService service(loader_of(options, open, report), options.limits, options.log,
                                report);
  std::string line;
  while (answers && std::getline(requests, line)) {
    answers << answer_line(service, line) << std::endl;
    if (service.has_news()) load_again(service, report);
  }
}

}  // namespace micrec
