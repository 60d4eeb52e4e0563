#include "checkpoints/directory.h"

#include <glog/logging.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "io/durable_files.h"
#include "io/paths.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBestLimitBytes = 4096;

bool is_half_written(const fs::path& checkpoint) {
  return is_there((checkpoint / kCheckpointIncompleteFile).string()) &&
         !is_there((checkpoint / kCheckpointCompleteFile).string());
}

/// Whether a folder with the name of a checkpoint is one that was published. One that has lost its
/// manifest is, as long as it has a shard, and whoever opens it tells; one without was only begun.
bool is_published(const fs::path& checkpoint) {
  if (!is_folder(checkpoint.string()) || is_half_written(checkpoint)) return false;
  if (is_there((checkpoint / kCheckpointManifestFile).string())) return true;
  std::error_code error;  // it may go at any time
  for (fs::directory_iterator entry(checkpoint, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with("shard-")) return true;
  }
  return error && error != std::errc::no_such_file_or_directory;
}

void mark_incomplete(const fs::path& checkpoint) {
  write_file_durably((checkpoint / kCheckpointIncompleteFile).string(),
                     "This checkpoint is being written or removed, or was when its run died.\n");
}

}  // namespace

std::string checkpoints_of(const std::string& run_dir) {
  const PathKind kind = look_at(run_dir);
  if (kind == PathKind::file || kind == PathKind::other) refuse_path("enter", run_dir, ENOTDIR);
  return (fs::path(run_dir) / "checkpoints").string();
}

std::vector<std::string> list_checkpoints(const std::string& directory) {
  std::vector<std::string> names;
  if (!is_folder(directory)) return names;
  for (const std::string& entry : list_folder(directory)) {
    const fs::path path(entry);
    if (step_of_checkpoint_name(path.filename().string()) >= 0 && is_published(path)) {
      names.push_back(path.filename().string());
    }
  }
  std::ranges::sort(names);
  return names;
}

std::optional<std::string> newest_checkpoint(const std::string& directory) {
  const std::vector<std::string> names = list_checkpoints(directory);
  if (names.empty()) return std::nullopt;
  return (fs::path(directory) / names.back()).string();
}

