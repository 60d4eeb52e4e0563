#include <gflags/gflags.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launcher/command.h"
#include "launcher/flags.h"
#include "tests/fuzz/reader.h"
#include "train/metrics_log.h"

DEFINE_int32(fuzzed_count, 3, "a whole number");
DEFINE_double(fuzzed_rate, 0.5, "a number");
DEFINE_bool(fuzzed_switch, false, "a switch");
DEFINE_string(fuzzed_word, "red", "a word");
DEFINE_string(fuzzed_sizes, "10,20", "numbers");

namespace micrec::fuzz {
namespace {

constexpr std::int64_t kStep = 20;

/// A run that goes on after kStep: what is kept must be whole lines of steps until then.
void read_metrics(const std::string& path, int /*variant*/) {
  const std::string run_dir = std::filesystem::path(path).parent_path().string();
  {
    MetricsLog log(run_dir, kStep);
    log.end(kStep, "finished", 1);
  }
  std::ifstream lines(path);
  std::int64_t ends = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("kind") || !object.contains("step"))
      throw std::logic_error("a line was kept that is not of the log: " + line);
    const auto& step = object["step"];
    if (!step.is_number_integer() || (step.is_number_unsigned() && step > kStep))
      throw std::logic_error("a later step was kept: " + line);
    ends += object["kind"] == "end";
  }
  if (ends != 1) throw std::logic_error("the log does not end once");
}

Command command_with_each_kind_of_flag() {
  Command command;
  command.name = "fuzz";
  command.flags = {
      {"fuzzed_count", "Flags", "", between(1, 1000)},
      {"fuzzed_rate", "Flags", "", above(0)},
      {"fuzzed_switch", "Flags", ""},
      {"fuzzed_word", "Flags", "", one_of({"red", "green"})},
      {"fuzzed_sizes", "Flags", "", list_at_least(1)},
  };
  return command;
}

/// Variant 1 sets the flags one by one, as a resumed run does with its config.txt.
void read_flagfile(const std::string& path, int variant) {
  const Command command = command_with_each_kind_of_flag();
  if (variant == 0) {
    parse_flags(command, {"--flagfile=" + path});
  } else {
    set_flags_not_given(command, micrec::read_flagfile(path), {});
  }
  if (FLAGS_fuzzed_count < 1 || FLAGS_fuzzed_count > 1000 || !(FLAGS_fuzzed_rate > 0) ||
      (FLAGS_fuzzed_word != "red" && FLAGS_fuzzed_word != "green") ||
      integer_list("fuzzed_sizes").empty())
    throw std::logic_error("a flag has a value out of its bounds");
}

}  // namespace

const Reader& metrics() {
  static const Reader reader = {"metrics", "metrics.jsonl", 1, false, read_metrics};
  return reader;
}

const Reader& flagfile() {
  static const Reader reader = {"flagfile", "config.txt", 2, true, read_flagfile};
  return reader;
}

}  // namespace micrec::fuzz
