#include "serve/requests.h"

#include <filesystem>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/excerpt.h"
#include "base/text.h"
#include "cluster/self_communicator.h"
#include "serve/served_model.h"
#include "serve/service.h"
#include "tests/fuzz/reader.h"
#include "tests/support/file_contents.h"
#include "tests/support/saved_run.h"

namespace micrec::fuzz {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostSentenceBytes = 4096;

/// The service of a small run, as new after every observation that it took.
class Server {
 public:
  Server()
      : table_(
            run_.folder().write("items.csv", "item_id,price,brand\ni0000-0,1,a\ni0001-1,2,b\n")) {
    begin_anew();
  }

  /// The answer by the route of a variant, the last of which is a line that names its own.
  Reply ask(const std::string& body, int variant) {
    if (variant < std::ssize(kRoutes)) return answer(*service_, kRoutes[variant], body);
    const std::string line = answer_line(*service_, body);
    return {Json::parse(line).at("status").get<int>(), line};
  }

  /// What was observed must be of use to a model, and is then forgotten.
  void settle() {
    const ServiceState state = service_->state();
    if (state.observed_events == 0 && state.waiting_items == 0) return;
    if (service_->has_news()) service_->reload();
    service_ = nullptr;
    std::filesystem::remove(run_.folder() / "observed.log");
    begin_anew();
  }

 private:
  void begin_anew() {
    service_ = std::make_unique<RecommendationService>(
        [this](const ServedAdditions& additions) {
          if (model_ && !additions.told) return model_;
          auto made = std::make_shared<const ServedModel>(
              run_.open(alone_, additions.told),
              ServedFiles{additions.titles, {{"domain0", table_}}}, report_);
          if (!additions.told) model_ = made;
          return std::shared_ptr<const ServedModel>(made);
        },
        ServiceLimits{.k = 50, .items = 20}, run_.folder() / "observed.log", report_);
    report_.str("");
  }

  SavedRun run_;
  SelfCommunicator alone_;
  std::string table_;
  std::ostringstream report_;
  std::shared_ptr<const ServedModel> model_;  // of nothing observed
  std::unique_ptr<RecommendationService> service_;
};

void read_requests(const std::string& path, int variant) {
  static Server server;
  const Reply reply = server.ask(file_contents(path), variant);
  const Json json = Json::parse(reply.body);
  const bool is_refused = json.contains("error");
  if (reply.status != 200 && reply.status != 400 && reply.status != 404 && reply.status != 422)
    throw std::logic_error(text("the status is ", reply.status, ": ", reply.body));
  if (is_refused != (reply.status != 200))
    throw std::logic_error(text("a refusal is an error, and nothing else is: ", reply.body));
  if (is_refused) {
    const auto sentence = json["error"].get<std::string>();
    if (sentence.empty() || sentence.size() > kMostSentenceBytes || !is_printable(sentence))
      throw std::logic_error(text("no sentence of one line: ", sentence));
  }
  server.settle();
}

}  // namespace

const Reader& requests() {
  static const Reader reader = {"requests", "request.json", std::ssize(kRoutes) + 1, false,
                                read_requests};
  return reader;
}

}  // namespace micrec::fuzz
