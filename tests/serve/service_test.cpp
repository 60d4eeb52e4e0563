#include "serve/service.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/description.h"
#include "base/error.h"
#include "base/text.h"
#include "cluster/thread_communicator.h"
#include "serve/explanation.h"
#include "serve/filter/filter_files.h"
#include "serve/list_writer.h"
#include "serve/recommender.h"
#include "serve/requests.h"
#include "serve/served_model.h"
#include "serve/similar_items.h"
#include "serve/trained_run.h"
#include "tests/support/expect_error.h"
#include "tests/support/saved_run.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

using Json = nlohmann::json;

class ServiceTest : public testing::Test {
 protected:
  void save(std::int64_t step) { run_.save(step); }

  std::unique_ptr<TrainedRun> open(Communicator& communicator) const {
    return run_.open(communicator);
  }

  void with_service(const std::function<void(RecommendationService&)>& body) {
    run_ranks(1, [&](Communicator& communicator) {
      const ServedFiles files = {{{"domain0", {{items_[0][2], "Lid & Pot"}}}}, attributes_};
      RecommendationService service(
          [&](const ServedAdditions&) {
            return std::make_shared<const ServedModel>(open(communicator), files, report_);
          },
          {.k = 50, .items = 100}, folder_ / "observed.log", report_);
      body(service);
    });
  }

  /// The lists of a Recommender for one person with a history in the first domain.
  std::vector<AnsweredList> expected(const std::string& user,
                                     const std::vector<std::int32_t>& history) {
    std::vector<AnsweredList> lists;
    run_ranks(1, [&](Communicator& communicator) {
      const std::unique_ptr<TrainedRun> run = open(communicator);
      Recommender recommender(run->dataset, *run->model, run->epoch);
      if (!history.empty()) {
        History given;
        given.users.add(user);
        given.met = {MetItems{history}};
        recommender.set_history(0, std::move(given));
      }
      const std::vector<std::string> keys = {user};
      for (const int domain : {0, 1}) {
        recommender.recommend(domain, keys, {.k = 7}, [&](const Recommendation& list) {
          AnsweredList answered = {dataset_.domains()[domain].name, name_of(list.basis), {}};
          for (const ScoredItem& item : list.items) {
            answered.items.push_back({items_[domain][item.item], "", item.score});
          }
          lists.push_back(answered);
        });
      }
    });
    return lists;
  }

  static void expect_equal(const std::vector<AnsweredList>& lists,
                           const std::vector<AnsweredList>& expected) {
    ASSERT_EQ(lists.size(), expected.size());
    for (std::size_t n = 0; n < lists.size(); ++n) {
      EXPECT_EQ(lists[n].domain, expected[n].domain);
      EXPECT_EQ(lists[n].basis, expected[n].basis);
      ASSERT_EQ(lists[n].items.size(), expected[n].items.size());
      for (std::size_t i = 0; i < lists[n].items.size(); ++i) {
        EXPECT_EQ(lists[n].items[i].item, expected[n].items[i].item) << n << " " << i;
        EXPECT_EQ(lists[n].items[i].score, expected[n].items[i].score) << n << " " << i;
      }
    }
  }

  std::vector<std::string> keys(int domain, const std::vector<std::int32_t>& items) const {
    std::vector<std::string> keys;
    for (const std::int32_t item : items) keys.push_back(items_[domain][item]);
    return keys;
  }

  /// A user of the first domain and what the model has seen of them, rising.
  std::pair<std::string, std::vector<std::int32_t>> some_user() const {
    std::vector<std::int32_t> seen;
    const Interactions train = dataset_.read(0, Split::train);
    const Interactions later = dataset_.read(0, Split::later);
    const std::int32_t user = train.user.front();
    for (const Interactions& part : {train, later}) {
      for (std::size_t n = 0; n < part.user.size(); ++n) {
        if (part.user[n] == user) seen.push_back(part.item[n]);
      }
    }
    std::ranges::sort(seen);
    return {dataset_.user_keys(0)[user], seen};
  }

  SavedRun run_;
  const TemporaryFolder& folder_ = run_.folder();
  const DatasetFile& dataset_ = run_.dataset();
  const std::vector<std::vector<std::string>>& items_ = run_.items();
  std::map<std::string, std::string> attributes_;  // file by domain
  std::ostringstream report_;
};

