#include "checkpoints/verify.h"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/agreement.h"
#include "checkpoints/directory.h"
#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"

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
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    throw Error(Cause::io,
                text(path, fs::exists(path, error) ? " is not a folder" : " is not there",
                     "; expected a run's folder or one of its checkpoints"));
  }
  const fs::path folder = fs::path(path).lexically_normal();
  const fs::path name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  if (fs::exists(folder / kCheckpointManifestFile) || step_of_checkpoint_name(name.string()) >= 0) {
    return {{path}, std::nullopt};
  }
  const fs::path inner = folder / "checkpoints";
  const std::string directory = fs::is_directory(inner, error) ? inner.string() : path;
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

void print_file(const std::string& path, std::int64_t bytes, const std::string& damage) {
  std::cout << path << ": "
            << (damage.empty() ? text("whole, ", in_bytes(static_cast<double>(bytes)))
                               : text("DAMAGED: ", damage))
            << "\n";
}

int run_verify(const Arguments& arguments) {
  if (!FLAGS_out.empty()) refuse_unwritable(FLAGS_out);
  const std::string& path = arguments.plain.front();
  const Subject subject = find_subject(path);
  json report = {{"path", path}, {"whole", true}, {"checkpoints", json::array()}};
  std::int64_t files = 0;
  std::int64_t damaged = 0;
  for (const std::string& checkpoint : subject.checkpoints) {
    const VerifiedCheckpoint verified = verify_checkpoint(checkpoint);
    json entry = {{"path", checkpoint}, {"whole", verified.whole()}, {"files", json::array()}};
    for (const VerifiedFile& file : verified.files) {
      print_file((fs::path(checkpoint) / file.file).string(), file.bytes, file.damage);
      json line = {{"file", file.file}, {"bytes", file.bytes}, {"whole", file.damage.empty()}};
      if (!file.damage.empty()) line["damage"] = file.damage;
      entry["files"].push_back(line);
      ++files;
      damaged += file.damage.empty() ? 0 : 1;
    }
    report["checkpoints"].push_back(entry);
  }
  if (subject.directory && fs::exists(fs::path(*subject.directory) / kCheckpointBestFile)) {
    const std::string file = (fs::path(*subject.directory) / kCheckpointBestFile).string();
    const std::string damage = damage_of_best(*subject.directory);
    std::error_code error;
    const auto bytes = fs::file_size(file, error);
    print_file(file, error ? 0 : static_cast<std::int64_t>(bytes), damage);
    report["best"] = {{"file", file}, {"whole", damage.empty()}};
    if (!damage.empty()) report["best"]["damage"] = damage;
    ++files;
    damaged += damage.empty() ? 0 : 1;
  }
  report["whole"] = damaged == 0;
  std::cout << std::flush;
  if (!FLAGS_out.empty()) {
    UnfinishedFile unfinished(FLAGS_out);
    std::ofstream out(unfinished.name());
    out << report.dump(2) << "\n";
    out.close();
    if (!out) {
      throw Error(Cause::io, text("cannot write ", FLAGS_out, "; check that the disk has room"));
    }
    unfinished.finish();
  }
  if (damaged > 0) {
    throw Error(Cause::checkpoint,
                text(damaged, " of ", files, " files of ", path,
                     " are damaged, as listed; --resume steps over damaged checkpoints to the "
                     "newest whole one"));
  }
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
