#include <algorithm>
#include <cmath>

#include "base/description.h"
#include "base/text.h"
#include "report/html_text.h"
#include "report/sections.h"

namespace micrec {
namespace {

std::string bytes_text(double bytes) { return std::isfinite(bytes) ? in_bytes(bytes) : "—"; }
std::string time_text(double seconds) { return std::isfinite(seconds) ? in_time(seconds) : "—"; }
std::string ms_text(double seconds) {
  return std::isfinite(seconds) ? decimal("%.2f", 1000 * seconds) : "—";
}

std::string sent_table(const RunRecord& record) {
  HtmlTable table(
      {"collective", "sent a step", "bound", "sent / bound", "", "waited, ms", "hidden, ms"});
  table.left(4);
  SentByName all;
  all.name = "all";
  double bound_of_known = 0;
  double sent_of_known = 0;
  for (const SentByName& one : record.sent) {
    all.bytes += one.bytes;
    all.waited_seconds += one.waited_seconds;
    all.hidden_seconds += one.hidden_seconds;
    if (!one.bound || !one.over_bound) continue;
    bound_of_known += *one.bound;
    sent_of_known += *one.bound * *one.over_bound;
  }
  if (bound_of_known > 0) {
    all.bound = bound_of_known;
    all.over_bound = sent_of_known / bound_of_known;
  }
  double most = 0;
  for (const SentByName& one : record.sent)
    most = std::max({most, one.bytes, one.bound.value_or(0)});
  const auto add = [&](const SentByName& one, bool is_sum) {
    table.add({escaped(one.name), bytes_text(one.bytes), one.bound ? bytes_text(*one.bound) : "—",
               one.over_bound ? decimal("%.3f", *one.over_bound) : "—",
               is_sum ? "" : inline_bar(one.bytes, most, one.bound.value_or(0)),
               ms_text(one.waited_seconds), ms_text(one.hidden_seconds)},
              is_sum);
  };
  for (const SentByName& one : record.sent) add(one, false);
  add(all, true);
  return table.to_html();
}

/// What the fit of item regression sent, or "".
std::string fit_table(const LoggedFit& fit) {
  if (fit.sent.empty()) return "";
  HtmlTable table({"collective", "sent", "planned, at most", ""});
  table.left(3);
  double most = 0;
  for (const SentByName& one : fit.sent) {
    most = std::max({most, one.bytes, one.bound.value_or(0)});
  }
  for (const SentByName& one : fit.sent) {
    table.add({escaped(one.name), bytes_text(one.bytes), one.bound ? bytes_text(*one.bound) : "—",
               inline_bar(one.bytes, most, one.bound.value_or(0))});
  }
  return text("<p>The fit of item regression, without the choice of its settings, took ",
              time_text(fit.seconds), "; planned were ", time_text(fit.planned_seconds),
              ". All in all it sent:</p>\n", table.to_html());
}

/// Of all steps, as far as the log tells.
double seconds_of_steps(const RunRecord& record) {
  double seconds = 0;
  for (const LoggedStep& step : record.steps) {
    if (std::isfinite(step.seconds)) seconds += step.seconds;
  }
  return seconds;
}

std::string time_table(const RunRecord& record) {
  HtmlTable table({"what", "time", "", "memory until then"});
  table.left(2);
  const double steps = seconds_of_steps(record);
  const double all = record.end ? record.end->seconds : NAN;
  double most = std::isfinite(all) ? all : steps;
  for (const LoggedPhase& phase : record.phases) most = std::fmax(most, phase.seconds);
  const auto add = [&](const std::string& name, double seconds, double memory, bool is_sum) {
    table.add(
        {name, time_text(seconds), is_sum ? "" : inline_bar(seconds, most), bytes_text(memory)},
        is_sum);
  };
  double memory = NAN;
  double told = 0;
  for (const LoggedPhase& phase : record.phases) {
    add(escaped(phase.name), phase.seconds, phase.memory_bytes, false);
    memory = phase.memory_bytes;
    told += std::isfinite(phase.seconds) ? phase.seconds : 0;
  }
  if (steps > 0)
    add(record.resumes.empty() ? "steps" : "steps, over all attempts", steps, NAN, false);
  if (record.saves.count > 0) {
    add(text("training stood still for ", count_of(record.saves.count, "checkpoint")),
        record.saves.blocked_seconds, NAN, false);
  }
  if (std::isfinite(all) && told == 0 && record.resumes.empty()) {
    add("all else: reading, fitting, validation, test",
        std::max(0.0, all - steps - record.saves.blocked_seconds), NAN, false);
  }
  if (std::isfinite(all)) {
    add(record.resumes.empty() ? "the whole run" : "the last attempt", all, memory, true);
  }
  return table.empty() ? "" : table.to_html();
}

std::string told_of_sent(const RunRecord& record) {
  std::string html;
  if (!record.sent.empty()) {
    html = text("<p>Mean of ", count_of(record.steps_sent, "step"), ".</p>\n", sent_table(record));
  }
  return record.fit ? html + fit_table(*record.fit) : html;
}

std::string told_of_time(const RunRecord& record) {
  const std::string table = time_table(record);
  if (table.empty() || record.saves.count == 0) return table;
  return text(table, "<p class=\"note\">A checkpoint has ", bytes_text(record.saves.bytes),
              " and was published ",
              time_text(record.saves.seconds / static_cast<double>(record.saves.count)),
              " after it was asked for, on average.</p>\n");
}

}  // namespace

std::string sent_section(const ReportedRuns& runs) {
  return section_of("sent", "Sent between ranks",
                    "<p>Bytes from one rank to another, over all ranks; the bound, a line across "
                    "the bar, is the least that must "
                    "travel. Waited is what a rank stood still for on average, hidden what "
                    "travelled while it worked.</p>\n",
                    by_run(runs, told_of_sent));
}

std::string time_section(const ReportedRuns& runs) {
  return section_of("time", "Time and memory", "<p>Of rank 0.</p>\n", by_run(runs, told_of_time));
}

}  // namespace micrec