TEST_F(ServiceTest, AnswersAsRecommenderWould) {
  const auto [user, seen] = some_user();
  with_service([&](RecommendationService& service) {
    ListRequest request;
    request.k = 7;
    request.person.user = user;
    expect_equal(service.recommend(request).lists, expected(user, {}));
    request.person = {"somebody new", {{"domain0", keys(0, {5, 1, 5})}}};
    expect_equal(service.recommend(request).lists, expected("somebody new", {1, 5}));
    request.person.user.reset();
    expect_equal(service.recommend(request).lists, expected("somebody new", {1, 5}));
    request.person = {};
    expect_equal(service.recommend(request).lists, expected("nobody", {}));
    request.domains = {"domain1"};
    ASSERT_EQ(service.recommend(request).lists.size(), 1U);
    EXPECT_EQ(service.recommend(request).lists[0].domain, "domain1");
  });
}

TEST_F(ServiceTest, AnswersManyAtOnceAsOneByOne) {
  const std::vector<std::string> users = dataset_.user_keys(0);
  with_service([&](RecommendationService& service) {
    const auto list_of = [&](const std::string& user) {
      ListRequest request;
      request.person = {user, {{"domain0", keys(0, {static_cast<std::int32_t>(user.size()), 3})}}};
      request.k = 7;
      return service.recommend(request).lists;
    };
    std::vector<std::vector<AnsweredList>> alone;
    for (const std::string& user : users) alone.push_back(list_of(user));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (std::size_t n = 0; n < users.size(); ++n) expect_equal(list_of(users[n]), alone[n]);
      });
    }
    service.reload();
    service.observe({{{"domain1", "bystander", items_[1][0]}}});
    for (std::thread& thread : threads) thread.join();
  });
}

TEST_F(ServiceTest, WhatIsObservedCountsAtOnceOnceAndAfterARestart) {
  const auto [user, seen] = some_user();
  std::int32_t unseen = 0;
  while (std::ranges::binary_search(seen, unseen)) ++unseen;
  std::vector<std::int32_t> more = seen;
  more.push_back(unseen);
  std::ranges::sort(more);
  const auto check = [&](RecommendationService& service) {
    ListRequest request;
    request.k = 7;
    request.person.user = "somebody new";
    expect_equal(service.recommend(request).lists, expected("somebody new", {1, 5}));
    request.person.user = user;
    expect_equal(service.recommend(request).lists, expected(user, more));
    EXPECT_EQ(service.state().observed_people, 2);
    EXPECT_EQ(service.state().observed_events, 3);
  };
  with_service([&](RecommendationService& service) {
    ObserveAnswer answer = service.observe({{{"domain0", "somebody new", items_[0][5]},
                                             {"domain0", "somebody new", "what is it"},
                                             {"domain0", "somebody new", items_[0][1]},
                                             {"domain0", "somebody new", items_[0][5]}}});
    EXPECT_EQ(answer.added, 2);
    EXPECT_EQ(answer.known, 1);
    EXPECT_EQ(answer.unknown.at("domain0").count, 1);
    EXPECT_EQ(answer.unknown.at("domain0").example, "what is it");
    EXPECT_EQ(service.observe({{{"domain0", user, items_[0][unseen]}}}).added, 1);
    EXPECT_EQ(service.observe({{{"domain0", user, items_[0][unseen]}}}).known, 1);
    EXPECT_THROW(service.observe({{{"domain0", "x", items_[0][1]}, {"nowhere", "x", "y"}}}), Error);
    check(service);
  });
  with_service([&](RecommendationService& service) { check(service); });
}

TEST_F(ServiceTest, AHistoryThatIsGivenStandsForAllThatWasDoneInItsDomain) {
  const auto [user, seen] = some_user();
  with_service([&](RecommendationService& service) {
    service.observe({{{"domain0", user, items_[0][0]}}});
    ListRequest request;
    request.k = 7;
    request.person = {user, {{"domain0", keys(0, {1, 5})}}};
    expect_equal(service.recommend(request).lists, expected(user, {1, 5}));
  });
}

