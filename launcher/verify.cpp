#include "checkpoints/verify.h"

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"

namespace micrec {
namespace {

void print_file(const std::string& path, const VerifiedFile& file) {
  std::cout << path << ": "
            << (file.damage.empty()
                    ? text("whole, ", in_bytes(static_cast<double>(file.bytes)))
                    : text(file.refused ? "UNREADABLE: " : "DAMAGED: ", file.damage))
            << "\n";
}

int run_verify(const std::string& out, const Arguments& arguments) {
  const std::string& path = arguments.plain.front();
  check_output("--out", out, arguments, files_of_run(path));
  const VerifiedRun run = verify_run(path, print_file);
  if (!run.best_without_file.empty()) {
    std::cout << "best.json is missing: " << run.best_without_file
              << " is taken for the best, as the newest checkpoint tells\n";
  }
  std::cout << std::flush;
  if (!out.empty()) write_whole_file(out, run.to_json().dump(2) + "\n");
  refuse_damage(run);
  return 0;
}

}  // namespace

Command verify_command() {
  Command command;
  command.name = "verify";
  command.summary = "read every byte of a run's checkpoints and compare it with their manifests";
  command.usage = "micrec verify RUN_DIR|CHECKPOINT [--out=FILE]";
  command.example = "micrec verify runs/fk";
  command.min_arguments = 1;
  command.max_arguments = 1;
  command.arguments = "a run's folder, or one of its checkpoints; exit code 0: whole, 6: damaged";
  const auto out = std::make_shared<std::string>();
  command.flags = {out_flag(*out, "a file for the findings as JSON", false)};
  command.run = [out](const Arguments& arguments) { return run_verify(*out, arguments); };
  return command;
}

}  // namespace micrec
