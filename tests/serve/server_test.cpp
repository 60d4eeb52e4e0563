#include "serve/server.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cluster/self_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/saved_run.h"

namespace micrec {
namespace {

using Json = nlohmann::json;

TEST(HeldSignals, AreGivenWhenAskedForAndForgottenAtTheEnd) {
  {
    const HeldSignals signals;
    raise(SIGTERM);
    raise(SIGHUP);
    EXPECT_EQ(signals.next(), SIGHUP);
    EXPECT_EQ(signals.next(), SIGTERM);
    std::thread([&] { signals.wake(); }).join();
    EXPECT_EQ(signals.next(), 0);
    raise(SIGTERM);
    raise(SIGINT);
    signals.wake();
  }
  // Any of these that were still there would have ended this process.
  sigset_t pending;
  sigpending(&pending);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) EXPECT_EQ(sigismember(&pending, signal), 0);
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    options_.http.port = 0;
    options_.log = run_.folder() / "observed.log";
  }

  /// Opens the newest checkpoint, but not where it `fails_`.
  RunOpener opener() {
    return [this](const ToldReader& told) {
      ++opened_;
      if (fails_ && opened_ > 1) throw Error(Cause::checkpoint, "the checkpoint is damaged");
      return run_.open(alone_, told);
    };
  }

  void expect_said(const std::vector<std::string>& parts) const {
    std::size_t at = 0;
    for (const std::string& part : parts) {
      const std::size_t found = report_.str().find(part, at);
      EXPECT_NE(found, std::string::npos) << part << " is not said, in this order, in\n"
                                          << report_.str();
      if (found != std::string::npos) at = found;
    }
  }

  SavedRun run_;
  SelfCommunicator alone_;
  ServerOptions options_;
  bool fails_ = false;
  int opened_ = 0;
  std::ostringstream report_;
};

TEST_F(ServerTest, OpensTheRunAgainWhenAskedToAndEnds) {
  const HeldSignals signals;
  raise(SIGHUP);  // comes before SIGTERM, whose number is larger
  raise(SIGTERM);
  const RunOpener open = [&](const ToldReader& told) {
    if (opened_ == 1) run_.save(50);
    return opener()(told);
  };
  serve_http(options_, open, signals, report_);
  EXPECT_EQ(opened_, 2);
  expect_said({"listening on http://127.0.0.1:", "answers are from step-000000000025",
               "answers are from step-000000000050 now", "asked to end"});
}

TEST_F(ServerTest, KeepsItsModelWhereTheNextCannotBeOpened) {
  const HeldSignals signals;
  raise(SIGHUP);
  raise(SIGTERM);
  fails_ = true;
  serve_http(options_, opener(), signals, report_);
  EXPECT_EQ(opened_, 2);
  expect_said({"the checkpoint is damaged; answers stay from step-000000000025", "asked to end"});
}

TEST_F(ServerTest, TellsThatItsAddressIsTakenBeforeItOpensTheRun) {
  const HttpServer other(options_.http);
  options_.http.port = other.port();
  const HeldSignals signals;
  expect_error(Cause::io, {"Address already in use"},
               [&] { serve_http(options_, opener(), signals, report_); });
  EXPECT_EQ(opened_, 0);
}

TEST_F(ServerTest, AnswersLinesAndHasNewItemsBeforeTheNext) {
  options_.titles = text(
      "domain0=",
      run_.folder().write("titles.csv", text("item_id,title\n", run_.items()[0][2], ",A lid\n")));
  const Json item = {
      {"domain", "domain0"}, {"item", "n"}, {"features", {{"text", Json(std::vector<int>(7, 1))}}}};
  std::stringstream requests;
  requests << Json{{"route", "items"}, {"domain", "domain0"}, {"q", "a lid"}} << "\n"
           << Json{{"route", "observe"}, {"items", {item}}} << "\n"
           << Json{{"route", "recommend"},
                   {"domains", {"domain0"}},
                   {"only_items", {{"domain0", {"n"}}}}}
           << "\n"
           << "no JSON\n";
  for (const char* key : {"n2", "n3"}) {  // each at once, however long making a model took
    Json more = item;
    more["item"] = key;
    requests << Json{{"route", "observe"}, {"items", {more}}} << "\n"
             << Json{{"route", "items"}, {"domain", "domain0"}, {"q", key}} << "\n";
  }
  std::stringstream answers;
  serve_lines(options_, opener(), requests, answers, report_);
  std::vector<Json> read;
  for (std::string line; std::getline(answers, line);) read.push_back(Json::parse(line));
  ASSERT_EQ(read.size(), 8U);
  EXPECT_EQ(read[0]["lists"][0]["items"][0]["item"], run_.items()[0][2]);
  EXPECT_EQ(read[1]["added_items"], 1);
  EXPECT_EQ(read[2]["lists"][0]["items"][0]["item"], "n");
  EXPECT_EQ(read[3]["status"], 400);
  EXPECT_EQ(read[5]["lists"][0]["items"][0]["item"], "n2");
  EXPECT_EQ(read[7]["lists"][0]["items"][0]["item"], "n3");
  expect_said({"answers are from step-000000000025 with 1 new items now", "with 2 new items now",
               "with 3 new items now"});
  EXPECT_EQ(opened_, 4);
}

TEST_F(ServerTest, TakesATokenThatIsOneAndRefusesAnAddressWithoutIt) {
  HttpOptions http;
  take_token("", http);
  EXPECT_EQ(http.token, "");
  const std::string file = run_.folder().write("token", "0123456789abcDEF-._~+/=\r\n");
  http.host = "0.0.0.0";
  expect_error(Cause::usage, {"--token_file"}, [&] { take_token("", http); });
  take_token(file, http);
  EXPECT_EQ(http.token, "0123456789abcDEF-._~+/=");
  for (const char* wrong :
       {"", "\n", "0123456789abcde\n", "0123456789abcdef 0123", "0123456789\nabcdef"}) {
    const std::string path = run_.folder().write("wrong", wrong);
    expect_error(Cause::usage, {"at least 16"}, [&] { take_token(path, http); });
  }
  expect_error(Cause::io, {"none"}, [&] { take_token(run_.folder() / "none", http); });
}

TEST_F(ServerTest, NamesTheFilesThatItReads) {
  options_.titles = "domain0=a.csv";
  options_.attributes = "domain0=b.csv,domain1=\"c,d.csv\"";
  EXPECT_EQ(files_of(options_), (std::vector<std::string>{"a.csv", "b.csv", "c,d.csv"}));
  options_.titles = "a.csv";
  expect_error(Cause::usage, {"--titles=a.csv"}, [&] { files_of(options_); });
}

}  // namespace
}  // namespace micrec