TEST_F(ServiceTest, ScoresAreThoseOfTheList) {
  with_service([&](RecommendationService& service) {
    for (const Asker& person :
         {Asker{some_user().first, {}}, Asker{{}, {{"domain0", keys(0, {1, 5})}}}, Asker{}}) {
      const Answer list = service.recommend({person, {}, 6, {}});
      for (const AnsweredList& of_domain : list.lists) {
        std::vector<std::string> items;
        for (const AnsweredItem& item : of_domain.items) items.push_back(item.item);
        const Answer scores = service.score({person, {{of_domain.domain, items}}});
        expect_equal(scores.lists, {of_domain});
      }
    }
  });
}

TEST_F(ServiceTest, SimilarItemsHaveTheLargestCosines) {
  with_service([&](RecommendationService& service) {
    const Answer answer = service.similar({{{"domain0", keys(0, {2, 7})}}, {}, 50});
    ASSERT_EQ(answer.lists.size(), 1U);
    std::vector<AnsweredItem> items = answer.lists[0].items;
    ASSERT_EQ(items.size(), items_[0].size() - 2);
    run_ranks(1, [&](Communicator& communicator) {
      const std::unique_ptr<TrainedRun> run = open(communicator);
      const Range nodes = run->shard.space().items_of(0);
      const at::Tensor z =
          run->model->embeddings(run->epoch).slice(0, nodes.begin, nodes.end).to(at::kDouble);
      const at::Tensor unit = z / z.norm(2, 1, /*keepdim=*/true);
      const at::Tensor mean = unit[2] + unit[7];
      const at::Tensor cosine = at::mv(unit, mean / mean.norm());
      for (std::size_t n = 0; n < items.size(); ++n) {
        const auto item = std::ranges::find(items_[0], items[n].item) - items_[0].begin();
        EXPECT_TRUE(item != 2 && item != 7);
        EXPECT_NEAR(items[n].score, cosine[item].item<double>(), 1e-6);
        EXPECT_LE(items[n].score, items[n == 0 ? 0 : n - 1].score);
      }
    });
    const Answer there = service.similar({{{"domain0", keys(0, {2, 7})}}, {"domain1"}, 4});
    EXPECT_EQ(there.lists[0].basis, "met_it");
    for (const AnsweredItem& item : there.lists[0].items) EXPECT_GT(item.score, 0);
    EXPECT_THROW(service.similar({{{"domain0", {"what is it"}}}, {}, 4}), Error);
  });
}

// micrec similar and the server have one implementation.
TEST_F(ServiceTest, SimilarItemsAreThoseOfTheCommand) {
  with_service([&](RecommendationService& service) {
    run_ranks(1, [&](Communicator& communicator) {
      const std::unique_ptr<TrainedRun> run = open(communicator);
      const Recommender recommender(run->dataset, *run->model, run->epoch);
      for (const int from : {0, 1}) {
        for (const int to : {0, 1}) {
          const std::string name = dataset_.domains()[to].name;
          ItemFilter filter(std::ssize(items_[to]));
          filter.leave_out(std::vector<std::int32_t>{0, 3});
          std::ostringstream csv;
          write_similar(recommender, {{from, 4}}, to, 6, &filter, csv, report_);
          SimilarRequest request = {{{dataset_.domains()[from].name, keys(from, {4})}}, {name}, 6};
          request.choice.exclude_items[name] = keys(to, {3, 0});
          std::ostringstream answered;
          const Answer answer = service.similar(request);
          for (std::size_t n = 0; n < answer.lists[0].items.size(); ++n) {
            const AnsweredItem& item = answer.lists[0].items[n];
            answered << dataset_.domains()[from].name << ":" << items_[from][4] << "," << name
                     << "," << n + 1 << "," << item.item << "," << decimal("%.6g", item.score)
                     << "," << answer.lists[0].basis << "\n";
          }
          EXPECT_EQ(answered.str(), csv.str());
          EXPECT_FALSE(csv.str().empty());
        }
      }
    });
  });
}

