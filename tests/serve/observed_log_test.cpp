#include "serve/observed_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "io/durable_files.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using Events = std::vector<ObservedEvent>;

class ObservedLogTest : public testing::Test {
 protected:
  ObservedLog open() {
    read_.clear();
    read_items_.clear();
    report_.str("");
    return {path_,
            [&](const Observation& commit) {
              read_.insert(read_.end(), commit.events.begin(), commit.events.end());
              read_items_.insert(read_items_.end(), commit.items.begin(), commit.items.end());
            },
            report_};
  }

  std::string contents() const { return file_contents(path_); }
  void set_contents(const std::string& bytes) { set_file_contents(path_, bytes); }

  void expect_refused(Cause cause, const std::string& part) {
    const std::string before = contents();
    expect_error(cause, {part}, [&] { open(); });
    EXPECT_EQ(contents(), before);
  }

  const Events first_ = {{"food", "anna", "i1"}, {"food", "\"b\\\n\u00e9", "i2"}};
  const Events second_ = {{"kitchen", "anna", ""}};
  TemporaryFolder folder_;
  std::string path_ = folder_ / "observed.log";
  Events read_;
  std::vector<NewItem> read_items_;
  std::ostringstream report_;
};

TEST_F(ObservedLogTest, GivesBackWhatWasAppended) {
  {
    ObservedLog log = open();
    EXPECT_TRUE(read_.empty());
    log.append({first_});
    log.append({});
    log.append({second_});
    EXPECT_EQ(log.bytes(), static_cast<std::int64_t>(contents().size()));
  }
  const ObservedLog log = open();
  Events all = first_;
  all.insert(all.end(), second_.begin(), second_.end());
  EXPECT_EQ(read_, all);
  EXPECT_EQ(log.bytes(), static_cast<std::int64_t>(contents().size()));
  EXPECT_EQ(report_.str(), path_ + ": 3 events observed before\n");
}

TEST_F(ObservedLogTest, GivesBackNewItemsToTheLastBit) {
  const std::vector<NewItem> items = {
      {"food",
       "n1",
       {{"text", {0.1F, -1e-40F, 3.4e38F, 1.0F / 3, 0}}, {"image", {7}}},
       "A \"pan\""},
      {"kitchen", "n2"}};
  open().append({{}, items});
  open().append({second_, {{"food", "n3", {{"text", {}}}}}});
  open();
  EXPECT_EQ(read_, second_);
  ASSERT_EQ(read_items_.size(), 3U);
  EXPECT_EQ(read_items_[0], items[0]);
  EXPECT_EQ(read_items_[1], items[1]);
  EXPECT_EQ(report_.str(), path_ + ": 1 events and 3 new items observed before\n");
}

TEST_F(ObservedLogTest, RefusesALineThatAnotherProgramWrote) {
  open().append({first_});
  const std::string kept = contents();
  for (const char* json :
       {R"({"items":[{"domain":"d"}],"events":[]})", R"({"items":{},"event":[]})",
        R"({"events":[["a","b"]]})",
        R"({"events":[],"items":[{"domain":"d","item":"i","features":[1]}]})",
        R"({"events":[],"items":[{"domain":"d","item":"i","features":{"text":["x"]}}]})"}) {
    set_contents(kept + digest_bytes(json) + " " + json + "\n");
    expect_refused(Cause::data, ":3: expected");
  }
}

// A crash leaves any part of the last line.
TEST_F(ObservedLogTest, CutsOffALastLineThatIsNotWhole) {
  open().append({first_});
  const std::string kept = contents();
  open().append({second_});
  const std::string whole = contents();
  for (std::size_t size = kept.size() + 1; size < whole.size(); ++size) {
    set_contents(whole.substr(0, size));
    open();
    EXPECT_EQ(read_, first_) << size;
    EXPECT_EQ(contents(), kept) << size;
    expect_has(report_.str(), {"was not finished"});
  }
  std::string changed = whole;
  changed[whole.size() - 5] ^= 1;
  set_contents(changed);
  ObservedLog log = open();
  EXPECT_EQ(read_, first_);
  log.append({second_});
  EXPECT_EQ(contents(), whole);
  for (std::size_t size = 0; size < kept.find('\n'); ++size) {  // of the first line too
    set_contents(kept.substr(0, size));
    std::filesystem::remove(folder_ / "other");
    std::ostringstream report;
    if (size > 0) std::filesystem::copy_file(path_, folder_ / "other");
    const ObservedLog other(
        folder_ / "other", [](const Observation&) { FAIL(); }, report);
    EXPECT_EQ(other.bytes(), static_cast<std::int64_t>(kept.find('\n') + 1)) << size;
  }
}

TEST_F(ObservedLogTest, RefusesWhatACrashCannotLeave) {
  open().append({first_});
  const std::size_t damaged = contents().size() - 5;
  open().append({second_});
  std::string changed = contents();
  changed[damaged] ^= 1;
  set_contents(changed);
  expect_refused(Cause::data, ":2: the line is damaged");
  for (const char* other : {"x", "user_id,item_id\nu,i\n", "{}\n", "\n\n"}) {
    set_contents(other);
    expect_refused(Cause::data, "is no log of observed events");
  }
}

TEST_F(ObservedLogTest, SaysThatAnotherFileMayBeNamed) {
  path_ = folder_ / "none/observed.log";
  expect_refused(Cause::io, "--log names another file");
}

TEST_F(ObservedLogTest, IsOfOneProcessAtATime) {
  const ObservedLog log = open();
  expect_refused(Cause::io, "in use by another server");
}

TEST_F(ObservedLogTest, KeepsWhatManyThreadsAppendAtOnce) {
  constexpr int kThreads = 8;
  constexpr int kEach = 20;
  {
    ObservedLog log = open();
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&log, t] {
        for (int n = 0; n < kEach; ++n) {
          const std::string user = std::to_string(t);
          log.append({{{"d", user, std::to_string(n)}, {"d", user, "x"}}, {{"d", user}}});
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  open();
  ASSERT_EQ(read_.size(), std::size_t{2} * kThreads * kEach);
  std::set<std::pair<std::string, std::string>> distinct;
  EXPECT_EQ(read_items_.size(), std::size_t{kThreads} * kEach);
  for (const ObservedEvent& event : read_) distinct.emplace(event.user, event.item);
  EXPECT_EQ(distinct.size(), std::size_t{kThreads} * (kEach + 1));
}

TEST_F(ObservedLogTest, KeepsNothingOfWhatADiskDoesNotTakeAndGoesOnAfterwards) {
  ObservedLog log = open();
  log.append({first_});
  const std::string kept = contents();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full = {kept.size() + 10, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  EXPECT_THROW(log.append({second_}), Error);
  EXPECT_EQ(contents(), kept);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  log.append({second_});
  EXPECT_EQ(contents().substr(0, kept.size()), kept);
  EXPECT_EQ(log.bytes(), static_cast<std::int64_t>(contents().size()));
}

}  // namespace
}  // namespace micrec
