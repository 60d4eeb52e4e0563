#include <set>

#include "base/text.h"
#include "report/html_text.h"
#include "report/sections.h"

namespace micrec {
namespace {

/// Names of files and folders tell nothing of how a run was set.
bool is_setting(const std::string& flag) {
  return flag != "run_dir" && flag != "resume" && flag != "dry_run" && flag != "dataset";
}

std::string value_of_flag(const RunRecord& record, const std::string& flag) {
  for (const FlagSetting& setting : record.settings) {
    if (setting.name == flag) return setting.value;
  }
  return "—";
}

std::string differing_table(const ReportedRuns& runs,
                            const std::map<std::string, std::string>& defaults) {
  std::vector<std::string> header = {"flag"};
  for (const ReportedRun& run : runs) {
    header.push_back(runs.size() > 1 ? escaped(run.chart.name) : std::string("value"));
  }
  header.push_back("default");
  HtmlTable table(header);
  std::set<std::string> told;
  for (const ReportedRun& run : runs) {
    for (const FlagSetting& setting : run.record.settings) {
      const auto known = defaults.find(setting.name);
      const bool differs = known == defaults.end() || known->second != setting.value;
      if (!differs || !is_setting(setting.name) || !told.insert(setting.name).second) continue;
      std::vector<std::string> cells = {"<code>--" + escaped(setting.name) + "</code>"};
      for (const ReportedRun& other : runs)
        cells.push_back(escaped(value_of_flag(other.record, setting.name)));
      cells.push_back(known == defaults.end()
                          ? std::string("—")
                          : escaped(known->second.empty() ? "none" : known->second));
      table.add(cells);
    }
  }
  return table.empty() ? "" : table.to_html();
}

std::string resumes_of(const RunRecord& record) {
  std::string html;
  for (const LoggedResume& resume : record.resumes) {
    html += text("<li>resumed after step ", with_commas(resume.step));
    for (std::size_t n = 0; n < resume.changes.size(); ++n) {
      const LoggedResume::Change& change = resume.changes[n];
      html += text(n == 0 ? ", with " : ", ", "<code>--", escaped(change.flag), "=",
                   escaped(change.now), "</code> instead of ", escaped(change.before));
    }
    html += "</li>\n";
  }
  return html.empty() ? "" : "<ul>\n" + html + "</ul>\n";
}

std::string domains_table(const LoggedStart& start) {
  std::vector<std::string> header = {"domain"};
  std::vector<std::string> counts;
  std::vector<std::string> modalities;
  for (const DomainCounts& domain : start.domains) {
    for (const auto& [name, value] : domain.counts) add_once(counts, name);
    for (const auto& [name, value] : domain.modalities) add_once(modalities, name);
  }
  for (const std::string& name : counts) header.push_back(escaped(name));
  for (const std::string& name : modalities) header.push_back("items with " + escaped(name));
  HtmlTable table(header);
  for (const DomainCounts& domain : start.domains) {
    std::vector<std::string> cells = {escaped(domain.name)};
    for (const std::string& name : counts)
      cells.push_back(count_text(value_of(domain.counts, name)));
    for (const std::string& name : modalities)
      cells.push_back(count_text(value_of(domain.modalities, name)));
    table.add(cells);
  }
  return table.empty() ? "" : table.to_html();
}

std::string facts_table(const LoggedStart& start) {
  HtmlTable table({"", ""});
  table.left(1);
  if (!start.dataset.empty()) table.add({"dataset", "<code>" + escaped(start.dataset) + "</code>"});
  if (!start.fingerprint.empty())
    table.add({"its fingerprint", "<code>" + escaped(start.fingerprint) + "</code>"});
  for (const auto& [name, value] : start.facts) table.add({escaped(name), escaped(value)});
  for (const auto& [name, value] : start.versions) table.add({escaped(name), escaped(value)});
  return table.empty() ? "" : table.to_html();
}

std::string told_of_data(const RunRecord& record) {
  return domains_table(record.start) + facts_table(record.start);
}

}  // namespace

std::string settings_section(const ReportedRuns& runs,
                             const std::map<std::string, std::string>& defaults) {
  return section_of("settings", "Settings", "<p>What differs from the defaults.</p>\n",
                    differing_table(runs, defaults) + by_run(runs, resumes_of));
}

std::string data_section(const ReportedRuns& runs) {
  return section_of("data", "Data and program", "", by_run(runs, told_of_data));
}

}  // namespace micrec