TEST_F(ServiceTest, AListIsMadeOfTheItemsThatARequestChooses) {
  std::string table = "item_id,price,brand\n";
  for (std::size_t n = 0; n < items_[0].size(); ++n) {
    table += text(items_[0][n], ",", n, ",", n % 3 == 0 ? "Acme" : "Zed", "\n");
  }
  attributes_["domain0"] = folder_.write("items.csv", table);
  const Asker person = {{}, {{"domain0", keys(0, {1, 5})}}};
  const auto expect_as_with_files = [&](RecommendationService& service, const ItemChoice& choice,
                                        const FilterOptions& options) {
    run_ranks(1, [&](Communicator& communicator) {
      const std::unique_ptr<TrainedRun> run = open(communicator);
      const Recommender recommender(run->dataset, *run->model, run->epoch);
      const std::optional<ItemFilter> filter =
          FilterFiles(options, "domain0", dataset_).read(0, run->degree_of_items(0), report_);
      const MetItems history = {{1, 5}};
      std::vector<AnsweredList> lists;
      recommender.recommend(0, std::vector<Person>{{std::nullopt, {&history, nullptr}}},
                            {.k = 7, .filter = &*filter}, [&](const Recommendation& list) {
                              lists.push_back({"domain0", name_of(list.basis), {}});
                              for (const ScoredItem& item : list.items) {
                                lists[0].items.push_back({items_[0][item.item], "", item.score});
                              }
                            });
      expect_equal(service.recommend({person, {"domain0"}, 7, {}, choice}).lists, lists);
    });
  };
  const std::string few = folder_.write("few.txt", join(keys(0, {2, 3, 4, 6, 8, 9}), "\n"));
  const std::string out = folder_.write("out.txt", join(keys(0, {3, 9}), "\n"));
  with_service([&](RecommendationService& service) {
    for (int twice = 0; twice < 2; ++twice) {  // then from what was made before
      expect_as_with_files(service, {.rules = {.where = "price < 9 and brand = 'Zed'"}},
                           {.attributes = attributes_["domain0"],
                            .rules = {.where = "price < 9 and brand = 'Zed'"}});
      expect_as_with_files(service, {.rules = {.at_most = "1:brand"}},
                           {.attributes = attributes_["domain0"], .rules = {.at_most = "1:brand"}});
      expect_as_with_files(service, {.rules = {.min_degree = 5}}, {.rules = {.min_degree = 5}});
    }
    expect_as_with_files(service,
                         {{{"domain0", keys(0, {2, 3, 4, 6, 8, 9})}},
                          {{"domain0", keys(0, {9, 3})}},
                          {.where = "price > 2", .at_most = "2:brand", .min_degree = 1}},
                         {few, out, attributes_["domain0"], "price > 2", "2:brand", 1});
    const Answer none = service.recommend({person, {}, 7, {}, {{{"domain0", {"what is it"}}}}});
    EXPECT_TRUE(none.lists[0].items.empty());
    EXPECT_EQ(none.lists[1].items.size(), 7U) << "domain1 is not named";
    EXPECT_EQ(none.unknown.at("domain0").example, "what is it");
    const auto refuse = [&](const ItemChoice& choice, const char* sentence) {
      expect_error(Cause::usage, {sentence}, [&] {
        service.recommend({person, {}, 7, {}, choice});
      });
    };
    refuse({.rules = {.where = "price < 3"}}, "items of domain1, which have no");
    refuse({.rules = {.where = "price <"}}, "where, column 8");
    refuse({.rules = {.where = std::string(5000, '(')}}, "at most 4,096");
    refuse({.only_items = {{"nowhere", {}}}}, "nowhere");
    refuse({.only_items = {{"domain0", std::vector<std::string>(101, "x")}}}, "101");
  });
}

