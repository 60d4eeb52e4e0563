#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "command_line/command.h"
#include "command_line/flags.h"
#include "tests/fuzz/reader.h"
#include "tests/support/file_contents.h"
#include "train/log/metrics_log.h"

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

struct Options {
  int count = 3;
  double rate = 0.5;
  bool is_on = false;
  std::string word = "red";
  std::vector<std::int64_t> sizes = {10, 20};
};

Command command_with_each_kind_of_flag(Options& options) {
  Command command;
  command.name = "fuzz";
  command.flags = {
      {"fuzzed_count", "Flags", "", "a whole number", options.count, between(1, 1000)},
      {"fuzzed_rate", "Flags", "", "a number", options.rate, above(0)},
      {"fuzzed_switch", "Flags", "", "a switch", options.is_on},
      {"fuzzed_word", "Flags", "", "a word",
       one_of(options.word, {{"red", "red"}, {"green", "green"}})},
      {"fuzzed_sizes", "Flags", "", "numbers", options.sizes, at_least(1)},
  };
  return command;
}

/// Variant 1 sets the flags one by one, as a resumed run does with its config.txt.
void read_flagfile(const std::string& path, int variant) {
  Options options;
  const Command command = command_with_each_kind_of_flag(options);
  if (variant == 0) {
    parse_flags(command, {"--flagfile=" + path});
  } else {
    set_flags_not_given(command, parse_flagfile(file_contents(path), path), {});
  }
  if (options.count < 1 || options.count > 1000 || !(options.rate > 0) ||
      (options.word != "red" && options.word != "green") || options.sizes.empty() ||
      std::ranges::any_of(options.sizes, [](std::int64_t size) { return size < 1; }))
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
