#include "checkpoints/checkpoint.h"

#include <ATen/ops/empty.h>
#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/element_type.h"
#include "checkpoints/manifest.h"
#include "checkpoints/shard_file.h"
#include "cluster/agreement.h"
#include "io/hdf5.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kRowNumbersAtOnce = kTransferBytes / std::int64_t{sizeof(std::int64_t)};

template <typename... Parts>
[[noreturn]] void fail_damaged(const std::string& path, const Parts&... what) {
  throw Error(Cause::checkpoint, path, " is damaged: ", what..., "; restore another checkpoint");
}

void verify_shard(const std::string& directory, const StoredShard& shard, Verify verify) {
  const std::string path = (fs::path(directory) / shard.file).string();
  if (const std::optional<std::string> damage = damage_of(path, shard, verify)) {
    fail_damaged(path, *damage);
  }
}

// One dataset of a tensor and the memory that takes its rows.
struct Part {
  std::string leaf;   // "value", "adam_m" or "adam_v"
  at::Tensor target;  // what the caller wants filled
  at::Tensor host;    // contiguous on the host; the target itself where it is so
  std::int64_t row_elements = 1;
};

Part make_part(const char* leaf, const at::Tensor& target) {
  Part part{leaf, target.detach(), {}, 1};
  part.host =
      target.is_cpu() && target.is_contiguous()
          ? part.target
          : at::empty(target.sizes(), target.options().device(at::kCPU).requires_grad(false));
  for (std::int64_t d = 1; d < target.dim(); ++d) part.row_elements *= target.size(d);
  return part;
}

// A row of a file that this rank asked for: its place in the file and in the caller's tensor.
struct Hit {
  std::int64_t file_row;
  std::int64_t target_row;
};

// Reads `hits` (rising in both) of one dataset, in windows of the file that are bounded in bytes.
template <typename T>
void read_hits(const Hdf5File& file, const std::string& dataset, const std::vector<Hit>& hits,
               const Part& part) {
  T* const out = part.host.mutable_data_ptr<T>();
  const std::int64_t elements = part.row_elements;
  if (elements == 0 || hits.empty()) return;
  const auto count = std::ssize(hits);
  const Hit first = hits.front();
  const Hit last = hits.back();
  if (last.file_row - first.file_row == count - 1 &&
      last.target_row - first.target_row == count - 1) {
    file.read_rows(dataset, Range{first.file_row, last.file_row + 1},
                   out + first.target_row * elements);
    return;
  }
  const std::int64_t window_rows =
      std::max<std::int64_t>(1, kTransferBytes / (elements * std::int64_t{sizeof(T)}));
  std::vector<T> window;
  for (std::size_t begin = 0; begin < hits.size();) {
    const std::int64_t first_row = hits[begin].file_row;
    std::size_t end = begin;
    while (end < hits.size() && hits[end].file_row - first_row < window_rows) ++end;
    const Range rows{first_row, hits[end - 1].file_row + 1};
    window.resize(static_cast<std::size_t>(rows.size() * elements));
    file.read_rows(dataset, rows, window.data());
    for (; begin < end; ++begin) {
      std::memcpy(out + hits[begin].target_row * elements,
                  window.data() + (hits[begin].file_row - first_row) * elements,
                  static_cast<std::size_t>(elements) * sizeof(T));
    }
  }
}

// A sharded tensor that is being filled from file after file.
struct ShardedRead {
  const StoredTensor* stored = nullptr;
  std::vector<Part> parts;
  std::vector<std::int32_t> found_in;  // number of the file that each owned row came from, or -1
};

void check_matches(const StoredTensor& stored, const CheckpointTensor& wanted,
                   const std::string& directory, std::int64_t owned_rows) {
  const auto fail = [&](const auto&... what) {
    throw Error(Cause::checkpoint, "tensor '", stored.name, "' of ", directory, " ", what...,
                "; was it saved by a run with other settings?");
  };
  if (stored.sharded != wanted.sharded) {
    fail("is ", stored.sharded ? "sharded" : "replicated", ", expected it ",
         wanted.sharded ? "sharded" : "replicated");
  }
  const std::string type = element_type_name(wanted.value.scalar_type());
  if (stored.type != type) fail("is of type ", stored.type, ", expected ", type);
  std::vector<std::int64_t> shape = wanted.value.sizes().vec();
  if (stored.sharded) {
    CHECK(!shape.empty() && shape[0] == owned_rows)
        << stored.name << " has " << shape_text(shape) << " for " << owned_rows << " owned rows";
    shape[0] = stored.shape[0];
  }
  if (stored.shape != shape) {
    fail("has the shape ", shape_text(stored.shape), ", expected ", shape_text(shape));
  }
}

