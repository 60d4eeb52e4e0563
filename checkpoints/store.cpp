#include "checkpoints/store.h"

#include <ATen/ops/empty.h>
#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/agreement.h"
#include "checkpoints/element_type.h"
#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "io/durable_files.h"
#include "io/hdf5.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBestLimitBytes = 4096;

void check_tensors(const std::vector<GlobalNode>& owned,
                   const std::vector<CheckpointTensor>& tensors) {
  for (std::size_t i = 1; i < owned.size(); ++i) CHECK_LT(value(owned[i - 1]), value(owned[i]));
  std::set<std::string> names;
  for (const CheckpointTensor& tensor : tensors) {
    CHECK(!tensor.name.empty() && tensor.name.find('/') == std::string::npos) << tensor.name;
    CHECK(names.insert(tensor.name).second) << "two tensors are named " << tensor.name;
    CHECK(tensor.value.defined()) << tensor.name;
    CHECK(!element_type_name(tensor.value.scalar_type()).empty())
        << tensor.name << " is of type " << tensor.value.scalar_type();
    if (tensor.sharded) {
      CHECK(tensor.value.dim() >= 1 &&
            tensor.value.size(0) == static_cast<std::int64_t>(owned.size()))
          << tensor.name << " has " << tensor.value.sizes() << " for " << owned.size() << " rows";
    }
    CHECK_EQ(tensor.adam_m.defined(), tensor.adam_v.defined()) << tensor.name;
    for (const at::Tensor& moment : {tensor.adam_m, tensor.adam_v}) {
      if (!moment.defined()) continue;
      CHECK(moment.sizes() == tensor.value.sizes() &&
            moment.scalar_type() == tensor.value.scalar_type())
          << "a moment of " << tensor.name << " is not as its value";
    }
  }
}

void write_tensor(Hdf5File& file, const std::string& dataset, const at::Tensor& tensor) {
  std::vector<std::int64_t> shape = tensor.sizes().vec();
  const at::Tensor rows = shape.empty() ? tensor.detach().view({1}) : tensor.detach();
  if (shape.empty()) shape = {1};
  visit_element_type(tensor.scalar_type(), [&]<typename T>(T) {
    if (rows.is_cpu() && rows.is_contiguous()) {
      file.write(dataset, rows.const_data_ptr<T>(), shape);
      return;
    }
    file.reserve<T>(dataset, shape);
    if (rows.numel() == 0) return;
    const std::int64_t row_bytes = rows.numel() / shape[0] * std::int64_t{sizeof(T)};
    const std::int64_t at_once = std::max<std::int64_t>(1, kTransferBytes / row_bytes);
    for (std::int64_t begin = 0; begin < shape[0]; begin += at_once) {
      const std::int64_t end = std::min(shape[0], begin + at_once);
      const at::Tensor piece = rows.narrow(0, begin, end - begin).to(at::kCPU).contiguous();
      file.write_rows(dataset, Range{begin, end}, piece.const_data_ptr<T>());
    }
  });
}

void write_shard(const std::string& path, int rank, std::int64_t step,
                 const std::vector<GlobalNode>& owned,
                 const std::vector<CheckpointTensor>& tensors) {
  std::vector<std::int64_t> rows(owned.size());
  std::transform(owned.begin(), owned.end(), rows.begin(),
                 [](GlobalNode node) { return std::int64_t{value(node)}; });
  Hdf5File file = Hdf5File::create(path);
  file.set_attribute("/", "format", kCheckpointShardFormat);
  file.set_attribute("/", "format_version", kCheckpointFormatVersion);
  file.set_attribute("/", "shard", rank);
  file.set_attribute("/", "step", step);
  file.make_group("/tensors");
  for (const CheckpointTensor& tensor : tensors) {
    if (!tensor.sharded && rank != 0) continue;
    const std::string group = "/tensors/" + tensor.name;
    file.make_group(group);
    if (!tensor.description.empty()) {
      file.set_attribute(group, "description", tensor.description);
    }
    if (tensor.sharded) file.write(group + "/row", rows);
    write_tensor(file, group + "/value", tensor.value);
    if (!tensor.adam_m.defined()) continue;
    write_tensor(file, group + "/adam_m", tensor.adam_m);
    write_tensor(file, group + "/adam_v", tensor.adam_v);
  }
  file.close();
  sync_to_disk(path);
}