TEST_F(ServiceTest, ReasonsAddUpToTheScoreAndAreThoseOfTheExplainer) {
  const auto [user, seen] = some_user();
  with_service([&](RecommendationService& service) {
    for (const Asker& person :
         {Asker{user, {}}, Asker{{}, {{"domain0", keys(0, {1, 5, 2})}}}, Asker{}}) {
      const Answer answer = service.recommend({person, {}, 5, {}, {}, /*why=*/2});
      for (const AnsweredList& list : answer.lists) {
        for (const AnsweredItem& item : list.items) {
          ASSERT_TRUE(item.why);
          double sum = item.why->other_items + item.why->no_item;
          EXPECT_LE(item.why->items.size(), 2U);
          for (const AnsweredShare& of : item.why->items) sum += of.share;
          EXPECT_NEAR(sum, item.score, 1e-4 * std::abs(item.score) + 1e-6);
        }
      }
    }
    run_ranks(1, [&](Communicator& communicator) {
      const std::unique_ptr<TrainedRun> run = open(communicator);
      Recommender recommender(run->dataset, *run->model, run->epoch);
      const Explainer explainer(recommender, run->model->new_user_shares(run->epoch));
      std::ostringstream csv;
      write_lists(recommender, 0, std::vector<std::string>{user}, {.k = 5}, &explainer, csv,
                  report_);
      std::ostringstream answered;
      const Answer answer = service.recommend({{user, {}}, {"domain0"}, 5, {}, {}, /*why=*/3});
      for (std::size_t n = 0; n < answer.lists[0].items.size(); ++n) {
        const AnsweredItem& item = answer.lists[0].items[n];
        answered << user << ",domain0," << n + 1 << "," << item.item << ","
                 << decimal("%.6g", item.score) << ",dataset,"
                 << decimal("%.6g", item.why->embeddings);
        for (std::size_t of = 0; of < 3; ++of) {
          answered << ",";
          if (of >= item.why->items.size()) {
            answered << ",";
            continue;
          }
          const AnsweredShare& share = item.why->items[of];
          answered << share.domain << ":" << share.item << "," << decimal("%.6g", share.share);
        }
        answered << "," << decimal("%.6g", item.why->other_items) << ","
                 << decimal("%.6g", item.why->no_item) << "\n";
      }
      EXPECT_EQ(answered.str(), csv.str());
    });
    EXPECT_FALSE(service.recommend({{user, {}}, {}, 5, {}}).lists[0].items[0].why);
  });
}

TEST_F(ServiceTest, FindsItemsByKeyAndTitle) {
  with_service([&](RecommendationService& service) {
    for (const char* part : {"lid & p", "LID"}) {
      const Answer found = service.find_items({"domain0", part, 5});
      ASSERT_EQ(found.lists[0].items.size(), 1U);
      EXPECT_EQ(found.lists[0].items[0].item, items_[0][2]);
      EXPECT_EQ(found.lists[0].items[0].title, "Lid & Pot");
    }
    const std::string key = items_[1][3];
    std::vector<std::string> keys;
    const Answer with_key = service.find_items({"domain1", key, 50});
    for (const AnsweredItem& item : with_key.lists[0].items) {
      expect_has(item.item, {key});
      keys.push_back(item.item);
    }
    EXPECT_NE(std::ranges::find(keys, key), keys.end());
  });
}

TEST_F(ServiceTest, AnswersFromTheModelThatReplacedTheFirst) {
  const std::string user = some_user().first;
  with_service([&](RecommendationService& service) {
    EXPECT_EQ(service.state().checkpoint, "step-000000000025");
    save(50);
    service.reload();
    EXPECT_EQ(service.state().checkpoint, "step-000000000050");
    expect_equal(service.recommend({{user, {}}, {}, 7, {}}).lists, expected(user, {}));
  });
}

