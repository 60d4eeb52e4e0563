#include "train/log/progress.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "tests/support/expect_error.h"
#include "train/trainer.h"

namespace micrec {
namespace {

StepRecord record(std::int64_t step) {
  StepRecord record;
  record.step = step;
  record.epoch = (step - 1) / 30;
  record.loss = 0.69314;
  record.parts.by_name = {{"ranking", 0.69}, {"l2", 0}, {"contrastive", 0.00314}};
  record.triples_per_second = 1'234'567;
  return record;
}

ProgressGoal goal() {
  ProgressGoal goal;
  goal.first_step = 1000;
  goal.last_step = 1330;
  goal.steps_per_epoch = 30;
  goal.metric = "ndcg@20";
  return goal;
}

TEST(Progress, WritesPlainLinesWhereThereIsNoTerminal) {
  std::ostringstream out;
  Progress progress(goal(), {&out, 0, [] { return 5.0; }});
  progress.stepped(record(1010));
  EXPECT_EQ(out.str().substr(0, out.str().find(" left") + 5),
            "epoch 34/45  step 1,010/1,330  loss 0.6931 (ranking 0.6900, contrastive 0.0031)  "
            "1.2M triples/s  2 min 40 s left");
  EXPECT_EQ(out.str().back(), '\n');
  EXPECT_EQ(out.str().find('\r'), std::string::npos);
  EXPECT_EQ(out.str().find("best"), std::string::npos);
  EXPECT_NE(out.str().find("iB"), std::string::npos) << "memory: " << out.str();
}

TEST(Progress, LeavesOutALossAndTriplesThatAModelDoesNotHave) {
  std::ostringstream out;
  Progress progress(goal(), {&out, 0, [] { return 5.0; }});
  StepRecord solved = record(1010);
  solved.triples_per_second = 0;
  progress.stepped(solved);
  EXPECT_NE(out.str().find("loss 0.6931"), std::string::npos) << "ials has one: " << out.str();
  EXPECT_EQ(out.str().find("triples"), std::string::npos) << out.str();
  out.str("");
  StepRecord counted;
  counted.step = 1010;
  progress.stepped(counted);
  EXPECT_EQ(out.str().find("loss"), std::string::npos) << out.str();
  expect_has(out.str(), {"step 1,010/1,330  "});
}

TEST(Progress, NamesTheBestMetricAndItsStep) {
  std::ostringstream out;
  Progress progress(goal(), {&out, 0, [] { return 5.0; }});
  progress.validated(1020, {0.04567, {}}, true);
  progress.validated(1050, {0.04444, 0.00123}, false);
  EXPECT_EQ(out.str(),
            "validation at step 1,020: ndcg@20 0.0457, the best so far\n"
            "validation at step 1,050: ndcg@20 0.0444 +-0.0012\n");
  out.str("");
  progress.stepped(record(1060));
  expect_has(out.str(), {"best ndcg@20 0.0457 at step 1,020\n"});
}

TEST(Progress, KnowsTheBestOfAResumedRun) {
  std::ostringstream out;
  ProgressGoal resumed = goal();
  resumed.best_metric = 0.05;
  resumed.best_step = 900;
  Progress progress(resumed, {&out, 0, [] { return 5.0; }});
  progress.stepped(record(1010));
  expect_has(out.str(), {"best ndcg@20 0.0500 at step 900\n"});
}

TEST(Progress, RewritesItsLineOnATerminalAndNeverWraps) {
  std::ostringstream out;
  {
    Progress progress(goal(), {&out, 41, [] { return 5.0; }});
    progress.stepped(record(1010));
    progress.stepped(record(1020));
    EXPECT_EQ(out.str(),
              "\repoch 34/45  step 1,010/1,330  loss 0.69\x1b[K"
              "\repoch 34/45  step 1,020/1,330  loss 0.69\x1b[K");
    progress.validated(1020, {0.05, {}}, true);
    progress.stepped(record(1030));
  }
  const std::string tail = out.str().substr(out.str().find('\n'));
  EXPECT_EQ(tail,
            "\nvalidation at step 1,020: ndcg@20 0.0500, the best so far\n"
            "\repoch 35/45  step 1,030/1,330  loss 0.69\x1b[K\n");
}

TEST(Progress, SaysNothingOfTimeLeftAtTheEnd) {
  std::ostringstream out;
  Progress progress(goal(), {&out, 0, [] { return 5.0; }});
  progress.stepped(record(1330));
  EXPECT_EQ(out.str().find(" left"), std::string::npos) << out.str();
}

}  // namespace
}  // namespace micrec