// What every rank has written. Ranks: collective.
std::vector<StoredShard> gather_shards(Communicator& communicator, const StoredShard& own) {
  std::array<std::uint64_t, 2> digest{};
  for (std::size_t half = 0; half < 2; ++half) {
    digest[half] = std::stoull(own.xxh3_128.substr(16 * half, 16), nullptr, 16);
  }
  at::Tensor local = at::empty({1, 4}, at::kLong);
  auto* const numbers = local.mutable_data_ptr<std::int64_t>();
  numbers[0] = own.bytes;
  numbers[1] = own.rows;
  numbers[2] = static_cast<std::int64_t>(digest[0]);
  numbers[3] = static_cast<std::int64_t>(digest[1]);
  const std::vector<std::int64_t> one_each(static_cast<std::size_t>(communicator.size()), 1);
  const at::Tensor all = communicator.all_gather("checkpoint.shards", local, one_each);

  std::vector<StoredShard> shards;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const std::int64_t* const row = all.const_data_ptr<std::int64_t>() + 4 * rank;
    char hexadecimal[33];
    std::snprintf(hexadecimal, sizeof hexadecimal, "%016llx%016llx",
                  static_cast<unsigned long long>(row[2]), static_cast<unsigned long long>(row[3]));
    shards.push_back({shard_name(rank), row[0], row[1], hexadecimal});
  }
  return shards;
}

Manifest make_manifest(const CheckpointInfo& info, const std::vector<CheckpointTensor>& tensors,
                       std::vector<StoredShard> shards) {
  Manifest manifest;
  manifest.info = info;
  manifest.info.world_size = static_cast<int>(shards.size());
  manifest.shards = std::move(shards);
  for (const StoredShard& shard : manifest.shards) manifest.rows += shard.rows;
  for (const CheckpointTensor& tensor : tensors) {
    std::vector<std::int64_t> shape = tensor.value.sizes().vec();
    if (tensor.sharded) shape[0] = manifest.rows;
    manifest.tensors.push_back({tensor.name, element_type_name(tensor.value.scalar_type()), shape,
                                tensor.sharded, tensor.adam_m.defined(), tensor.description});
  }
  return manifest;
}

// Removes what runs that died have left half written or half removed.
void remove_leftovers(const std::string& directory) {
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".step-") && entry.is_directory()) leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) fs::remove_all(path);
}

// Removes a checkpoint so that no instant shows a part of one under its name.
void remove_checkpoint(const std::string& directory, const std::string& name) {
  const fs::path doomed = fs::path(directory) / ("." + name + kCheckpointDeletingSuffix);
  fs::rename(fs::path(directory) / name, doomed);
  fs::remove_all(doomed);
}

void remove_old_checkpoints(const std::string& directory, const std::string& published,
                            int keep_last) {
  std::vector<std::string> names = list_checkpoints(directory);
  std::set<std::string> kept = {published};
  if (const std::optional<std::string> best = best_checkpoint(directory)) {
    kept.insert(fs::path(*best).filename().string());
  }
  int earlier = keep_last - 1;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (*name < published && earlier-- > 0) kept.insert(*name);
  }
  for (const std::string& name : names) {
    if (!kept.contains(name)) remove_checkpoint(directory, name);
  }
}

// What rank 0 finds, on all ranks: on a network file system they may not see the same.
template <typename Find>
std::optional<std::string> found_by_rank_0(Communicator& communicator, const char* name,
                                           const Find& find) {
  std::string path;  // empty: nothing there
  throw_together(communicator, name, attempt([&] {
                   if (communicator.rank() == 0) path = find().value_or("");
                 }));
  path = broadcast_text(communicator, name, path);
  return path.empty() ? std::nullopt : std::optional(path);
}

}  // namespace

CheckpointStore::CheckpointStore(std::string directory, Communicator& communicator)
    : directory_(std::move(directory)), communicator_(communicator) {
  throw_together(communicator_, "checkpoint.directory", attempt([&] {
                   if (communicator_.rank() == 0) make_directory_durably(directory_);
                 }));
}

