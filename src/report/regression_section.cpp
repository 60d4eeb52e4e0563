#include <algorithm>
#include <cmath>

#include "base/description.h"
#include "base/text.h"
#include "report/html_text.h"
#include "report/sections.h"

namespace micrec {
namespace {

std::string number_text(double value) {
  return std::isfinite(value) ? decimal("%.6g", value) : "—";
}

double most_of(const std::vector<TriedSettings>& tried) {
  double most = 0;
  for (const TriedSettings& one : tried) most = std::fmax(most, one.ndcg);
  return most;
}

/// A line for each setting that was tried, the chosen one marked.
std::string settings_table(const RegressionOfDomain& domain) {
  std::vector<std::string> header = {"λ"};
  for (const auto& [modality, alpha] : domain.chosen.alpha) header.push_back(escaped(modality));
  header.insert(header.end(), {"other domains", "recency", "NDCG@20", ""});
  HtmlTable table(header);
  table.left(header.size() - 1);
  std::vector<TriedSettings> lines = domain.tried;
  if (std::ranges::none_of(lines,
                           [&](const auto& one) { return one.same_settings(domain.chosen); })) {
    lines.insert(lines.begin(), domain.chosen);
  }
  const double most = most_of(lines);
  for (const TriedSettings& one : lines) {
    std::vector<std::string> cells = {number_text(one.lambda)};
    for (const auto& [modality, alpha] : domain.chosen.alpha) {
      cells.push_back(number_text(value_of(one.alpha, modality)));
    }
    cells.insert(cells.end(),
                 {number_text(one.cross), one.recency == 0 ? "off" : number_text(one.recency),
                  metric_text(one.ndcg), inline_bar(one.ndcg, most)});
    table.add(cells, one.same_settings(domain.chosen));
  }
  return table.to_html();
}

/// The weights beside the embeddings that the best validation tried.
std::string weights_table(const LoggedDomain& domain) {
  double most = 0;
  for (const TriedWeight& one : domain.weights) most = std::fmax(most, one.ndcg);
  HtmlTable table({"weight", "factor", "NDCG@20", ""});
  table.left(3);
  for (const TriedWeight& one : domain.weights) {
    table.add({escaped(one.weight), number_text(one.factor), metric_text(one.ndcg),
               inline_bar(one.ndcg, most)},
              one.ndcg == most);
  }
  return table.to_html();
}

/// The tables of one run.
std::string tables_of(const RunRecord& record) {
  std::string html;
  for (const RegressionOfDomain& domain : record.regression) {
    html += text("<div><h4>", escaped(domain.domain), ": settings</h4>\n", settings_table(domain),
                 domain.tried.empty()
                     ? "<p class=\"note\">Given, or the defaults: nothing was tried.</p>"
                     : "",
                 "</div>\n");
  }
  const LoggedEvaluation* best = record.best();
  if (best == nullptr) return html;
  for (const LoggedDomain& domain : best->domains) {
    if (domain.weights.empty()) continue;
    html += text("<div><h4>", escaped(domain.name), ": weight beside the embeddings, step ",
                 with_commas(best->step), "</h4>\n", weights_table(domain), "</div>\n");
  }
  return html;
}

std::string told_of(const RunRecord& record) {
  const std::string tables = tables_of(record);
  return tables.empty() ? "" : "<div class=\"tables\">" + tables + "</div>\n";
}

}  // namespace

std::string regression_section(const ReportedRuns& runs) {
  return section_of("regression", "Item regression",
                    "<p>Tried on the validation split; what was chosen stands out. λ is the ridge, "
                    "then the weight of each kind "
                    "of features and of histories in other domains, and the newer interactions "
                    "that halve what one counts; \"alone\" is a score without "
                    "embeddings.</p>\n",
                    by_run(runs, told_of));
}

}  // namespace micrec