std::vector<Part> parts_of(const StoredTensor& stored, const CheckpointTensor& wanted,
                           bool with_optimizer_state, const std::string& directory) {
  std::vector<Part> parts;
  parts.push_back(make_part("value", wanted.value));
  if (!with_optimizer_state || !wanted.adam_m.defined()) return parts;
  if (!stored.trained) {
    throw Error(Cause::checkpoint, "tensor '", stored.name, "' of ", directory,
                " has no optimizer state, expected adam_m and adam_v; was it trained in that run?");
  }
  CHECK(wanted.adam_v.defined()) << stored.name << " has adam_m without adam_v";
  for (const auto& [leaf, moment] :
       {std::pair<const char*, const at::Tensor&>{"adam_m", wanted.adam_m},
        {"adam_v", wanted.adam_v}}) {
    CHECK(moment.sizes() == wanted.value.sizes() &&
          moment.scalar_type() == wanted.value.scalar_type())
        << stored.name << "'s " << leaf << " is not as its value";
    parts.push_back(make_part(leaf, moment));
  }
  return parts;
}

void read_replicated_parts(const Hdf5File& file, const StoredTensor& stored,
                           std::vector<Part>& parts) {
  for (Part& part : parts) {
    const std::string dataset = text("/tensors/", stored.name, "/", part.leaf);
    std::vector<std::int64_t> shape = stored.shape;
    if (shape.empty()) shape = {1};
    file.expect_shape(dataset, shape);
    if (part.host.numel() == 0) continue;
    visit_element_type(part.host.scalar_type(), [&]<typename T>(T) {
      file.read_rows(dataset, Range{0, shape[0]}, part.host.mutable_data_ptr<T>());
    });
  }
}

// Takes the owned rows that this file holds.
void read_sharded_parts(const Hdf5File& file, const StoredShard& shard, int shard_number,
                        const std::vector<StoredShard>& shards,
                        const std::vector<GlobalNode>& owned, ShardedRead& read) {
  const StoredTensor& stored = *read.stored;
  const std::string group = text("/tensors/", stored.name, "/");
  const std::int64_t rows = file.expect_shape(group + "row", {shard.rows})[0];
  for (const Part& part : read.parts) {
    std::vector<std::int64_t> shape = stored.shape;
    shape[0] = rows;
    file.expect_shape(group + part.leaf, shape);
  }
  std::int64_t previous = -1;
  std::size_t next_owned = 0;
  std::vector<std::int64_t> numbers;
  std::vector<Hit> hits;
  for (std::int64_t begin = 0; begin < rows; begin += kRowNumbersAtOnce) {
    const std::int64_t end = std::min(rows, begin + kRowNumbersAtOnce);
    numbers.resize(static_cast<std::size_t>(end - begin));
    file.read_rows(group + "row", Range{begin, end}, numbers.data());
    hits.clear();
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = numbers[static_cast<std::size_t>(i - begin)];
      if (row <= previous || row >= stored.shape[0]) {
        fail_damaged(file.path(), "row numbers of tensor '", stored.name,
                     "' do not rise within 0 to ", stored.shape[0] - 1, " at row ", i,
                     " of the file");
      }
      previous = row;
      while (next_owned < owned.size() && value(owned[next_owned]) < row) ++next_owned;
      if (next_owned == owned.size() || value(owned[next_owned]) != row) continue;
      std::int32_t& found_in = read.found_in[next_owned];
      if (found_in >= 0) {
        fail_damaged(file.path(), "row ", row, " of tensor '", stored.name, "' is also in ",
                     shards[static_cast<std::size_t>(found_in)].file);
      }
      found_in = shard_number;
      hits.push_back({i, static_cast<std::int64_t>(next_owned)});
    }
    for (const Part& part : read.parts) {
      visit_element_type(part.host.scalar_type(),
                         [&]<typename T>(T) { read_hits<T>(file, group + part.leaf, hits, part); });
    }
  }
}

// A file that passed verification and yet is not as the manifest says is damage to whoever
// restores.
template <typename Read>
void read_shard(const std::string& directory, const StoredShard& shard, Verify verified,
                const Read& read) {
  const Hdf5Content content =
      verified == Verify::checksums ? Hdf5Content::verified : Hdf5Content::foreign;
  try {
    read(Hdf5File::open((fs::path(directory) / shard.file).string(), content));
  } catch (const Error& error) {
    if (error.cause() != Cause::data) throw;
    throw Error(Cause::checkpoint, "checkpoint ", directory, " is damaged: ", error.what());
  }
}

