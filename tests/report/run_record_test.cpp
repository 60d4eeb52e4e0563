#include "report/run_record.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/report/folder_of_run.h"

namespace micrec {
namespace {

std::string step_line(int step, const std::string& loss = "0.5") {
  return R"({"kind":"step","step":)" + std::to_string(step) + R"(,"epoch":0,"loss":)" + loss +
         R"(,"ranking":0.25,"l2":0.0,"self":0.125,"contrastive":0.0625,"learning_rate":0.01,"seconds":2.5,)" +
         R"("triples_per_second":48850.5})";
}

std::string validation_line(int step, const std::string& metric) {
  return R"({"kind":"validation","step":)" + std::to_string(step) + R"(,"epoch":0,"metric":)" +
         metric + R"(,"improved":true,"split":"valid","mean":{"ndcg@20":)" + metric +
         R"(},"domains":{"food":{"candidates":9,"slices":{"all":{"users":7,"positives":8,"ndcg@20":)" +
         metric +
         R"(}}}},"item_regression":{"food":[{"weight":0.3,"factor":47.5,"ndcg@20":0.0625},)" +
         R"({"weight":"alone","factor":1.0,"ndcg@20":0.03125}]}})";
}

TEST(RunRecord, ReadsStepsAndValidations) {
  const FolderOfRun run({step_line(50), validation_line(60, "0.0605"), step_line(100, "null"),
                         validation_line(120, "0.0610"), validation_line(180, "0.0609")});
  const RunRecord record = run.read();
  EXPECT_EQ(record.lines, 5);
  EXPECT_EQ(record.unreadable, 0);
  ASSERT_EQ(record.steps.size(), 2u);
  EXPECT_EQ(record.steps[0].step, 50);
  EXPECT_EQ(record.steps[0].loss, 0.5);
  EXPECT_EQ(
      record.steps[0].parts,
      (NamedValues{{"ranking", 0.25}, {"l2", 0.0}, {"self", 0.125}, {"contrastive", 0.0625}}));
  EXPECT_EQ(record.steps[0].learning_rate, 0.01);
  EXPECT_EQ(record.steps[0].seconds, 2.5);
  EXPECT_EQ(record.steps[0].triples_per_second, 48850.5);
  EXPECT_TRUE(std::isnan(record.steps[1].loss));
  ASSERT_EQ(record.validations.size(), 3u);
  ASSERT_NE(record.best(), nullptr);
  EXPECT_EQ(record.best()->step, 120);
  EXPECT_EQ(record.last_step(), 180);
  const LoggedDomain* food = record.best()->domain("food");
  ASSERT_NE(food, nullptr);
  EXPECT_EQ(food->candidates, 9);
  ASSERT_NE(food->slice("all"), nullptr);
  EXPECT_EQ(food->slice("all")->users, 7);
  EXPECT_EQ(food->slice("all")->positives, 8);
  EXPECT_EQ(food->slice("all")->metrics, (NamedValues{{"ndcg@20", 0.061}}));
  ASSERT_EQ(food->weights.size(), 2u);
  EXPECT_EQ(food->weights[0].weight, "0.3");
  EXPECT_EQ(food->weights[0].factor, 47.5);
  EXPECT_EQ(food->weights[1].weight, "alone");
  EXPECT_EQ(food->weights[1].ndcg, 0.03125);
}

TEST(RunRecord, TakesTheLaterOfStepsThatWereTakenTwice) {
  const FolderOfRun run(
      {step_line(10, "9"), step_line(20, "8"), step_line(30, "7"), validation_line(30, "0.9"),
       R"({"kind":"resume","step":10,"checkpoint":"step-000000000010","changed":{"lr":{"before":"0.01","now":"0.001"}}})",
       step_line(20, "6"), validation_line(30, "0.5")});
  const RunRecord record = run.read();
  ASSERT_EQ(record.steps.size(), 2u);
  EXPECT_EQ(record.steps[0].loss, 9);
  EXPECT_EQ(record.steps[1].step, 20);
  EXPECT_EQ(record.steps[1].loss, 6);
  ASSERT_EQ(record.validations.size(), 1u);
  EXPECT_EQ(record.validations[0].metric, 0.5);
  ASSERT_EQ(record.resumes.size(), 1u);
  EXPECT_EQ(record.resumes[0].step, 10);
  ASSERT_EQ(record.resumes[0].changes.size(), 1u);
  EXPECT_EQ(record.resumes[0].changes[0].flag, "lr");
  EXPECT_EQ(record.resumes[0].changes[0].before, "0.01");
  EXPECT_EQ(record.resumes[0].changes[0].now, "0.001");
}

TEST(RunRecord, CountsLinesThatACrashCutOff) {
  const FolderOfRun run({step_line(10), "", "[1]", R"({"step":3})"}, R"({"kind":"step","st)");
  const RunRecord record = run.read();
  EXPECT_EQ(record.lines, 1);
  EXPECT_EQ(record.unreadable, 4);
  EXPECT_FALSE(record.end);
  EXPECT_FALSE(record.test);
  EXPECT_EQ(record.best(), nullptr);
}

TEST(RunRecord, PassesOverValuesOfOtherTypes) {
  const FolderOfRun run(
      {R"({"kind":"step","step":"ten","loss":"much"})",
       R"({"kind":"validation","step":-3,"metric":[],"domains":7,"mean":null})",
       R"({"kind":"validation","step":18446744073709551615,"metric":1e400,"domains":{"a":3,"b":{"slices":{"all":[]}}},"item_regression":5})",
       R"({"kind":"ledger","steps":0,"collectives":[]})",
       R"({"kind":"ledger","steps":1,"collectives":{"x":4}})",
       R"({"kind":"start","dataset":[1],"phases":{"a":1},"versions":3})",
       R"({"kind":"resume","changed":[]})", R"({"kind":"save","seconds":{}})",
       R"({"kind":"end","reason":5,"seconds":"long","phases":[1,"a"]})", R"({"kind":7})"});
  const RunRecord record = run.read();
  EXPECT_GE(record.lines, 8);
  EXPECT_EQ(record.steps.size(), 1u);
  EXPECT_TRUE(std::isnan(record.steps[0].loss));
  ASSERT_TRUE(record.end);
  EXPECT_TRUE(std::isnan(record.end->seconds));
}

TEST(RunRecord, AddsUpWhatTravelled) {
  const auto ledger = [](int steps, int bytes, const std::string& more) {
    return R"({"kind":"ledger","step":1,"steps":)" + std::to_string(steps) +
           R"(,"collectives":{"halo.rows":{"bytes_per_step":)" + std::to_string(bytes) +
           R"(,"waited_seconds_per_step":0.5,"hidden_seconds_per_step":0.25)" + more +
           R"(},"small":{"bytes_per_step":1}}})";
  };
  const std::string bound = R"(,"bound_bytes_per_step":90,"over_bound":1.25)";
  const FolderOfRun run({ledger(1, 100, bound), ledger(3, 200, bound)});
  const RunRecord record = run.read();
  EXPECT_EQ(record.steps_sent, 4);
  ASSERT_EQ(record.sent.size(), 2u);
  EXPECT_EQ(record.sent[0].name, "halo.rows");
  EXPECT_EQ(record.sent[0].bytes, 175);
  EXPECT_EQ(record.sent[0].bound, 90);
  EXPECT_EQ(record.sent[0].over_bound, 1.25);
  EXPECT_EQ(record.sent[0].waited_seconds, 0.5);
  EXPECT_EQ(record.sent[0].hidden_seconds, 0.25);
  EXPECT_EQ(record.sent[1].bytes, 1);
  EXPECT_FALSE(record.sent[1].bound);
}

TEST(RunRecord, ReadsStartSavesAndEnd) {
  const FolderOfRun run(
      {R"({"kind":"start","step":0,"ranks":2,"threads":1,"device":"cpu","grid":"2x1","dataset":{"path":"fk.h5","fingerprint":"cb0b",)"
       R"("domains":{"food":{"users":7144,"items":11837,"train":66285,"modalities":{"text":7601}}}},"versions":{"micrec":"0.1.0"},)"
       R"("phases":[{"phase":"reading","seconds":1.5,"memory_bytes":1024}]})",
       R"({"kind":"save","step":17,"checkpoint":"a","bytes":4096,"seconds":0.5,"blocked_seconds":0.25})",
       R"({"kind":"save","step":34,"checkpoint":"b","bytes":8192,"seconds":1.0,"blocked_seconds":0.5})",
       R"({"kind":"test","step":17,"split":"test","checkpoint":"a","mean":{"ndcg@20":0.25},"domains":{}})",
       R"({"kind":"end","step":34,"reason":"finished","seconds":12.5,"phases":[{"phase":"test","seconds":2,"memory_bytes":2048}]})"});
  const RunRecord record = run.read();
  EXPECT_EQ(record.start.dataset, "fk.h5");
  EXPECT_EQ(record.start.fingerprint, "cb0b");
  ASSERT_EQ(record.start.domains.size(), 1u);
  EXPECT_EQ(record.start.domains[0].counts,
            (NamedValues{{"users", 7144}, {"items", 11837}, {"train", 66285}}));
  EXPECT_EQ(record.start.domains[0].modalities, (NamedValues{{"text", 7601}}));
  EXPECT_EQ(record.start.facts,
            (std::vector<std::pair<std::string, std::string>>{
                {"ranks", "2"}, {"threads", "1"}, {"device", "cpu"}, {"grid", "2x1"}}));
  EXPECT_EQ(record.start.versions.size(), 1u);
  ASSERT_EQ(record.phases.size(), 2u);
  EXPECT_EQ(record.phases[0].name, "reading");
  EXPECT_EQ(record.phases[1].memory_bytes, 2048);
  EXPECT_EQ(record.saves.count, 2);
  EXPECT_EQ(record.saves.bytes, 8192);
  EXPECT_EQ(record.saves.seconds, 1.5);
  EXPECT_EQ(record.saves.blocked_seconds, 0.75);
  ASSERT_TRUE(record.test);
  EXPECT_EQ(value_of(record.test->mean, "ndcg@20"), 0.25);
  ASSERT_TRUE(record.end);
  EXPECT_EQ(record.end->reason, "finished");
  EXPECT_EQ(record.end->seconds, 12.5);
}

TEST(RunRecord, TellsEachTriedSettingOnce) {
  const FolderOfRun run({});
  RunSources sources = run.sources();
  sources.item_regression =
      R"({"asked":{},"chosen":{"food":{"lambda":60.0,"cross":0.6,"alpha":{"text":3.0},"tried":[)"
      R"({"lambda":60.0,"cross":0.6,"alpha":{"text":2.0},"ndcg@20":0.08},{"lambda":60.0,"cross":0.6,"alpha":{"text":2.0},"ndcg@20":0.08},)"
      R"({"lambda":60.0,"cross":0.6,"alpha":{"text":3.0},"ndcg@20":0.09}]}}})";
  const RunRecord record = read_run_record(sources);
  ASSERT_EQ(record.regression.size(), 1u);
  EXPECT_EQ(record.regression[0].domain, "food");
  EXPECT_EQ(record.regression[0].tried.size(), 2u);
  EXPECT_EQ(record.regression[0].chosen.alpha, (NamedValues{{"text", 3.0}}));
  EXPECT_EQ(record.regression[0].chosen.ndcg, 0.09);

  sources.item_regression =
      R"({"asked":{},"chosen":{"food":{"lambda":60.0,"cross":0.6,"alpha":{},"recency":2.0,"tried":[)"
      R"({"lambda":60.0,"cross":0.6,"alpha":{},"ndcg@20":0.08},)"
      R"({"lambda":60.0,"cross":0.6,"alpha":{},"recency":2.0,"ndcg@20":0.1}]}}})";
  const RegressionOfDomain food = read_run_record(sources).regression.at(0);
  ASSERT_EQ(food.tried.size(), 2u);
  EXPECT_EQ(food.tried[0].recency, 0);
  EXPECT_EQ(food.chosen.recency, 2);
  EXPECT_EQ(food.chosen.ndcg, 0.1);
}

TEST(RunRecord, ReadsSettings) {
  const FolderOfRun run({});
  run.folder().write("config.txt", "# Model\n--model=micrec\n--lr=0.01\n");
  const RunRecord record = run.read();
  ASSERT_EQ(record.settings.size(), 2u);
  EXPECT_EQ(record.settings[1].name, "lr");
  EXPECT_EQ(record.settings[1].value, "0.01");
}

TEST(RunRecord, TakesWhatCheckpointsSayWhereTheLogIsOlder) {
  const FolderOfRun run({step_line(10)});
  RunSources sources = run.sources();
  sources.dataset = "fk.h5";
  sources.fingerprint = "cb0b";
  sources.grid = "1x1";
  const RunRecord record = read_run_record(sources);
  EXPECT_EQ(record.start.dataset, "fk.h5");
  EXPECT_EQ(record.start.fingerprint, "cb0b");
  EXPECT_EQ(record.start.facts,
            (std::vector<std::pair<std::string, std::string>>{{"grid", "1x1"}}));
}

TEST(RunRecord, RefusesAFileThatCannotBeRead) {
  RunSources sources = FolderOfRun({}).sources();
  const TemporaryFolder folder;
  sources.metrics = folder.path();  // a folder
  EXPECT_THROW(read_run_record(sources), Error);
}

}  // namespace
}  // namespace micrec
