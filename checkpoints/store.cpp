#include "checkpoints/store.h"

#include <ATen/ops/full.h>
#include <glog/logging.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/element_type.h"
#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "checkpoints/shard_file.h"
#include "cluster/agreement.h"
#include "io/durable_files.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr double kLongestWaitSeconds = 1;        // of a collective, for a disk
constexpr double kGuessedBytesPerSecond = 50e6;  // of a slow disk, before the first save

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
      CHECK(tensor.value.dim() >= 1 && tensor.value.size(0) == std::ssize(owned))
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

// What a manifest says of the tensors, but for the rows of the sharded ones.
std::vector<StoredTensor> describe(const std::vector<CheckpointTensor>& tensors) {
  std::vector<StoredTensor> described;
  for (const CheckpointTensor& tensor : tensors) {
    described.push_back({tensor.name, element_type_name(tensor.value.scalar_type()),
                         tensor.value.sizes().vec(), tensor.sharded, tensor.adam_m.defined(),
                         tensor.description});
  }
  return described;
}

// Removes files that an earlier attempt left in the folder: the manifest does not list them.
void remove_strangers(const std::string& place, const Manifest& manifest) {
  std::set<std::string> listed = {kCheckpointIncompleteFile};
  for (const StoredShard& shard : manifest.shards) listed.insert(shard.file);
  std::vector<fs::path> strangers;
  for (const fs::directory_entry& entry : fs::directory_iterator(place)) {
    if (!listed.contains(entry.path().filename().string())) strangers.push_back(entry.path());
  }
  for (const fs::path& path : strangers) fs::remove_all(path);
}

// Whether a phase that was started on this rank, if one was, ends in so many seconds.
bool ends_within(const std::future<void>& phase, double seconds) {
  return !phase.valid() ||
         phase.wait_for(std::chrono::duration<double>(seconds)) == std::future_status::ready;
}

// Rank 0's list of checkpoints, on all ranks: on a network file system they may not see the same.
// Ranks: collective.
std::vector<std::string> list_together(Communicator& communicator, const char* name,
                                       const std::string& directory) {
  std::string names;
  attempt_together(communicator, name, [&] {
    if (communicator.rank() == 0) names = join(list_checkpoints(directory), "\n");
  });
  return split(broadcast_text(communicator, name, names), '\n');
}

}  // namespace

// A save that is under way. While a phase runs in the background, it alone touches what is marked
// so.
struct CheckpointStore::Pending {
  enum class Phase { writing, publishing, tidying };

  SavedCheckpoint saved;  // what it comes to
  std::string published;  // path
  std::string place;      // path of the folder that is written
  SaveOptions options;
  std::string best_so_far;  // name
  Phase phase = Phase::writing;
  std::atomic<bool> abandoned{false};
  Timer since_asked;
  double publish_seconds = 0;  // background; rank 0's

  ShardContents contents;          // background
  Manifest manifest;               // background; rank 0's becomes complete in advance()
  StoredShard shard;               // background: what this rank has written
  double own_write_seconds = 0;    // background
  std::optional<Failure> failure;  // background: of the phase

  void reach(SaveStep step) const {
    if (options.on_step) options.on_step(step);
  }

  void write() {
    failure = attempt([&] {
      const Timer timer;
      if (options.refuse_not_finite) {
        if (const std::optional<std::string> bad = tensor_not_finite(contents.tensors)) {
          throw Error(Cause::diverged, "a value of '", *bad,
                      "' is not finite; try a smaller --lr or more --l2");
        }
      }
      begin_checkpoint(place, options.commit);
      reach(SaveStep::begun);
      const std::string path = (fs::path(place) / shard_name(contents.rank)).string();
      std::vector<StoredDataset> datasets = write_shard(path, contents, abandoned);
      reach(SaveStep::shard_written);
      sync_to_disk(path);
      reach(SaveStep::shard_synced);
      shard = describe_shard(path, contents, std::move(datasets));
      own_write_seconds = timer.seconds();
    });
    contents.tensors.clear();
  }

  void publish() {
    const Timer timer;
    failure = attempt([&] {
      remove_strangers(place, manifest);
      std::string checksum;
      const std::string text = to_json_text(manifest, &checksum);
      const fs::path folder(place);
      write_file_durably((folder / kCheckpointManifestFile).string(), text);
      sync_to_disk(place);
      reach(SaveStep::manifest_written);
      if (options.commit == Commit::marker) {
        write_file_durably((folder / kCheckpointCompleteFile).string(), checksum + "\n");
        reach(SaveStep::renamed);
        sync_to_disk(place);
      } else {
        rename_directory(place, published);
        reach(SaveStep::renamed);
      }
      sync_to_disk(fs::path(published).parent_path().string());
    });
    publish_seconds = timer.seconds();
  }

