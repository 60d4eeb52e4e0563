#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "base/description.h"
#include "base/text.h"
#include "report/html_page.h"
#include "report/html_text.h"
#include "tests/report/folder_of_run.h"

namespace micrec {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

std::string page_of(const FolderOfRun& run) { return report_page({run.read()}, {}); }

/// An evaluation whose numbers are all different, as metrics.jsonl has it.
ordered_json evaluation(const std::string& kind, int step, const std::vector<std::string>& domains,
                        double shift = 0) {
  ordered_json line = {{"kind", kind}, {"step", step}};
  if (kind == "validation") line["metric"] = 0.06 + step * 1e-5 + shift;
  line["mean"] = {{"recall@20", 0.12 + shift}, {"ndcg@20", 0.06 + shift}};
  double number = 0.001 + shift;
  for (const std::string& domain : domains) {
    ordered_json& told = line["domains"][domain];
    told["candidates"] = 11'837;
    for (const char* slice : {"all", "items_degree_0", "items_degree_1_3", "items_degree_32_up",
                              "items_with_text", "items_without_text", "overlapping_users",
                              "other_users", "cold_items", "overlapping_users.cold_items"}) {
      number += 0.0013;
      told["slices"][slice] = {{"users", std::lround(1e6 * number)},
                               {"positives", std::lround(2e6 * number)},
                               {"recall@20", 2 * number},
                               {"ndcg@20", number}};
    }
  }
  return line;
}

std::string loss_line(int step) {
  return ordered_json({{"kind", "step"},
                       {"step", step},
                       {"loss", 0.7 / step + 0.003},
                       {"ranking", 0.5 / step},
                       {"l2", 0.0},
                       {"self", 0.2 / step},
                       {"contrastive", 0.003},
                       {"learning_rate", 0.01},
                       {"seconds", 8.0},
                       {"triples_per_second", 50'000.0 + step}})
      .dump();
}

/// The cells of the row that begins with this one.
std::vector<std::string> row_of(const std::string& page, const std::string& first) {
  const std::size_t at = page.find("<td class=\"left\">" + first + "</td>");
  EXPECT_NE(at, std::string::npos) << first;
  if (at == std::string::npos) return {};
  const std::string row = page.substr(at, page.find("</tr>", at) - at);
  const std::regex cell("<td[^>]*>([^<]*)");
  std::vector<std::string> cells;
  for (std::sregex_iterator found(row.begin(), row.end(), cell), end; found != end; ++found) {
    cells.push_back((*found)[1]);
  }
  return cells;
}

// What a reader sees is what the log has: each slice, each bar, each point of a curve.
TEST(ReportPage, ShowsTheNumbersOfTheLog) {
  const ordered_json test = evaluation("test", 120, {"food", "kitchen"});
  const ordered_json first = evaluation("validation", 60, {"food", "kitchen"}, 0.002);
  const ordered_json second = evaluation("validation", 120, {"food", "kitchen"}, 0.004);
  const FolderOfRun run({loss_line(50), first.dump(), loss_line(100), second.dump(), test.dump(),
                         R"({"kind":"end","step":120,"reason":"finished","seconds":122.3})"});
  const std::string page = page_of(run);
  for (const auto& [domain, told] : test["domains"].items()) {
    const std::string part = page.substr(page.find("<h3>" + domain + "</h3>"));
    for (const auto& [slice, values] : told["slices"].items()) {
      EXPECT_EQ(row_of(part, slice),
                (std::vector<std::string>{
                    slice, with_commas(values["users"]), with_commas(values["positives"]),
                    metric_text(values["recall@20"]), metric_text(values["ndcg@20"])}));
      if (slice.find('.') != std::string::npos) continue;
      EXPECT_THAT(
          page, HasSubstr(text("<title>runs/fk: ", decimal("%.6g", values["ndcg@20"]), "</title>")))
          << slice;
    }
  }
  for (const ordered_json& validation : {first, second}) {
    const std::string point = text("<title>runs/fk, step ", validation["step"], ": ");
    EXPECT_THAT(page, HasSubstr(point + decimal("%.6g", validation["metric"]) + "</title>"));
    for (const auto& [domain, told] : validation["domains"].items()) {
      EXPECT_THAT(
          page, HasSubstr(point + decimal("%.6g", told["slices"]["all"]["ndcg@20"]) + "</title>"));
    }
  }
  for (const int step : {50, 100}) {
    const ordered_json line = ordered_json::parse(loss_line(step));
    for (const char* name :
         {"loss", "ranking", "self", "contrastive", "learning_rate", "triples_per_second"}) {
      EXPECT_THAT(page, HasSubstr(text("<title>runs/fk, step ", step, ": ",
                                       decimal("%.6g", line[name]), "</title>")))
          << name;
    }
  }
  EXPECT_THAT(page, HasSubstr("<b>0.0600</b><span>test NDCG@20, mean of 2 domains"));
  EXPECT_THAT(page, HasSubstr("<b>0.0652</b><span>best validation NDCG@20, step 120"));
  EXPECT_THAT(page, HasSubstr("<b>2 min 02 s</b>"));
  EXPECT_THAT(page, HasSubstr("finished after step 120"));
}

TEST(ReportPage, NeedsNothingElse) {
  const FolderOfRun run({loss_line(50), evaluation("test", 50, {"food"}).dump()});
  const std::string page = page_of(run);
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* outside :
       {"<script", "<link", "<img", "@import", "url(", "src=", "http://", "https://"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
}

TEST(ReportPage, LeavesOutWhatTheRunDoesNotSay) {
  const std::string nothing = page_of(FolderOfRun({}));
  EXPECT_THAT(nothing, HasSubstr("nothing is logged yet"));
  EXPECT_THAT(nothing, Not(HasSubstr("<h2")));
  EXPECT_THAT(nothing, Not(HasSubstr("<svg")));
  EXPECT_THAT(page_of(FolderOfRun({loss_line(1)})),
              Not(HasSubstr("<svg viewBox")));  // no line in it
  const std::string begun = page_of(FolderOfRun({loss_line(1), loss_line(2)}));
  EXPECT_THAT(begun, HasSubstr("not ended"));
  EXPECT_THAT(begun, HasSubstr("<h2 id=\"training\">"));
  EXPECT_THAT(begun, Not(HasSubstr("Loss: l2")));  // zero throughout
  for (const char* section : {"validation", "test", "regression", "sent", "settings", "data"}) {
    EXPECT_THAT(begun, Not(HasSubstr(text("<h2 id=\"", section, "\">"))));
  }
}

TEST(ReportPage, TellsHowARunEnded) {
  const auto ended = [](const std::string& reason) {
    return page_of(FolderOfRun(
        {loss_line(50), R"({"kind":"end","step":50,"reason":")" + reason + R"(","seconds":1})"}));
  };
  EXPECT_THAT(ended("interrupted"), HasSubstr("stopped, and can be resumed, after step 50"));
  EXPECT_THAT(ended("no improvement"), HasSubstr("ended early"));
  EXPECT_THAT(ended("diverged"), HasSubstr("diverged after step 50"));
  const FolderOfRun held({loss_line(50)});
  RunSources sources = held.sources();
  sources.holder = "process 12 on node7";
  EXPECT_THAT(report_page({read_run_record(sources)}, {}),
              HasSubstr("process 12 on node7 has its folder"));
}

TEST(ReportPage, SaysThatLinesAreUnreadable) {
  EXPECT_THAT(page_of(FolderOfRun({loss_line(50)}, "{\"kind\":\"st")),
              HasSubstr("1 line of metrics.jsonl"));
}

TEST(ReportPage, HoldsRunsAgainstABaseline) {
  const FolderOfRun ours({evaluation("test", 120, {"food"}, 0.0031).dump()});
  const FolderOfRun theirs({evaluation("test", 90, {"food"}).dump()});
  RunSources baseline = theirs.sources();
  baseline.run_dir = "runs/mf/";
  const std::string page =
      report_page({ours.read(), read_run_record(baseline)}, {.defaults = {}, .has_baseline = true});
  EXPECT_THAT(page, HasSubstr("<h1>runs/fk against runs/mf</h1>"));
  EXPECT_THAT(page, HasSubstr("ndcg@20 less the baseline's"));
  const std::vector<std::string> cells = row_of(page.substr(page.find("<h3>food")), "all");
  ASSERT_EQ(cells.size(), 6u);
  EXPECT_EQ(cells[5], "+0.0031");
  EXPECT_THAT(page,
              HasSubstr("The runs were tested on other data"));  // the users were made to differ
}

TEST(ReportPage, ComparesTheSettings) {
  const FolderOfRun run({});
  run.folder().write("config.txt", "--lr=0.01\n--dim=64\n--run_dir=x\n--model=mf\n");
  const FolderOfRun other({});
  other.folder().write("config.txt", "--lr=0.001\n--dim=64\n--l2=0.5\n");
  const ReportOptions options = {
      .defaults = {{"lr", "0.001"}, {"dim", "64"}, {"model", "micrec"}, {"l2", "0"}}};
  const std::string page = report_page({run.read(), other.read()}, options);
  const auto row = [&](const std::string& flag) {
    const std::size_t at = page.find("<code>--" + flag + "</code>");
    return at == std::string::npos ? std::string() : page.substr(at, page.find("</tr>", at) - at);
  };
  EXPECT_THAT(row("lr"), HasSubstr("<td>0.01</td><td>0.001</td><td>0.001</td>"));
  EXPECT_THAT(row("model"), HasSubstr("<td>mf</td><td>—</td><td>micrec</td>"));
  EXPECT_THAT(row("l2"), HasSubstr("<td>—</td><td>0.5</td><td>0</td>"));
  EXPECT_EQ(row("dim"), "");
  EXPECT_EQ(row("run_dir"), "");
}

TEST(ReportPage, ShowsWhatWasSentBesideItsBound) {
  const FolderOfRun run(
      {R"({"kind":"ledger","step":1,"steps":2,"collectives":{"halo.rows":{"bytes_per_step":2048,"bound_bytes_per_step":1024,)"
       R"("over_bound":2.0,"waited_seconds_per_step":0.0125,"hidden_seconds_per_step":0.001},"other":{"bytes_per_step":512}}})"});
  const std::string page = page_of(run);
  const std::vector<std::string> cells = row_of(page, "halo.rows");
  ASSERT_GE(cells.size(), 7u);
  EXPECT_EQ(cells[1], in_bytes(2048));
  EXPECT_EQ(cells[2], in_bytes(1024));
  EXPECT_EQ(cells[3], "2.000");
  EXPECT_EQ(cells[5], "12.50");
  EXPECT_EQ(cells[6], "1.00");
  EXPECT_EQ(row_of(page, "all")[1], in_bytes(2560));
  EXPECT_EQ(row_of(page, "other")[2], "—");
}

TEST(ReportPage, ShowsWhatTheFitOfItemRegressionSentBesideItsPlan) {
  const FolderOfRun run(
      {R"({"kind":"fit","step":0,"seconds":3,"planned_seconds":2,"bytes":2560,"planned_bytes":4096,"collectives":{"lists":)"
       R"({"bytes":2048,"planned_bytes":4096},"other":{"bytes":512}}})"});
  const std::string page = page_of(run);
  EXPECT_THAT(page, HasSubstr("took " + in_time(3) + "; planned were " + in_time(2)));
  EXPECT_EQ(row_of(page, "lists")[1], in_bytes(2048));
  EXPECT_EQ(row_of(page, "lists")[2], in_bytes(4096));
  EXPECT_EQ(row_of(page, "other")[1], in_bytes(512));
  EXPECT_EQ(row_of(page, "other")[2], "—");
}

TEST(ReportPage, TakesWhatAFitDoesNotTellForNothing) {
  const FolderOfRun alone({R"({"kind":"fit","step":0,"seconds":3})"});
  EXPECT_THAT(page_of(alone), Not(HasSubstr("Sent between ranks")));
  const FolderOfRun odd({R"({"kind":"fit","collectives":{"x":{"bytes":"many"},"y":4}})"});
  EXPECT_EQ(row_of(page_of(odd), "x")[1], in_bytes(0));
}

// Names of domains, modalities, files, flags and runs are whatever somebody called them.
TEST(ReportPage, TakesNoNameForMarkup) {
  const std::string evil = "<script>alert(\"1\")</script>&'";
  ordered_json start = {{"kind", "start"}, {"step", 0}, {"device", evil}};
  start["dataset"] = {{"path", evil}, {"fingerprint", evil}};
  start["dataset"]["domains"][evil] = {{"users", 1}, {evil, 2}, {"modalities", {{evil, 3}}}};
  start["versions"] = {{evil, evil}};
  start["phases"] = {{{"phase", evil}, {"seconds", 1}, {"memory_bytes", 1}}};
  ordered_json test = evaluation("test", 9, {evil, "other"});
  test["domains"][evil]["slices"]["items_with_" + evil] = {
      {"users", 1}, {"ndcg@20", 0.5}, {"ndcg@" + evil, 0.5}};
  ordered_json validation = evaluation("validation", 9, {evil, "other"});
  validation["item_regression"][evil] = {{{"weight", evil}, {"factor", 1}, {"ndcg@20", 0.1}}};
  const ordered_json ledger = {
      {"kind", "ledger"}, {"steps", 1}, {"collectives", {{evil, {{"bytes_per_step", 3}}}}}};
  const ordered_json resume = {
      {"kind", "resume"}, {"step", 3}, {"changed", {{evil, {{"before", evil}, {"now", evil}}}}}};
  const ordered_json end = {{"kind", "end"}, {"step", 9}, {"reason", evil}, {"seconds", 3}};
  const FolderOfRun run({start.dump(), test.dump(), validation.dump(), ledger.dump(), resume.dump(),
                         loss_line(9), end.dump()});
  run.folder().write("config.txt", "--lr=" + evil + "\n");
  RunSources sources = run.sources();
  sources.run_dir = evil;
  sources.holder = evil;
  ordered_json chosen = {{"lambda", 1}, {"cross", 0}, {"alpha", {{evil, 1}}}};
  chosen["tried"] = {chosen};
  ordered_json regression;
  regression["chosen"][evil] = chosen;
  sources.item_regression = regression.dump();
  const RunRecord record = read_run_record(sources);
  for (const std::vector<RunRecord>& runs :
       {std::vector<RunRecord>{record}, std::vector<RunRecord>{record, record}}) {
    const std::string page =
        report_page(runs, {.defaults = {{"lr", evil}, {"dim", evil}}, .has_baseline = true});
    EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;"));
    EXPECT_THAT(page, Not(HasSubstr("<script")));
    EXPECT_THAT(page, Not(HasSubstr("alert(\"1")));
  }
}

TEST(ReportPage, ShowsEightDomains) {
  std::vector<std::string> domains;
  for (int n = 0; n < 8; ++n) domains.push_back("domain" + std::to_string(n));
  const std::string page = page_of(FolderOfRun(
      {evaluation("validation", 60, domains).dump(), evaluation("test", 60, domains).dump()}));
  for (const std::string& domain : domains) EXPECT_THAT(page, HasSubstr("<h3>" + domain + "</h3>"));
}

}  // namespace
}  // namespace micrec
