#include <cmath>
#include <optional>

#include "base/description.h"
#include "base/text.h"
#include "report/html_text.h"
#include "report/sections.h"

namespace micrec {
namespace {

/// Kinds of slices that stand in one picture.
enum class Kind { degree, modality, people, item };

struct Placed {
  Kind kind;
  std::string label;
};

/// The picture that a slice belongs to; nothing for "all" and those that cross two kinds.
std::optional<Placed> place_of(const std::string& slice) {
  const auto after = [&](const std::string& prefix) { return slice.substr(prefix.size()); };
  if (slice.starts_with("items_degree_")) {
    std::string degrees = after("items_degree_");
    if (degrees.ends_with("_up"))
      return Placed{Kind::degree, degrees.substr(0, degrees.size() - 3) + "+"};
    const std::size_t between = degrees.find('_');
    if (between != std::string::npos) degrees.replace(between, 1, "–");
    return Placed{Kind::degree, degrees};
  }
  if (slice.starts_with("items_without_"))
    return Placed{Kind::modality, "no " + after("items_without_")};
  if (slice.starts_with("items_with_")) return Placed{Kind::modality, after("items_with_")};
  if (slice == "old_users") return Placed{Kind::people, "old"};
  if (slice == "new_users") return Placed{Kind::people, "new"};
  if (slice == "overlapping_users") return Placed{Kind::people, "in several domains"};
  if (slice == "other_users") return Placed{Kind::people, "in this one"};
  for (const std::string kind : {"old", "new", "cold"}) {
    if (slice == kind + "_items") return Placed{Kind::item, kind};
    if (slice == kind + "_items/among_themselves") return Placed{Kind::item, kind + ", among them"};
  }
  return std::nullopt;
}

const LoggedDomain* tested_domain(const ReportedRun& run, const std::string& name) {
  return run.record.test ? run.record.test->domain(name) : nullptr;
}

const LoggedSlice* tested_slice(const ReportedRun& run, const std::string& domain,
                                const std::string& slice) {
  const LoggedDomain* found = tested_domain(run, domain);
  return found == nullptr ? nullptr : found->slice(slice);
}

/// The names that any run has, in the order of the first that has them.
std::vector<std::string> domains_of(const ReportedRuns& runs) {
  std::vector<std::string> names;
  for (const ReportedRun& run : runs) {
    if (!run.record.test) continue;
    for (const LoggedDomain& domain : run.record.test->domains) add_once(names, domain.name);
  }
  return names;
}

std::vector<std::string> slices_of(const ReportedRuns& runs, const std::string& domain) {
  std::vector<std::string> names;
  for (const ReportedRun& run : runs) {
    const LoggedDomain* tested = tested_domain(run, domain);
    if (tested == nullptr) continue;
    for (const LoggedSlice& slice : tested->slices) add_once(names, slice.name);
  }
  return names;
}

BarGroup group_of(const ReportedRuns& runs, const std::string& domain, const std::string& slice,
                  const std::string& label) {
  BarGroup group;
  group.label = label;
  for (const ReportedRun& run : runs) {
    const LoggedSlice* tested = tested_slice(run, domain, slice);
    group.bars.push_back({tested == nullptr ? NAN : value_of(tested->metrics, kReportedMetric)});
    if (tested != nullptr && group.note.empty()) group.note = count_of(tested->users, "user");
  }
  return group;
}

std::vector<ChartRun> chart_runs(const ReportedRuns& runs) {
  std::vector<ChartRun> charts;
  for (const ReportedRun& run : runs) charts.push_back(run.chart);
  return charts;
}

/// How each domain did as a whole.
std::string overview(const ReportedRuns& runs, const std::vector<std::string>& domains) {
  BarChart chart = {.title = "NDCG@20 by domain",
                    .wide = domains.size() * runs.size() > 6,
                    .runs = chart_runs(runs)};
  for (const std::string& domain : domains) {
    chart.groups.push_back(group_of(runs, domain, "all", shortened(domain, 14)));
  }
  if (domains.size() > 1) {
    BarGroup& mean = chart.groups.emplace_back();
    mean.label = "mean";
    for (const ReportedRun& run : runs) {
      mean.bars.push_back(
          {run.record.test ? value_of(run.record.test->mean, kReportedMetric) : NAN});
    }
  }
  // A lone bar says no more than the number above the page.
  return chart.groups.size() * runs.size() > 1 ? to_svg(chart) : "";
}

std::string domain_charts(const ReportedRuns& runs, const std::string& domain) {
  struct Picture {
    Kind kind;
    const char* title;
    const char* x_label;
  };
  std::string html;
  for (const Picture& picture :
       {Picture{Kind::degree, "by popularity of the item", "training interactions of the item"},
        Picture{Kind::modality, "by what is known of the item", ""},
        Picture{Kind::people, "by kind of person", ""},
        Picture{Kind::item, "by kind of item", ""}}) {
    BarChart chart = {.title = text("NDCG@20 ", picture.title),
                      .note = domain,
                      .x_label = picture.x_label,
                      .runs = chart_runs(runs)};
    for (const std::string& slice : slices_of(runs, domain)) {
      const std::optional<Placed> placed = place_of(slice);
      if (placed && placed->kind == picture.kind) {
        chart.groups.push_back(group_of(runs, domain, slice, placed->label));
      }
    }
    chart.wide = chart.groups.size() * runs.size() > 4;
    html += to_svg(chart);
  }
  return html;
}

/// Every slice with recall and NDCG at every cutoff; the difference to the baseline where there is
/// one.
std::string table_of(const ReportedRuns& runs, const ReportedRun& run, const std::string& domain) {
  const LoggedDomain* tested = tested_domain(run, domain);
  if (tested == nullptr || tested->slices.empty()) return "";
  const ReportedRun* baseline =
      runs.back().is_baseline && !run.is_baseline ? &runs.back() : nullptr;
  std::vector<std::string> header = {"slice", "users", "positives"};
  std::vector<std::string> metrics;
  for (const auto& [name, value] : tested->slices.front().metrics) {
    if (!name.starts_with("recall@") && !name.starts_with("ndcg@")) continue;
    metrics.push_back(name);
    header.push_back(escaped(name));
  }
  if (baseline != nullptr) header.push_back("ndcg@20 less the baseline's");
  HtmlTable table(header);
  for (const LoggedSlice& slice : tested->slices) {
    std::vector<std::string> cells = {escaped(slice.name), with_commas(slice.users),
                                      with_commas(slice.positives)};
    for (const std::string& metric : metrics)
      cells.push_back(metric_text(value_of(slice.metrics, metric)));
    if (baseline != nullptr) {
      const LoggedSlice* other = tested_slice(*baseline, domain, slice.name);
      const double less = other == nullptr ? NAN
                                           : value_of(slice.metrics, kReportedMetric) -
                                                 value_of(other->metrics, kReportedMetric);
      cells.push_back(std::isfinite(less) ? decimal("%+.4f", less) : "—");
    }
    table.add(cells, slice.name == "all");
  }
  return heading_of(run, runs) + details_of(text("All slices of ", escaped(domain), ": ",
                                                 with_commas(tested->candidates), " items ranked"),
                                            table.to_html());
}

/// Bars of other users beside each other say little.
std::string warning_of(const ReportedRuns& runs, const std::vector<std::string>& domains) {
  for (const std::string& domain : domains) {
    const LoggedSlice* first = nullptr;
    for (const ReportedRun& run : runs) {
      const LoggedSlice* all = tested_slice(run, domain, "all");
      if (all == nullptr) continue;
      if (first == nullptr) first = all;
      if (all->users != first->users || all->positives != first->positives) {
        return text("<p class=\"warning\">The runs were tested on other data: in ", escaped(domain),
                    " on ", with_commas(first->users), " users with ",
                    with_commas(first->positives), " relevant items, and on ",
                    with_commas(all->users), " with ", with_commas(all->positives), " (",
                    escaped(run.chart.name), ").</p>\n");
      }
    }
  }
  return "";
}

}  // namespace

std::string degree_of(const std::string& slice) {
  const std::optional<Placed> placed = place_of(slice);
  return placed && placed->kind == Kind::degree ? placed->label : "";
}

std::string quality_section(const ReportedRuns& runs) {
  const std::vector<std::string> domains = domains_of(runs);
  if (domains.empty()) return "";
  std::string html =
      "<p>Exact ranking of the whole catalogue for every user of the test split; below a label "
      "stands how many users a bar "
      "is the mean of.</p>\n<div class=\"charts\">" +
      overview(runs, domains) + "</div>\n";
  for (const std::string& domain : domains) {
    html += "<h3>" + escaped(domain) + "</h3>\n<div class=\"charts\">" +
            domain_charts(runs, domain) + "</div>\n";
    for (const ReportedRun& run : runs) html += table_of(runs, run, domain);
  }
  return section_of("test", "Test", warning_of(runs, domains) + legend_of(runs), html);
}

}  // namespace micrec
