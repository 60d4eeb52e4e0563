#include "checkpoints/verify.h"

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/directory.h"
#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "cluster/agreement.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

/// What is to be verified: one checkpoint, or all of a directory and its best.json.
struct Subject {
  std::vector<std::string> checkpoints;  // paths
  std::optional<std::string> directory;  // of a run's checkpoints
};

Subject find_subject(const std::string& path) {
  if (!is_folder(path)) {
    throw Error(Cause::io, text(path, is_there(path) ? " is not a folder" : " is not there",
                                "; expected a run's folder or one of its checkpoints"));
  }
  const fs::path folder = fs::path(path).lexically_normal();
  const fs::path name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  if (is_there((folder / kCheckpointManifestFile).string()) ||
      step_of_checkpoint_name(name.string()) >= 0) {
    return {{path}, std::nullopt};
  }
  const fs::path inner = folder / "checkpoints";
  const std::string directory = is_folder(inner.string()) ? inner.string() : path;
  Subject subject{{}, directory};
  for (const std::string& checkpoint : list_checkpoints(directory)) {
    subject.checkpoints.push_back((fs::path(directory) / checkpoint).string());
  }
  if (subject.checkpoints.empty()) {
    throw Error(Cause::checkpoint, text(directory,
                                        " holds no checkpoint; expected a run's folder "
                                        "or one of its checkpoints"));
  }
  return subject;
}

/// What is wrong with best.json; empty where nothing is, or where there is none.
std::string damage_of_best(const std::string& directory) {
  std::optional<std::string> name;
  if (const std::optional<Failure> damage =
          attempt([&] { name = best_checkpoint_name(directory); })) {
    return damage->message;
  }
  if (name && !best_checkpoint(directory)) {
    return text("it names ", *name, ", which is not there or incomplete");
  }
  return "";
}

void print_file(const std::string& path, const VerifiedFile& file) {
  std::cout << path << ": "
            << (file.damage.empty()
                    ? text("whole, ", in_bytes(static_cast<double>(file.bytes)))
                    : text(file.refused ? "UNREADABLE: " : "DAMAGED: ", file.damage))
            << "\n";
}

int run_verify(const Arguments& arguments) {
  const std::string& path = arguments.plain.front();
  check_output("--out", FLAGS_out, arguments, files_of_run(path));
  const Subject subject = find_subject(path);
  json report = {{"path", path}, {"whole", true}, {"checkpoints", json::array()}};
  std::int64_t files = 0;
  std::int64_t damaged = 0;
  std::string unreadable;  // the first reason
  for (const std::string& checkpoint : subject.checkpoints) {
    const VerifiedCheckpoint verified = verify_checkpoint(checkpoint);
    json entry = {{"path", checkpoint}, {"whole", verified.whole()}, {"files", json::array()}};
    for (const VerifiedFile& file : verified.files) {
      print_file((fs::path(checkpoint) / file.file).string(), file);
      json line = {{"file", file.file}, {"bytes", file.bytes}, {"whole", file.damage.empty()}};
      if (!file.damage.empty()) line["damage"] = file.damage;
      entry["files"].push_back(line);
      ++files;
      damaged += file.damage.empty() || file.refused ? 0 : 1;
      if (file.refused && unreadable.empty()) unreadable = file.damage;
    }
    report["checkpoints"].push_back(entry);
  }
  const std::string file =
      subject.directory ? (fs::path(*subject.directory) / kCheckpointBestFile).string() : "";
  if (!file.empty() && is_there(file)) {
    const std::string damage = damage_of_best(*subject.directory);
    std::error_code error;
    const auto bytes = fs::file_size(file, error);
    print_file(file, {file, error ? 0 : static_cast<std::int64_t>(bytes), damage, false});
    report["best"] = {{"file", file}, {"whole", damage.empty()}};
    if (!damage.empty()) report["best"]["damage"] = damage;
    ++files;
    damaged += damage.empty() ? 0 : 1;
  }
  report["whole"] = damaged == 0 && unreadable.empty();
  std::cout << std::flush;
  if (!FLAGS_out.empty()) {
    write_whole_file(FLAGS_out, report.dump(2) + "\n");
  }
  if (damaged > 0) {
    throw Error(Cause::checkpoint,
                text(damaged, " of ", files, " files of ", path,
                     " are damaged, as listed; --resume steps over damaged checkpoints to the "
                     "newest whole one"));
  }
  if (!unreadable.empty()) throw Error(Cause::io, unreadable);
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
  command.flags = {out_flag("a file for the findings as JSON", false)};
  command.run = run_verify;
  return command;
}

}  // namespace micrec