TEST_F(ServiceTest, JsonHasTheSameAnswersAndASentenceForEachRefusal) {
  with_service([&](RecommendationService& service) {
    const auto ask = [&](Route route, const std::string& body, int status) {
      const Reply reply = answer(service, route, body);
      EXPECT_EQ(reply.status, status) << body << reply.body;
      const Json json = Json::parse(reply.body);
      EXPECT_EQ(json.contains("error"), status != 200) << reply.body;
      return json;
    };
    const Json body = {{"history", {{"domain0", keys(0, {1, 5})}}}, {"k", 7}};
    const Json lists = ask(Route::recommend, body.dump(), 200)["lists"];
    const std::vector<AnsweredList> wanted = expected("new", {1, 5});
    for (std::size_t n = 0; n < wanted.size(); ++n) {
      EXPECT_EQ(lists[n]["basis"], wanted[n].basis);
      for (std::size_t i = 0; i < wanted[n].items.size(); ++i) {
        EXPECT_EQ(lists[n]["items"][i]["item"], wanted[n].items[i].item);
        EXPECT_EQ(lists[n]["items"][i]["score"].get<float>(), wanted[n].items[i].score);
      }
    }
    ask(Route::recommend, "{}", 200);
    Json timed = body;
    timed["history_times"] = {{"domain0", {1.5, -2}}};
    ask(Route::recommend, timed.dump(), 200);
    timed["history_times"] = {{"domain0", {1.5, "2"}}};
    ask(Route::recommend, timed.dump(), 422);
    for (const char* wrong : {"", "{", "[1]", "7", "{\"k\": 1} x", "\xff"}) {
      ask(Route::recommend, wrong, 400);
    }
    for (const char* wrong :
         {R"({"k": 0})", R"({"k": 51})", R"({"k": "7"})", R"({"k": 1.5})",
          R"({"k": 18446744073709551615})", R"({"user": 7})", R"({"domains": "domain0"})",
          R"({"domains": ["domain9"]})", R"({"history": {"domain0": "i"}})",
          R"({"history": {"domain9": []}})", R"({"exclude": "nobody"})", R"({"where": 7})",
          R"({"where": "price < 3"})", R"({"at_most": "brand"})", R"({"min_degree": -1})",
          R"({"only_items": ["x"]})", R"({"exclude_items": {"domain9": []}})", R"({"why": -1})",
          R"({"why": true})"}) {
      ask(Route::recommend, wrong, 422);
    }
    const Json hint = ask(Route::recommend, R"({"domain": ["domain0"]})", 422);
    expect_has(hint["error"].get<std::string>(), {"did you mean \"domains\"?"});
    ask(Route::score, "{}", 422);
    ask(Route::similar, "{}", 422);
    ask(Route::observe, "{}", 422);
    ask(Route::observe, R"({"events": [{"domain": "domain0", "user": "u"}]})", 422);
    for (const char* wrong :
         {R"({"items": {}})", R"({"items": [7]})", R"({"items": [{"domain": "domain0"}]})",
          R"({"items": [{"domain": "domain9", "item": "n"}]})",
          R"({"items": [{"domain": "domain0", "item": ""}]})",
          R"({"items": [{"domain": "domain0", "item": " n"}]})",
          R"({"items": [{"domain": "domain0", "item": "n\u0000n"}]})",
          R"({"events": [{"domain": "domain0", "user": "", "item": "n"}]})",
          R"({"events": [{"domain": "domain0", "user": "u ", "item": "n"}]})",
          R"({"events": [{"domain": "domain0", "user": "\ufeffu", "item": "n"}]})",
          R"({"items": [{"domain": "domain0", "item": "n", "features": [1]}]})",
          R"({"items": [{"domain": "domain0", "item": "n", "features": {"text": ["1"]}}]})",
          R"({"items": [{"domain": "domain0", "item": "n", "features": {"text": [1]}}]})",
          R"({"items": [{"domain": "domain0", "item": "n", "features": {"sound": [1]}}]})",
          R"({"items": [{"domain": "domain0", "item": "n",
                         "features": {"text": [1e30, 0, 0, 0, 0, 0, 0]}}]})",
          R"({"items": [{"domain": "domain0", "item": "n", "titel": "x"}]})"}) {
      ask(Route::observe, wrong, 422);
    }
    Json many = {{"history", {{"domain0", Json::array()}}}};
    for (int n = 0; n < 101; ++n) many["history"]["domain0"].push_back("i");
    ask(Route::recommend, many.dump(), 422);
    EXPECT_EQ(Json::parse(answer_query(service, Route::items, {{"domain", "domain0"}, {"k", "2"}})
                              .body)["lists"][0]["items"]
                  .size(),
              2U);
    EXPECT_EQ(answer_query(service, Route::items, {{"domain", "domain0"}, {"k", "two"}}).status,
              422);
    const Json line = Json::parse(answer_line(service, R"({"route": "model"})"));
    EXPECT_EQ(line["status"], 200);
    EXPECT_EQ(line["checkpoint"], "step-000000000025");
    EXPECT_EQ(Json::parse(answer_line(service, R"({"k": 3})"))["status"], 404);
    EXPECT_EQ(Json::parse(answer_line(service, "not JSON"))["status"], 400);
  });
}

}  // namespace
}  // namespace micrec
