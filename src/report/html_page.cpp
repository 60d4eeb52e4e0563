#include "report/html_page.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "base/description.h"
#include "base/text.h"
#include "report/html_text.h"
#include "report/page_style.h"
#include "report/sections.h"

namespace micrec {
namespace {

constexpr int kStyles = 7;  // of runs, in kPageStyle

/// What became of the run, in words.
std::string status_of(const RunRecord& record) {
  const std::string after = text("after step ", with_commas(record.last_step()));
  if (record.end && !record.end->reason.empty()) {
    const std::string& reason = record.end->reason;
    return text(reason == "interrupted" ? "stopped, and can be resumed,"
                : reason == "no improvement"
                    ? "ended early, as validation did not improve any more,"
                    : reason,
                " ", after);
  }
  if (record.lines == 0) {
    return record.holder.empty() ? "nothing is logged yet" : "just begun by " + record.holder;
  }
  if (!record.holder.empty())
    return text("not ended: ", record.holder, " has its folder; logged until step ",
                with_commas(record.last_step()));
  return text("not ended: it was cut off, or runs elsewhere; logged until step ",
              with_commas(record.last_step()));
}

std::string memory_of(const RunRecord& record) {
  double most = 0;
  for (const LoggedPhase& phase : record.phases) most = std::fmax(most, phase.memory_bytes);
  return most > 0 ? in_bytes(most) : "";
}

std::string tile(const std::string& value, const std::string& label) {
  return text("<div class=\"tile\"><b>", escaped(value), "</b><span>", escaped(label),
              "</span></div>\n");
}

/// What one run came to.
std::string tiles_of(const RunRecord& record) {
  std::string html;
  if (record.test) {
    const std::string of = record.test->domains.size() > 1
                               ? text(", mean of ", record.test->domains.size(), " domains")
                               : std::string();
    html += tile(metric_text(value_of(record.test->mean, kReportedMetric)), "test NDCG@20" + of);
    html += tile(metric_text(value_of(record.test->mean, "recall@20")), "test Recall@20" + of);
  }
  if (const LoggedEvaluation* best = record.best(); best != nullptr) {
    html += tile(metric_text(best->metric),
                 text("best validation NDCG@20, step ", with_commas(best->step)));
  }
  if (record.last_step() > 0) html += tile(with_commas(record.last_step()), "steps");
  if (record.end && std::isfinite(record.end->seconds)) {
    html +=
        tile(in_time(record.end->seconds), record.resumes.empty() ? "in all" : "the last attempt");
  }
  if (const std::string memory = memory_of(record); !memory.empty())
    html += tile(memory, "memory at most, rank 0");
  return html.empty() ? "" : "<div class=\"tiles\">" + html + "</div>\n";
}

/// A line a run.
std::string table_of(const ReportedRuns& runs) {
  HtmlTable table({"run", "test NDCG@20", "test Recall@20", "best validation", "at step", "steps",
                   "time", "memory", "state"});
  table.left(8);
  for (const ReportedRun& run : runs) {
    const RunRecord& record = run.record;
    const LoggedEvaluation* best = record.best();
    const auto tested = [&](const char* metric) {
      return metric_text(record.test ? value_of(record.test->mean, metric) : NAN);
    };
    table.add(
        {escaped(run.chart.name), tested(kReportedMetric), tested("recall@20"),
         metric_text(best == nullptr ? NAN : best->metric),
         best == nullptr ? "—" : with_commas(best->step), with_commas(record.last_step()),
         record.end && std::isfinite(record.end->seconds) ? in_time(record.end->seconds) : "—",
         memory_of(record).empty() ? "—" : memory_of(record), escaped(status_of(record))});
  }
  return table.to_html();
}

ReportedRuns reported(const std::vector<RunRecord>& records, bool has_baseline) {
  ReportedRuns runs;
  for (std::size_t n = 0; n < records.size(); ++n) {
    const bool is_baseline = has_baseline && n + 1 == records.size();
    runs.push_back(
        {.record = records[n],
         .chart = {.name = without_slash(records[n].run_dir),
                   .style = is_baseline ? std::string("against") : text("run", n % kStyles)},
         .is_baseline = is_baseline});
  }
  return runs;
}

std::string head_of(const ReportedRuns& runs) {
  std::string names;
  for (const ReportedRun& run : runs) {
    if (!names.empty()) names += run.is_baseline ? " against " : ", ";
    names += escaped(run.chart.name);
  }
  std::string html = text(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>", names,
      " · micrec</title>\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<style>",
      kPageStyle, "</style></head>\n<body><main>\n<h1>", names, "</h1>\n");
  const RunRecord& first = runs.front().record;
  if (runs.size() == 1)
    return html + "<p class=\"status\">" + escaped(status_of(first)) + "</p>\n" + tiles_of(first);
  return html + table_of(runs);
}

std::string unreadable_of(const ReportedRuns& runs) {
  std::string html;
  for (const ReportedRun& run : runs) {
    if (run.record.unreadable == 0) continue;
    html += text("<p class=\"warning\">", escaped(run.chart.name), ": ",
                 count_of(run.record.unreadable, "line"),
                 " of metrics.jsonl could not be read, as a crash, or a line that is just being "
                 "written, leaves one.</p>\n");
  }
  return html;
}

/// Links to the sections that are there.
std::string contents_of(const std::string& sections) {
  const std::string begin = "<h2 id=\"";
  std::string html;
  for (std::size_t at = sections.find(begin); at != std::string::npos;
       at = sections.find(begin, at + 1)) {
    const std::size_t anchor = at + begin.size();
    const std::size_t end_of_anchor = sections.find("\">", anchor);
    const std::size_t end = sections.find("</h2>", end_of_anchor);
    html += text("<a href=\"#", sections.substr(anchor, end_of_anchor - anchor), "\">",
                 sections.substr(end_of_anchor + 2, end - end_of_anchor - 2), "</a>\n");
  }
  return html.empty() ? "" : "<nav>" + html + "</nav>\n";
}

}  // namespace

std::string legend_of(const ReportedRuns& runs) {
  if (runs.size() < 2) return "";
  std::string html = "<ul class=\"legend\">";
  for (const ReportedRun& run : runs) {
    html += text("<li><svg viewBox=\"0 0 30 12\" aria-hidden=\"true\"><g class=\"", run.chart.style,
                 "\"><path d=\"M0 6H30\"/><circle cx=\"15\" cy=\"6\" r=\"3\"/></g></svg>",
                 escaped(run.chart.name), run.is_baseline ? " (held against)" : "", "</li>\n");
  }
  return html + "</ul>\n";
}

std::string without_slash(std::string run_dir) {
  while (run_dir.size() > 1 && run_dir.ends_with("/")) run_dir.pop_back();
  return run_dir.empty() ? "run" : run_dir;
}

std::string section_of(const std::string& anchor, const std::string& heading,
                       const std::string& introduction, const std::string& contents) {
  if (contents.empty()) return "";
  return text("<section><h2 id=\"", anchor, "\">", heading, "</h2>\n", introduction, contents,
              "</section>\n");
}

std::string by_run(const ReportedRuns& runs, std::string (*told_of)(const RunRecord&)) {
  std::string html;
  for (const ReportedRun& run : runs) {
    const std::string told = told_of(run.record);
    if (!told.empty()) html += heading_of(run, runs) + told;
  }
  return html;
}

std::string heading_of(const ReportedRun& run, const ReportedRuns& runs) {
  return runs.size() < 2 ? "" : "<h4>" + escaped(run.chart.name) + "</h4>\n";
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::ranges::find(names, name) == names.end()) names.push_back(name);
}

std::string details_of(const std::string& summary, const std::string& contents) {
  return "<details><summary>" + summary + "</summary>\n" + contents + "</details>\n";
}

std::string report_page(const std::vector<RunRecord>& records, const ReportOptions& options) {
  CHECK(!records.empty());
  const ReportedRuns runs = reported(records, options.has_baseline && records.size() > 1);
  const std::string sections = quality_section(runs) + paired_section(options.paired, runs) +
                               curves_section(runs) + regression_section(runs) +
                               time_section(runs) + sent_section(runs) +
                               settings_section(runs, options.defaults) + data_section(runs);
  return head_of(runs) + unreadable_of(runs) + contents_of(sections) + sections +
         "</main></body></html>\n";
}

}  // namespace micrec
