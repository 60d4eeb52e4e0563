
#include "base/description.h"
#include "base/text.h"
#include "report/html_text.h"
#include "report/sections.h"

namespace micrec {
namespace {

/// The style of a run of the page; of one that is not on it, the first.
std::string style_of(const std::string& name, const ReportedRuns& runs) {
  const std::string plain = without_slash(name);
  for (const ReportedRun& run : runs) {
    if (run.chart.name == plain) return run.chart.style;
  }
  return runs.front().chart.style;
}

/// The differences by the degree of items, with their intervals.
std::string degree_chart(const PairedRun& run, const PairedDomain& domain,
                         const ReportedRuns& runs) {
  BarChart chart = {.title = "Difference of NDCG@20 by popularity of the item",
                    .note = domain.name + ", with 95% intervals",
                    .x_label = "training interactions of the item",
                    .wide = true,
                    .runs = {{run.name, style_of(run.name, runs)}}};
  for (const PairedSlice& slice : domain.slices) {
    const std::string degree = slice.name == "all" ? "all items" : degree_of(slice.name);
    if (degree.empty()) continue;
    chart.groups.push_back({.label = degree,
                            .note = count_text(slice.users) + " users",
                            .bars = {{slice.difference, slice.low, slice.high}}});
  }
  return to_svg(chart);
}

std::string table_of(const PairedDomain& domain) {
  HtmlTable table(
      {"slice", "users", "first", "this", "difference", "95% interval", "better", "worse"});
  for (const PairedSlice& slice : domain.slices) {
    const bool differs = slice.low > 0 || slice.high < 0;
    table.add(
        {escaped(slice.name), count_text(slice.users), metric_text(slice.first),
         metric_text(slice.value), decimal("%+.4f", slice.difference) + (differs ? "" : " (none)"),
         decimal("%+.4f", slice.low) + " to " + decimal("%+.4f", slice.high),
         decimal("%.1f%%", 100 * slice.better), decimal("%.1f%%", 100 * slice.worse)},
        slice.name == "all");
  }
  return details_of("All slices of " + escaped(domain.name), table.to_html());
}

}  // namespace

std::string paired_section(const std::vector<PairedRun>& paired, const ReportedRuns& runs) {
  std::string html;
  for (const PairedRun& run : paired) {
    html += text("<h3>", escaped(run.name), " against ", escaped(run.first), "</h3>\n");
    for (const PairedDomain& domain : run.domains) {
      html += "<div class=\"charts\">" + degree_chart(run, domain, runs) + "</div>\n" +
              table_of(domain);
    }
  }
  return section_of("paired", "Paired, user by user",
                    "<p>Differences of the same users, as micrec compare found them; where an "
                    "interval holds zero, there is no "
                    "difference to speak of.</p>\n",
                    html);
}

}  // namespace micrec