std::string CheckpointStore::save(const CheckpointInfo& info, const std::vector<GlobalNode>& owned,
                                  const std::vector<CheckpointTensor>& tensors,
                                  const SaveOptions& options) {
  check_tensors(owned, tensors);
  CHECK_GE(options.keep_last, 1);
  const int rank = communicator_.rank();
  const std::string name = checkpoint_name(info.step);
  const std::string published = (fs::path(directory_) / name).string();
  const std::string writing =
      (fs::path(directory_) / ("." + name + kCheckpointWritingSuffix)).string();

  const auto together = [&](const char* collective, const std::optional<Failure>& own) {
    const std::optional<Failure> failure = first_failure(communicator_, collective, own);
    if (!failure) return;
    if (rank == 0) {
      std::error_code ignored;
      fs::remove_all(writing, ignored);
    }
    throw Error(failure->cause, text("checkpoint ", published, " could not be saved: ",
                                     failure->message, "; all earlier checkpoints are untouched"));
  };

  together("checkpoint.begin", attempt([&] {
             if (rank != 0) return;
             remove_leftovers(directory_);
             fs::create_directory(writing);
           }));

  StoredShard shard;
  together("checkpoint.write", attempt([&] {
             const std::string path = (fs::path(writing) / shard_name(rank)).string();
             write_shard(path, rank, info.step, owned, tensors);
             const FileDigest digest = digest_file(path);
             shard = {shard_name(rank), digest.bytes, static_cast<std::int64_t>(owned.size()),
                      digest.xxh3_128};
           }));
  std::vector<StoredShard> shards = gather_shards(communicator_, shard);

  together("checkpoint.publish", attempt([&] {
             if (rank != 0) return;
             const Manifest manifest = make_manifest(info, tensors, std::move(shards));
             replace_file_durably((fs::path(writing) / kCheckpointManifestFile).string(),
                                  to_json_text(manifest));
             sync_to_disk(writing);
             rename_directory_durably(writing, published);
           }));

  if (options.is_best) {
    const std::optional<Failure> failure =
        first_failure(communicator_, "checkpoint.best", attempt([&] {
                        if (rank != 0) return;
                        replace_file_durably((fs::path(directory_) / kCheckpointBestFile).string(),
                                             nlohmann::json{{"checkpoint", name}}.dump() + "\n");
                      }));
    if (failure) {
      throw Error(failure->cause,
                  text("checkpoint ", published, " is saved, but could not be named ",
                       "the best: ", failure->message));
    }
  }

  if (rank == 0) {
    try {
      remove_leftovers(directory_);
      remove_old_checkpoints(directory_, name, options.keep_last);
    } catch (const std::exception& error) {
      LOG(WARNING) << "checkpoint " << published
                   << " is saved, but older ones could not be removed: " << error.what();
    }
  }
  return name;
}

std::optional<std::string> CheckpointStore::newest() const {
  return found_by_rank_0(communicator_, "checkpoint.newest",
                         [&] { return newest_checkpoint(directory_); });
}

std::optional<std::string> CheckpointStore::best() const {
  return found_by_rank_0(communicator_, "checkpoint.best",
                         [&] { return best_checkpoint(directory_); });
}

std::vector<std::string> list_checkpoints(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  if (!fs::is_directory(directory, error)) return names;
  fs::directory_iterator entries(directory, error);
  if (error) throw Error(Cause::io, text("cannot list ", directory, ": ", error.message()));
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (step_of_checkpoint_name(name) >= 0 &&
        fs::exists(entry.path() / kCheckpointManifestFile, error)) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> newest_checkpoint(const std::string& directory) {
  const std::vector<std::string> names = list_checkpoints(directory);
  if (names.empty()) return std::nullopt;
  return (fs::path(directory) / names.back()).string();
}

std::optional<std::string> best_checkpoint(const std::string& directory) {
  const fs::path file = fs::path(directory) / kCheckpointBestFile;
  if (!fs::exists(file)) return std::nullopt;
  const nlohmann::json object = nlohmann::json::parse(
      read_small_file(file.string(), kBestLimitBytes), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("checkpoint") || !object["checkpoint"].is_string() ||
      step_of_checkpoint_name(object["checkpoint"].get<std::string>()) < 0) {
    throw Error(Cause::checkpoint,
                text(file.string(),
                     " is damaged: it does not name a checkpoint; remove it and name "
                     "the checkpoint to use"));
  }
  const fs::path path = fs::path(directory) / object["checkpoint"].get<std::string>();
  if (!fs::exists(path / kCheckpointManifestFile)) return std::nullopt;
  return path.string();
}

}  // namespace micrec
