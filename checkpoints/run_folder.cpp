#include "checkpoints/run_folder.h"

#include <ATen/ops/full.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "checkpoints/coefficient_file.h"
#include "cluster/agreement.h"
#include "io/durable_files.h"
#include "io/paths.h"

namespace micrec {
namespace {

constexpr char kConfigFile[] = "config.txt";

namespace fs = std::filesystem;

constexpr auto kBetweenTries = std::chrono::milliseconds(200);

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
  const std::string name = fs::path(path).filename().string();
  return name == kConfigFile || name == "metrics.jsonl" || name.starts_with("run.lock") ||
         name.starts_with(kItemRegressionFile) || name.starts_with(kNeighbourFiles) ||
         name.starts_with("events.out.tfevents.");
}

/// Whether a folder is one checkpoint, or holds a run's.
bool is_of_checkpoints(const fs::path& folder) {
  return is_there((folder / "manifest.json").string()) || is_there((folder / "best.json").string());
}

}  // namespace

void refuse_old_run(const std::string& run_dir) {
  if (newest_checkpoint(checkpoints_of(run_dir))) {
    throw Error(Cause::usage, run_dir,
                " holds a run already: go on with it by --resume, or give another --run_dir");
  }
}

HeldFolder hold_run_folder(const std::string& run_dir, const LockHolder& holder,
                           Communicator& communicator, const WaitForFolder& wait) {
  HeldFolder held;
  bool is_told = false;
  while (true) {
    bool taken = true;
    attempt_together(communicator, "run_folder.lock", [&] {
      if (communicator.rank() != 0) return;
      if (!held.lock) {
        make_directory_durably(run_dir);
        held.lock = std::make_unique<RunLock>(run_dir, holder);
      }
      taken = held.lock->try_take();
    });
    // The others wait in here, for a moment each time: the deadline of a collective is not theirs.
    at::Tensor all = at::full({1}, std::int64_t{taken}, at::kLong);
    communicator.all_reduce("run_folder.taken", all, Reduction::min);
    if (all.item<std::int64_t>() != 0) return held;
    if (!std::exchange(is_told, true) && held.lock) wait.announce(held.lock->waits_for());
    if (wait.agree_to_stop()) {
      held.stopped = true;
      return held;
    }
    std::this_thread::sleep_for(kBetweenTries);
  }
}

std::string config_file_of(const std::string& run_dir) {
  return (fs::path(run_dir) / kConfigFile).string();
}

void write_config(const std::string& run_dir, const std::string& flagfile,
                  Communicator& communicator) {
  attempt_together(communicator, "run_folder.config", [&] {
    if (communicator.rank() != 0) return;
    replace_file_durably(config_file_of(run_dir), flagfile);
  });
}

std::vector<std::string> files_of_run(const std::string& run_dir) {
  std::vector<std::string> files;
  if (!is_folder(run_dir)) return files;
  for (const std::string& file : files_in(run_dir)) {
    if (is_of_run(file)) files.push_back(file);
  }
  // Of a run, of its folder of checkpoints, or of one checkpoint.
  std::vector<std::string> folders = {(fs::path(run_dir) / "checkpoints").string(), run_dir};
  for (std::size_t n = 0; n < folders.size(); ++n) {
    const std::string folder = folders[n];
    if (!is_folder(folder)) continue;
    for (const std::string& entry : list_folder(folder)) {
      const std::string name = fs::path(entry).filename().string();
      if (name.starts_with("step-") && is_folder(entry)) folders.push_back(entry);
    }
    if (folder == run_dir && !is_of_checkpoints(folder)) continue;
    for (const std::string& file : files_in(folder)) files.push_back(file);
  }
  return files;
}

void refuse_file_of_run(const std::string& flag, const std::string& path) {
  if (look_at(path) != PathKind::file) return;
  const fs::path folder = fs::canonical(path).parent_path();
  if (!is_folder((folder / "checkpoints").string()) && !is_of_checkpoints(folder)) return;
  for (const std::string& file : files_of_run(folder.string())) {
    if (!fs::equivalent(file, path)) continue;
    throw Error(
        Cause::usage, flag, "=", path, " is the same file as ", file,
        ", which a run has written about itself: writing it would destroy it; name another file");
  }
}

}  // namespace micrec