  void tidy(const std::string& directory) {
    failure = attempt([&] {
      // Told here, as this phase may begin long after, in a folder that is another run's by now.
      reach(SaveStep::parent_synced);
      if (options.commit == Commit::marker) {
        fs::remove(fs::path(place) / kCheckpointIncompleteFile);
      }
      if (options.is_best) {
        name_best(directory, saved.name);
        reach(SaveStep::best_named);
      } else {
        correct_best(directory, saved.name, best_so_far);
      }
    });
    if (failure) return;
    const std::optional<Failure> kept = attempt([&] {
      remove_leftovers(directory);
      remove_old_checkpoints(directory, saved.name, options.keep_last, options.commit);
    });
    LOG_IF(WARNING, kept.has_value())
        << "checkpoint " << published
        << " is saved, but older ones could not be removed: " << kept->message;
    failure = attempt([&] { reach(SaveStep::old_removed); });
  }
};

CheckpointStore::CheckpointStore(std::string directory, Communicator& communicator)
    : directory_(std::move(directory)), communicator_(communicator) {
  attempt_together(communicator_, "checkpoint.directory", [&] {
    if (communicator_.rank() != 0) return;
    make_directory_durably(directory_);
    remove_leftovers(directory_);
    name_newest_if_best(directory_);
  });
  const std::vector<std::string> names =
      list_together(communicator_, "checkpoint.directory", directory_);
  names_there_.insert(names.begin(), names.end());
}

CheckpointStore::~CheckpointStore() {
  if (pending_) pending_->abandoned = true;
}

std::vector<CheckpointTensor> CheckpointStore::written_here(
    const std::vector<CheckpointTensor>& tensors) const {
  std::vector<CheckpointTensor> here;
  for (const CheckpointTensor& tensor : tensors) {
    if (tensor.sharded || communicator_.rank() == 0) here.push_back(tensor);
  }
  return here;
}

void CheckpointStore::expect(const std::vector<CheckpointTensor>& tensors, bool copies) {
  const std::vector<CheckpointTensor> here = written_here(tensors);
  expected_bytes_ = bytes_of(here);
  if (copies) copy_.reserve(here);
}

void CheckpointStore::clear_place(const std::string& name) {
  attempt_together(communicator_, "checkpoint.begin", [&] {
    if (communicator_.rank() == 0 && fs::exists(fs::path(directory_) / name)) {
      remove_checkpoint(directory_, name, Commit::marker);
    }
  });
}

void CheckpointStore::begin(const CheckpointInfo& info, const std::vector<GlobalNode>& owned,
                            const std::vector<CheckpointTensor>& tensors,
                            const SaveOptions& options, bool copies) {
  const Timer timer;
  CHECK(!pending_) << "the save of " << pending_->saved.name << " is under way";
  check_tensors(owned, tensors);
  CHECK_GE(options.keep_last, 1);
  auto pending = std::make_unique<Pending>();
  const std::string name = checkpoint_name(info.step);
  pending->saved.name = name;
  pending->saved.step = info.step;
  pending->published = (fs::path(directory_) / name).string();
  pending->place = place_to_write(directory_, name, options.commit);
  pending->options = options;
  pending->best_so_far = checkpoint_name(std::max<std::int64_t>(0, info.best_step));
  if (options.commit == Commit::marker && names_there_.contains(name)) clear_place(name);
  names_there_.insert(name);

  pending->manifest.commit = options.commit;
  pending->manifest.info = info;
  pending->manifest.info.world_size = communicator_.size();
  pending->manifest.tensors = describe(tensors);
  pending->contents.rank = communicator_.rank();
  pending->contents.step = info.step;
  pending->contents.owned = owned;
  pending->contents.tensors = written_here(tensors);
  expected_bytes_ = bytes_of(pending->contents.tensors);
  if (copies) {
    const Timer copying;
    pending->contents.tensors = copy_.take(pending->contents.tensors);
    pending->saved.copy_seconds = copying.seconds();
  }
  pending_ = std::move(pending);
  background_ = std::async(std::launch::async, [this] { pending_->write(); });
  pending_->saved.blocked_seconds += timer.seconds();
}

void CheckpointStore::start_save(const CheckpointInfo& info, const std::vector<GlobalNode>& owned,
                                 const std::vector<CheckpointTensor>& tensors,
                                 const SaveOptions& options) {
  begin(info, owned, tensors, options, /*copies=*/true);
}

