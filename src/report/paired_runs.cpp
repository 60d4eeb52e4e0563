#include "report/paired_runs.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

using json = nlohmann::ordered_json;

PairedSlice slice_of(const std::string& name, const json& slice, std::size_t run) {
  const json& figures = slice.at("metrics").at(kReportedMetric);
  const json& other = figures.at(run);
  return {.name = name,
          .users = slice.at("users"),
          .first = figures.at(0).at("value"),
          .value = other.at("value"),
          .difference = other.at("difference"),
          .low = other.at("difference_interval").at(0),
          .high = other.at("difference_interval").at(1),
          .better = other.at("better"),
          .worse = other.at("worse")};
}

std::vector<PairedRun> runs_of(const json& comparison) {
  std::vector<PairedRun> runs;
  const json& names = comparison.at("runs");
  for (std::size_t n = 1; n < names.size(); ++n) {
    PairedRun& run = runs.emplace_back();
    run.first = names.at(0).at("name");
    run.name = names.at(n).at("name");
    for (const auto& [domain, told] : comparison.at("domains").items()) {
      PairedDomain& paired = run.domains.emplace_back();
      paired.name = domain;
      for (const auto& [slice, figures] : told.at("slices").items()) {
        paired.slices.push_back(slice_of(slice, figures, n));
      }
    }
  }
  return runs;
}

}  // namespace

std::vector<PairedRun> read_comparison(const std::string& text_of_file, const std::string& path) {
  try {
    return runs_of(json::parse(text_of_file));
  } catch (const json::exception& error) {
    throw Error(Cause::data, path, " is not what micrec compare --json=FILE writes of ",
                kReportedMetric, " (", error.what(), "); make it again, with 20 among its --k");
  }
}

}  // namespace micrec