const StoredTensor& find_tensor(const Checkpoint& checkpoint, const std::string& name) {
  std::vector<std::string> names;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (tensor.name == name) return tensor;
    names.push_back(tensor.name);
  }
  throw Error(Cause::checkpoint, checkpoint.directory(), " has no tensor '", name, "'; it has ",
              names.empty() ? "none" : join(names, ", "));
}

}  // namespace

Checkpoint Checkpoint::open(const std::string& directory, Verify verify, Communicator* ranks) {
  Failure why;
  std::optional<Checkpoint> checkpoint = try_open(directory, verify, ranks, why);
  if (!checkpoint) throw_failure(why);
  return *std::move(checkpoint);
}

std::optional<Checkpoint> Checkpoint::try_open(const std::string& directory, Verify verify,
                                               Communicator* ranks, Failure& why) {
  Checkpoint opened(directory, verify);
  std::optional<Failure> failure = attempt([&] {
    opened.manifest_ = read_manifest(directory);
    for (std::size_t i = 0; i < opened.shards().size(); ++i) {
      const bool mine =
          ranks == nullptr ||
          static_cast<int>(i % static_cast<std::size_t>(ranks->size())) == ranks->rank();
      verify_shard(directory, opened.shards()[i], mine ? verify : Verify::sizes);
    }
  });
  if (ranks != nullptr) failure = first_failure(*ranks, "checkpoint.open", failure);
  if (!failure) return opened;
  why = *std::move(failure);
  return std::nullopt;
}

std::string Checkpoint::name() const { return checkpoint_name(info().step); }

std::int64_t Checkpoint::bytes() const {
  return std::accumulate(shards().begin(), shards().end(), std::int64_t{0},
                         [](std::int64_t sum, const StoredShard& s) { return sum + s.bytes; });
}

void Checkpoint::restore(const std::vector<GlobalNode>& owned, std::vector<CheckpointTensor>& into,
                         bool with_optimizer_state) const {
  for (std::size_t i = 1; i < owned.size(); ++i) CHECK_LT(value(owned[i - 1]), value(owned[i]));

  // All is compared before anything is filled, and all that differs is told.
  std::vector<std::pair<const StoredTensor*, std::vector<Part>>> replicated;
  std::vector<ShardedRead> sharded;
  std::vector<std::string> differences;
  for (const CheckpointTensor& wanted : into) {
    const std::optional<Failure> difference = attempt([&] {
      const StoredTensor& stored = find_tensor(*this, wanted.name);
      check_matches(stored, wanted, directory_, std::ssize(owned));
      std::vector<Part> parts = parts_of(stored, wanted, with_optimizer_state, directory_);
      if (stored.sharded) {
        sharded.push_back({&stored, std::move(parts), std::vector<std::int32_t>(owned.size(), -1)});
      } else {
        replicated.emplace_back(&stored, std::move(parts));
      }
    });
    if (difference) differences.push_back(difference->message);
  }
  if (!differences.empty()) throw Error(Cause::checkpoint, join(differences, "; "));

  const std::vector<StoredShard>& shards = manifest_.shards;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const bool has_replicated = i == 0 && !replicated.empty();
    const bool has_rows = !owned.empty() && !sharded.empty() && shards[i].rows > 0;
    if (!has_replicated && !has_rows) continue;
    read_shard(directory_, shards[i], verified_, [&](const Hdf5File& file) {
      if (has_replicated) {
        for (auto& [stored, parts] : replicated) read_replicated_parts(file, *stored, parts);
      }
      if (!has_rows) return;
      for (ShardedRead& read : sharded) {
        read_sharded_parts(file, shards[i], static_cast<int>(i), shards, owned, read);
      }
    });
  }

  for (const ShardedRead& read : sharded) {
    const auto lost = std::ranges::find(read.found_in, -1);
    if (lost == read.found_in.end()) continue;
    const std::int32_t row = value(owned[static_cast<std::size_t>(lost - read.found_in.begin())]);
    throw Error(Cause::checkpoint, "row ", row, " of tensor '", read.stored->name,
                "' is in none of the ", shards.size(), " files of ", directory_, ", which hold ",
                with_commas(rows()), " rows; was it saved for another dataset?");
  }
  const auto deliver = [](const std::vector<Part>& parts) {
    for (const Part& part : parts) {
      if (!part.host.is_same(part.target)) part.target.copy_(part.host);
    }
  };
  for (const auto& [stored, parts] : replicated) deliver(parts);
  for (const ShardedRead& read : sharded) deliver(read.parts);
}

}  // namespace micrec