SavedCheckpoint CheckpointStore::save(const CheckpointInfo& info,
                                      const std::vector<GlobalNode>& owned,
                                      const std::vector<CheckpointTensor>& tensors,
                                      const SaveOptions& options) {
  begin(info, owned, tensors, options, /*copies=*/false);
  return finish_save().value();
}

bool CheckpointStore::part_done() const { return pending_ && ends_within(background_, 0); }

std::optional<SavedCheckpoint> CheckpointStore::advance() {
  const Timer timer;
  CHECK(part_done()) << "this rank's part is not done";
  std::optional<SavedCheckpoint> saved = end_phase();
  if (pending_) pending_->saved.blocked_seconds += timer.seconds();
  if (saved) saved->blocked_seconds += timer.seconds();
  return saved;
}

std::optional<SavedCheckpoint> CheckpointStore::end_phase() {
  using Phase = Pending::Phase;
  if (background_.valid()) background_.get();
  Pending& save = *pending_;
  const bool leads = communicator_.rank() == 0;
  if (const std::optional<Failure> failure =
          first_failure(communicator_, "checkpoint.phase", save.failure)) {
    const std::unique_ptr<Pending> ended = std::move(pending_);
    if (save.phase == Phase::tidying) {
      throw Error(failure->cause, "checkpoint ", save.published, " is saved, but could not ",
                  "be named the best: ", failure->message);
    }
    if (leads) {
      static_cast<void>(attempt([&] {
        if (!fs::exists(save.place)) return;
        if (save.options.commit == Commit::marker) {
          remove_checkpoint(directory_, save.saved.name, Commit::marker);
        } else {
          fs::remove_all(save.place);
        }
      }));
    }
    throw Error(failure->cause, "checkpoint ", save.published,
                " could not be saved: ", failure->message,
                names_there_.size() > 1 ? "; all earlier checkpoints are untouched"
                                        : "; it would have been the first");
  }

  if (save.phase == Phase::writing) {
    const std::vector<std::string> shards =
        gather_texts(communicator_, "checkpoint.shards", to_json_text(save.shard));
    for (const std::string& shard : shards) {
      save.manifest.shards.push_back(parse_shard(shard));
      save.manifest.rows += save.manifest.shards.back().rows;
    }
    for (StoredTensor& tensor : save.manifest.tensors) {
      if (tensor.sharded) tensor.shape[0] = save.manifest.rows;
    }
    at::Tensor slowest = at::full({1}, save.own_write_seconds, at::kDouble);
    communicator_.all_reduce("checkpoint.seconds", slowest, Reduction::max);
    save.saved.write_seconds = slowest.item<double>();
    save.phase = Phase::publishing;
    if (leads) background_ = std::async(std::launch::async, [this] { pending_->publish(); });
    return std::nullopt;
  }
  if (save.phase == Phase::publishing) {
    // The slowest rank may have been asked before this one.
    save.saved.seconds = std::max(save.since_asked.seconds(), save.saved.write_seconds);
    save.phase = Phase::tidying;
    if (leads) background_ = std::async(std::launch::async, [this] { pending_->tidy(directory_); });
    return std::nullopt;
  }

  const std::unique_ptr<Pending> ended = std::move(pending_);
  SavedCheckpoint& saved = save.saved;
  // The work alone: in the background the phases also wait for the ends of steps.
  longest_save_seconds_ = std::max(longest_save_seconds_,
                                   saved.copy_seconds + saved.write_seconds + save.publish_seconds);
  for (const StoredShard& shard : save.manifest.shards) saved.bytes += shard.bytes;
  return saved;
}

std::optional<SavedCheckpoint> CheckpointStore::finish_save() {
  while (pending_) {
    const Timer timer;
    ends_within(background_, kLongestWaitSeconds);
    at::Tensor done = at::full({1}, std::int64_t{part_done()}, at::kLong);
    communicator_.all_reduce("checkpoint.wait", done, Reduction::min);
    pending_->saved.blocked_seconds += timer.seconds();
    if (done.item<std::int64_t>() == 0) continue;
    if (std::optional<SavedCheckpoint> saved = advance()) return saved;
  }
  return std::nullopt;
}

double CheckpointStore::predicted_save_seconds() const {
  const double whole = longest_save_seconds_ > 0
                           ? longest_save_seconds_
                           : static_cast<double>(expected_bytes_) / kGuessedBytesPerSecond;
  const double rest = pending_ ? std::max(0.0, whole - pending_->since_asked.seconds()) : 0;
  return whole + rest;
}

Checkpoint CheckpointStore::open_newest_valid(std::vector<std::string>* stepped_over) const {
  return open_first_valid(directory_,
                          list_together(communicator_, "checkpoint.newest_valid", directory_),
                          Verify::checksums, &communicator_, stepped_over);
}

}  // namespace micrec
