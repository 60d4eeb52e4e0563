#include "checkpoints/verify.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/directory.h"
#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "checkpoints/shard_file.h"
#include "cluster/agreement.h"
#include "io/paths.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

/// What is to be verified: one checkpoint, or all of a directory and its best.json.
struct Subject {
  std::vector<std::string> checkpoints;  // paths
  std::optional<std::string> directory;  // of a run's checkpoints
};

Subject find_subject(const std::string& path) {
  if (!is_folder(path)) {
    throw Error(Cause::io, path, is_there(path) ? " is not a folder" : " is not there",
                "; expected a run's folder or one of its checkpoints");
  }
  const fs::path folder = fs::path(path).lexically_normal();
  const fs::path name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  if (is_there((folder / kCheckpointManifestFile).string()) ||
      step_of_checkpoint_name(name.string()) >= 0) {
    return {{path}, std::nullopt};
  }
  const std::string inner = checkpoints_of(folder.string());
  const std::string directory = is_folder(inner) ? inner : path;
  Subject subject{{}, directory};
  for (const std::string& checkpoint : list_checkpoints(directory)) {
    subject.checkpoints.push_back((fs::path(directory) / checkpoint).string());
  }
  if (subject.checkpoints.empty()) {
    throw Error(Cause::checkpoint, directory,
                " holds no checkpoint; expected a run's folder or one of its checkpoints");
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

std::int64_t size_of(const fs::path& file) {
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  return error ? 0 : static_cast<std::int64_t>(bytes);
}

/// `damage`: what is wrong with the file, or nothing; it may throw.
VerifiedFile verified_file(const std::string& name, std::int64_t bytes,
                           const std::function<std::optional<std::string>()>& damage) {
  VerifiedFile file{name, bytes, "", false};
  if (const std::optional<Failure> failure =
          attempt([&] { file.damage = damage().value_or(""); })) {
    file.damage = failure->message;
    file.refused = failure->cause == Cause::io;
  }
  return file;
}

/// The file of coefficients beside the checkpoints, read once for all manifests that say the same
/// of it. What any of them does not find is damage.
std::optional<VerifiedFile> verify_item_regression_of(
    const std::vector<VerifiedCheckpoint>& checkpoints) {
  std::optional<VerifiedFile> verified;
  std::vector<StoredFile> compared;
  for (const VerifiedCheckpoint& checkpoint : checkpoints) {
    if (!checkpoint.item_regression) continue;
    const StoredFile& stored = *checkpoint.item_regression;
    if (std::ranges::find(compared, stored) != compared.end()) continue;
    compared.push_back(stored);
    const std::string path = coefficient_file_beside(checkpoint.path);
    VerifiedFile file = verified_file(path, stored.bytes, [&] {
      return damage_of_coefficients(path, stored, Verify::checksums);
    });
    if (!verified || verified->damage.empty()) verified = std::move(file);
  }
  return verified;
}

/// The files of semantic neighbours of the run with these checkpoints.
std::vector<VerifiedFile> verify_neighbours_of(const std::string& checkpoints) {
  std::vector<VerifiedFile> verified;
  for (const std::string& path : neighbour_files_beside(checkpoints)) {
    verified.push_back(verified_file(path, size_of(path), [&]() -> std::optional<std::string> {
      const std::string format = summarise_coefficients(path).origin.format;
      if (format == kSemanticNeighboursFormat) return std::nullopt;
      return text("its format is '", format, "', expected '", kSemanticNeighboursFormat, "'");
    }));
  }
  return verified;
}

std::string advice_on_damage(const VerifiedRun& run) {
  if (run.item_regression && !run.item_regression->damage.empty()) {
    return text("no checkpoint that names ", run.item_regression->file,
                " can be used without it: put it back from a copy, or fit anew in another "
                "--run_dir");
  }
  const auto of_neighbours = std::ranges::count_if(
      run.semantic_neighbours,
      [](const VerifiedFile& file) { return !file.damage.empty() && !file.refused; });
  if (run.damaged == of_neighbours) {
    return "semantic neighbours that no file has are searched for again";
  }
  return "--resume steps over damaged checkpoints to the newest whole one";
}

nlohmann::ordered_json json_of(const VerifiedFile& file, bool with_bytes) {
  nlohmann::ordered_json line = {{"file", file.file}};
  if (with_bytes) line["bytes"] = file.bytes;
  line["whole"] = file.damage.empty();
  if (!file.damage.empty()) line["damage"] = file.damage;
  return line;
}

}  // namespace

bool VerifiedCheckpoint::whole() const {
  return std::ranges::all_of(files, [](const VerifiedFile& file) { return file.damage.empty(); });
}

VerifiedCheckpoint verify_checkpoint(const std::string& path) {
  VerifiedCheckpoint verified{path, {}, {}};
  const fs::path folder(path);
  Manifest manifest;
  const std::optional<Failure> failure = attempt([&] { manifest = read_manifest(path); });
  verified.files.push_back({kCheckpointManifestFile, size_of(folder / kCheckpointManifestFile),
                            failure ? failure->message : "",
                            failure && failure->cause == Cause::io});
  if (failure) return verified;
  verified.item_regression = manifest.info.item_regression;
  for (const StoredShard& shard : manifest.shards) {
    verified.files.push_back(verified_file(shard.file, shard.bytes, [&] {
      return damage_of((folder / shard.file).string(), shard, Verify::checksums);
    }));
  }
  return verified;
}

VerifiedRun verify_run(
    const std::string& path,
    const std::function<void(const std::string& path, const VerifiedFile& file)>& tell) {
  const Subject subject = find_subject(path);
  VerifiedRun run;
  run.path = path;
  const auto take = [&](const std::string& path_of_file, const VerifiedFile& file) {
    ++run.files;
    run.damaged += file.damage.empty() || file.refused ? 0 : 1;
    if (file.refused && run.unreadable.empty()) run.unreadable = file.damage;
    tell(path_of_file, file);
  };
  for (const std::string& checkpoint : subject.checkpoints) {
    run.checkpoints.push_back(verify_checkpoint(checkpoint));
    for (const VerifiedFile& file : run.checkpoints.back().files) {
      take((fs::path(checkpoint) / file.file).string(), file);
    }
  }
  run.item_regression = verify_item_regression_of(run.checkpoints);
  if (run.item_regression) take(run.item_regression->file, *run.item_regression);
  if (!subject.directory) return run;
  run.semantic_neighbours = verify_neighbours_of(*subject.directory);
  for (const VerifiedFile& file : run.semantic_neighbours) take(file.file, file);
  const std::string file = (fs::path(*subject.directory) / kCheckpointBestFile).string();
  if (!is_there(file)) {
    run.best_without_file = best_checkpoint_name(*subject.directory).value_or("");
    return run;
  }
  run.best = {file, size_of(file), damage_of_best(*subject.directory), false};
  take(file, *run.best);
  return run;
}

nlohmann::ordered_json VerifiedRun::to_json() const {
  using json = nlohmann::ordered_json;
  json report = {{"path", path}, {"whole", whole()}, {"checkpoints", json::array()}};
  for (const VerifiedCheckpoint& checkpoint : checkpoints) {
    json files = json::array();
    for (const VerifiedFile& file : checkpoint.files) files.push_back(json_of(file, true));
    report["checkpoints"].push_back(
        {{"path", checkpoint.path}, {"whole", checkpoint.whole()}, {"files", std::move(files)}});
  }
  if (item_regression) report["item_regression"] = json_of(*item_regression, true);
  for (const VerifiedFile& file : semantic_neighbours) {
    report["semantic_neighbours"].push_back(json_of(file, true));
  }
  if (best) report["best"] = json_of(*best, false);
  return report;
}

void refuse_damage(const VerifiedRun& run) {
  if (run.damaged > 0) {
    throw Error(Cause::checkpoint, run.damaged, " of ", run.files, " files of ", run.path,
                " are damaged, as listed; ", advice_on_damage(run));
  }
  if (!run.unreadable.empty()) throw Error(Cause::io, run.unreadable);
}

}  // namespace micrec
