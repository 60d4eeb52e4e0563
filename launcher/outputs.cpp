#include "launcher/outputs.h"

#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "io/paths.h"
#include "io/unfinished_file.h"

namespace micrec {
namespace {

/// The plain files of a folder.
std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> files;
  for (const std::string& entry : list_folder(folder)) {
    if (look_at(entry) == PathKind::file) files.push_back(entry);
  }
  return files;
}

/// Written by train; whatever else lies in a run's folder is a result that may be written again.
bool is_of_run(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  return name == "config.txt" || name == "metrics.jsonl" || name.starts_with("run.lock") ||
         name.starts_with("events.out.tfevents.");
}

/// Whether a folder is one checkpoint, or holds a run's.
bool is_of_checkpoints(const std::filesystem::path& folder) {
  return is_there((folder / "manifest.json").string()) || is_there((folder / "best.json").string());
}

/// Whatever a command reads, a run's checkpoints and its own account are not for it to write.
void refuse_file_of_run(const std::string& flag, const std::string& path) {
  namespace fs = std::filesystem;
  if (look_at(path) != PathKind::file) return;
  const fs::path folder = fs::canonical(path).parent_path();
  if (!is_folder((folder / "checkpoints").string()) && !is_of_checkpoints(folder)) return;
  for (const std::string& file : files_of_run(folder.string())) {
    if (!fs::equivalent(file, path)) continue;
    throw Error(Cause::usage, text(flag, "=", path, " is the same file as ", file,
                                   ", which a run has written about itself: writing it would "
                                   "destroy it; name another file"));
  }
}

}  // namespace

void check_output(const std::string& flag, const std::string& path, const Arguments& arguments,
                  const std::vector<std::string>& inputs) {
  if (path.empty()) return;
  refuse_unwritable(path);
  refuse_output_over_inputs(flag, path, inputs);
  refuse_output_over_inputs(flag, path, arguments.flagfiles);
  refuse_file_of_run(flag, path);
}

std::vector<std::string> files_of_run(const std::string& run_dir) {
  std::vector<std::string> files;
  if (!is_folder(run_dir)) return files;
  for (const std::string& file : files_in(run_dir)) {
    if (is_of_run(file)) files.push_back(file);
  }
  // Of a run, of its folder of checkpoints, or of one checkpoint.
  std::vector<std::string> folders = {(std::filesystem::path(run_dir) / "checkpoints").string(),
                                      run_dir};
  for (std::size_t n = 0; n < folders.size(); ++n) {
    const std::string folder = folders[n];
    if (!is_folder(folder)) continue;
    for (const std::string& entry : list_folder(folder)) {
      const std::string name = std::filesystem::path(entry).filename().string();
      if (name.starts_with("step-") && is_folder(entry)) folders.push_back(entry);
    }
    if (folder == run_dir && !is_of_checkpoints(folder)) continue;
    for (const std::string& file : files_in(folder)) files.push_back(file);
  }
  return files;
}

}  // namespace micrec