namespace {

/// The name that best.json has. Errors: those of best_checkpoint_name().
std::optional<std::string> name_in_best_file(const std::string& directory) {
  const fs::path file = fs::path(directory) / kCheckpointBestFile;
  if (!is_there(file.string())) return std::nullopt;
  const nlohmann::json object = nlohmann::json::parse(
      read_small_file(file.string(), kBestLimitBytes), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("checkpoint") || !object["checkpoint"].is_string() ||
      step_of_checkpoint_name(object["checkpoint"].get<std::string>()) < 0) {
    throw Error(Cause::checkpoint, file.string(),
                " is damaged: it does not name a checkpoint; remove it, then the newest checkpoint "
                "tells which was the best");
  }
  return object["checkpoint"].get<std::string>();
}

/// The best so far as the newest checkpoint that can be read has it; nothing where that is gone.
std::optional<std::string> best_by_manifests(const std::string& directory) {
  const std::vector<std::string> names = list_checkpoints(directory);
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    try {
      const Manifest newest = read_manifest((fs::path(directory) / *name).string());
      if (newest.info.best_step <= 0) return std::nullopt;
      std::string best = checkpoint_name(newest.info.best_step);
      if (!std::ranges::binary_search(names, best)) return std::nullopt;
      return best;
    } catch (const Error&) {
      continue;  // whoever opens it tells
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> best_checkpoint_name(const std::string& directory) {
  std::optional<std::string> name = name_in_best_file(directory);
  return name ? name : best_by_manifests(directory);
}

std::optional<std::string> best_checkpoint(const std::string& directory) {
  const std::optional<std::string> name = best_checkpoint_name(directory);
  if (!name) return std::nullopt;
  const fs::path path = fs::path(directory) / *name;
  return is_published(path) ? std::optional(path.string()) : std::nullopt;
}

Checkpoint open_newest_valid(const std::string& directory, Verify verify,
                             std::vector<std::string>* stepped_over) {
  return open_first_valid(directory, list_checkpoints(directory), verify, nullptr, stepped_over);
}

Checkpoint open_first_valid(const std::string& directory, const std::vector<std::string>& names,
                            Verify verify, Communicator* ranks,
                            std::vector<std::string>* stepped_over) {
  if (names.empty()) {
    throw Error(Cause::checkpoint, directory,
                " holds no checkpoint to go on from; leave --resume out to start, or give another "
                "--run_dir");
  }
  std::vector<std::string> reasons;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    Failure why;
    std::optional<Checkpoint> found =
        Checkpoint::try_open((fs::path(directory) / *name).string(), verify, ranks, why);
    if (found) return *std::move(found);
    if (why.is_newer_format) throw_failure(why);
    if (why.cause == Cause::io) {
      throw Error(
          Cause::io, why.message,
          "; it is not known to be damaged, and is not stepped over: mend that, or move the "
          "checkpoint elsewhere to go on from an older one");
    }
    if (stepped_over != nullptr) stepped_over->push_back(why.message);
    reasons.push_back(std::move(why.message));
  }
  throw Error(Cause::checkpoint, "none of the ", reasons.size(), " checkpoints in ", directory,
              " can be used: ", join(reasons, "; "),
              "; to start from scratch, give another --run_dir");
}

std::string place_to_write(const std::string& directory, const std::string& name, Commit commit) {
  const std::string entry = commit == Commit::marker ? name : "." + name + kCheckpointWritingSuffix;
  return (fs::path(directory) / entry).string();
}

void begin_checkpoint(const std::string& place, Commit commit) {
  fs::create_directory(place);
  if (commit == Commit::marker) mark_incomplete(place);
}

void remove_checkpoint(const std::string& directory, const std::string& name, Commit commit) {
  const fs::path path = fs::path(directory) / name;
  if (commit == Commit::rename) {
    const fs::path doomed = fs::path(directory) / ("." + name + kCheckpointDeletingSuffix);
    fs::rename(path, doomed);
    fs::remove_all(doomed);
    return;
  }
  mark_incomplete(path);
  sync_to_disk(path.string());
  fs::remove(path / kCheckpointCompleteFile);
  sync_to_disk(path.string());
  // `incomplete` goes last: what is left by a crash must not look complete.
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    if (entry.path().filename() != kCheckpointIncompleteFile) fs::remove_all(entry.path());
  }
  fs::remove_all(path);
}

namespace {

/// Where two names could not be exchanged in one instant, a checkpoint that was about to be
/// replaced by one of the same step may have lost its own.
void give_names_back(const std::string& directory) {
  for (const std::string& entry : list_folder(directory)) {
    std::string name = fs::path(entry).filename().string();
    const std::string suffix = std::string(kCheckpointWritingSuffix) + kReplacedSuffix;
    if (!name.starts_with(".step-") || !name.ends_with(suffix)) continue;
    name = name.substr(1, name.size() - 1 - suffix.size());
    const fs::path published = fs::path(directory) / name;
    if (!is_there(published.string())) fs::rename(entry, published);
  }
}

}  // namespace

void remove_leftovers(const std::string& directory) {
  give_names_back(directory);
  std::vector<fs::path> hidden;
  std::vector<std::string> marked;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory()) continue;
    if (name.starts_with(".step-")) hidden.push_back(entry.path());
    if (step_of_checkpoint_name(name) >= 0 && is_half_written(entry.path())) marked.push_back(name);
  }
  for (const fs::path& path : hidden) fs::remove_all(path);
  for (const std::string& name : marked) remove_checkpoint(directory, name, Commit::marker);
}

void remove_old_checkpoints(const std::string& directory, const std::string& published,
                            int keep_last, Commit commit) {
  const std::vector<std::string> names = list_checkpoints(directory);
  std::set<std::string> kept = {published};
  if (const std::optional<std::string> best = best_checkpoint_name(directory)) kept.insert(*best);
  int earlier = keep_last - 1;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (*name < published && earlier-- > 0) kept.insert(*name);
  }
  for (const std::string& name : names) {
    if (!kept.contains(name)) remove_checkpoint(directory, name, commit);
  }
}

void name_best(const std::string& directory, const std::string& name) {
  replace_file_durably((fs::path(directory) / kCheckpointBestFile).string(),
                       nlohmann::json{{"checkpoint", name}}.dump() + "\n");
}

void name_newest_if_best(const std::string& directory) {
  const std::optional<std::string> newest = newest_checkpoint(directory);
  if (!newest) return;
  std::optional<std::string> named;
  CheckpointInfo info;
  const std::optional<Failure> damage = attempt([&] {
    named = name_in_best_file(directory);
    info = read_manifest(*newest).info;
  });
  // Whoever opens what is damaged tells.
  if (damage || !named || info.best_step != info.step) return;
  const std::string name = checkpoint_name(info.step);
  if (*named == name) return;
  LOG(WARNING) << fs::path(directory) / kCheckpointBestFile << " named " << *named << ", though "
               << name << " was better; it is put right";
  name_best(directory, name);
}

void correct_best(const std::string& directory, const std::string& published,
                  const std::string& best_so_far) {
  std::optional<std::string> named;
  const std::optional<Failure> damage = attempt([&] { named = name_in_best_file(directory); });
  if (!damage && (!named || *named <= published)) return;
  const std::string file = (fs::path(directory) / kCheckpointBestFile).string();
  LOG(WARNING) << file << (damage ? " was damaged" : " named a checkpoint of an earlier attempt")
               << "; it is put right";
  if (is_published(fs::path(directory) / best_so_far)) {
    name_best(directory, best_so_far);
  } else {
    fs::remove(file);
  }
}

}  // namespace micrec
