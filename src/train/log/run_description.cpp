#include "train/log/run_description.h"

#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "base/description.h"
#include "base/error.h"
#include "base/flagfile.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/description.h"
#include "checkpoints/directory.h"
#include "checkpoints/run_folder.h"
#include "io/durable_files.h"
#include "io/paths.h"
#include "io/run_lock.h"
#include "io/tables/log_lines.h"
#include "train/log/metrics_log.h"

namespace micrec {
namespace {

using json = nlohmann::ordered_json;

/// What is worth telling of metrics.jsonl.
struct MetricsSummary {
  std::map<std::string, json> last;  // by kind
  std::deque<json> validations;      // the last few
  std::int64_t lines = 0;
  std::int64_t unreadable = 0;
};

MetricsSummary read_metrics(const std::string& path) {
  constexpr std::size_t kValidationsShown = 5;
  MetricsSummary summary;
  summary.unreadable = take_log_lines(path, [&](json& line) {
    ++summary.lines;
    const std::string kind = text_in(line, "kind");
    if (kind == "validation") {
      summary.validations.push_back(line);
      if (summary.validations.size() > kValidationsShown) summary.validations.pop_front();
    }
    summary.last[kind] = std::move(line);
  });
  return summary;
}

std::string integer_in(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_number_integer() ? with_commas(value.get<std::int64_t>()) : "?";
}

std::string real_in(const json& object, const char* name, const char* format) {
  const json& value = member(object, name);
  return value.is_number() ? decimal(format, value.get<double>()) : "not a number";
}

std::string seconds_in(const json& object) {
  const json& value = member(object, "seconds");
  return value.is_number() ? in_time(value.get<double>()) : "?";
}

/// A line of kind step. What the model does not have is 0 there, and left out.
std::string step_in_words(const json& step) {
  std::string words = integer_in(step, "step");
  if (step.value("loss", json()) != 0) words += ": loss " + real_in(step, "loss", "%.5f");
  if (step.value("triples_per_second", json()) != 0) {
    words += ", " + real_in(step, "triples_per_second", "%.0f") + " triples/s";
  }
  return words;
}

void describe_metrics(const std::string& path, std::ostream& out) {
  if (!is_there(path)) {
    print_row(out, "metrics", "none yet");
    return;
  }
  const MetricsSummary metrics = read_metrics(path);
  print_row(
      out, "metrics",
      text(count_of(metrics.lines, "line"), " in ", path,
           metrics.unreadable > 0 ? text("; ", count_of(metrics.unreadable, "line"), " unreadable")
                                  : ""));
  if (const auto step = metrics.last.find("step"); step != metrics.last.end()) {
    print_row(out, "  last step", step_in_words(step->second));
  }
  for (const json& validation : metrics.validations) {
    const bool improved = validation.value("improved", json(false)) == true;
    print_row(out, "  validation",
              text("step ", integer_in(validation, "step"), ": ",
                   real_in(validation, "metric", "%.5f"), improved ? ", the best until then" : ""));
  }
  if (const auto test = metrics.last.find("test"); test != metrics.last.end()) {
    std::vector<std::string> words;
    const json mean = test->second.value("mean", json::object());
    for (const auto& [name, number] : mean.items()) {
      if (number.is_number()) words.push_back(name + " " + decimal("%.5f", number.get<double>()));
    }
    print_words(out, "  test", words);
  }
  if (const auto end = metrics.last.find("end"); end != metrics.last.end()) {
    const json reason = end->second.value("reason", json("?"));
    print_row(out, "  ended",
              text(reason.is_string() ? reason.get<std::string>() : "?", " after step ",
                   integer_in(end->second, "step"), ", ", seconds_in(end->second)));
  } else {
    print_row(out, "  ended", "no: it is running, or it was cut off");
  }
}

/// Tells of the newest checkpoint, and returns whether it needs the file of coefficients.
bool describe_progress(const std::string& directory, std::ostream& out) {
  const std::optional<std::string> newest = newest_checkpoint(directory);
  if (!newest) {
    print_row(out, "trained", "nothing is saved yet");
    return false;
  }
  try {
    const CheckpointInfo info = Checkpoint::open(*newest, Verify::sizes).info();
    describe_progress(info, out);
    print_row(out, "dataset", text(info.dataset_path, " (", info.dataset_fingerprint, ")"));
    return info.item_regression.has_value();
  } catch (const Error& error) {
    print_row(out, "trained", text("unknown: ", error.what()));
    return false;
  }
}

/// The head of the file of coefficients; micrec verify reads the rest.
void describe_coefficients(const std::string& path, bool is_needed, std::ostream& out) {
  if (!is_there(path)) {
    if (is_needed) {
      print_row(out, "coefficients",
                text("MISSING: ", path,
                     ", without which no checkpoint can be used; put it back "
                     "from a copy, or fit anew: train with another --run_dir"));
    }
    return;
  }
  try {
    describe_item_regression(path, Verify::sizes, out);
  } catch (const Error& error) {
    print_row(out, "coefficients", text("unknown: ", error.what()));
  }
}

}  // namespace

bool is_run(const std::string& folder) {
  return is_there(config_file_of(folder)) || is_there(MetricsLog::path_in(folder)) ||
         !list_checkpoints(checkpoints_of(folder)).empty();
}

void describe_run(const std::string& run_dir, std::ostream& out) {
  out << run_dir << ": a run\n";
  const std::string directory = checkpoints_of(run_dir);
  if (const std::optional<LockHolder> holder = lock_holder_of(run_dir)) {
    print_row(out, "in use", in_words(*holder));
  }
  const bool needs_coefficients = describe_progress(directory, out);
  const std::string config = config_file_of(run_dir);
  if (is_there(config)) describe_settings(read_small_file(config, kMostFlagfileBytes), out);
  describe_coefficients(coefficient_file_of(run_dir), needs_coefficients, out);
  describe_metrics(MetricsLog::path_in(run_dir), out);
  describe_checkpoints(directory, out);
}

}  // namespace micrec
