#include <ATen/ops/full.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoints/checkpoint.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/manifest.h"
#include "checkpoints/store.h"
#include "cluster/self_communicator.h"
#include "io/durable_files.h"
#include "tests/fuzz/reader.h"
#include "tests/support/checkpoint_tensors.h"
#include "tests/support/file_contents.h"

namespace micrec::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr char kGolden[] = MICREC_SOURCE_DIR "/tests/golden/checkpoint-version-1/step-000000000120";

/// Variant 1 gives an object the checksum that it should have, as somebody who edits it could.
void read_manifest(const std::string& path, int variant) {
  std::string contents = file_contents(path);
  if (variant == 1) {
    nlohmann::json object = nlohmann::json::parse(contents, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return;
    object.erase("checksum");
    const auto dump = [&] {
      return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    object["checksum"] = digest_bytes(dump());
    contents = dump();
  }
  const Manifest manifest = parse_manifest(contents, path);
  checkpoint_name(manifest.info.step);
}

void read_best(const std::string& path, int /*variant*/) {
  best_checkpoint(fs::path(path).parent_path().string());
}

/// A tensor of this shape whose memory is filled with a byte.
at::Tensor filled(const std::vector<std::int64_t>& shape, const std::string& type,
                  std::uint8_t fill) {
  at::Tensor tensor = at::full(shape, 0, element_type_of(type));
  if (tensor.nbytes() > 0) std::memset(tensor.mutable_data_ptr(), fill, tensor.nbytes());
  return tensor;
}

/// A shard of which only the size is compared. One whose bytes have been is this program's own, and
/// its structure is not checked again.
void read_shard(const std::string& path, int /*variant*/) {
  const std::string directory = path + ".step-000000000120";
  const std::string in_place = (fs::path(directory) / shard_name(0)).string();
  if (!fs::exists(directory)) fs::copy(kGolden, directory);
  fs::copy_file(path, in_place, fs::copy_options::overwrite_existing);
  Manifest manifest = parse_manifest(file_contents(std::string(kGolden) + "/manifest.json"), path);
  manifest.shards[0].bytes = static_cast<std::int64_t>(fs::file_size(in_place));
  set_file_contents((fs::path(directory) / "manifest.json").string(), to_json_text(manifest));

  const Checkpoint checkpoint = Checkpoint::open(directory, Verify::sizes);
  std::vector<GlobalNode> all;
  for (std::int64_t row = 0; row < checkpoint.rows(); ++row)
    all.push_back(GlobalNode{static_cast<std::int32_t>(row)});
  expect_all_written("a tensor", [&](std::uint8_t fill) {
    std::vector<CheckpointTensor> tensors;
    for (const StoredTensor& stored : checkpoint.tensors()) {
      CheckpointTensor tensor;
      tensor.name = stored.name;
      tensor.sharded = stored.sharded;
      tensor.value = filled(stored.shape, stored.type, fill);
      if (stored.trained) {
        tensor.adam_m = filled(stored.shape, stored.type, fill);
        tensor.adam_v = filled(stored.shape, stored.type, fill);
      }
      tensors.push_back(tensor);
    }
    checkpoint.restore(all, tensors, /*with_optimizer_state=*/true);
    std::string bytes;
    for (const CheckpointTensor& tensor : tensors) {
      for (const at::Tensor& part : {tensor.value, tensor.adam_m, tensor.adam_v}) {
        if (!part.defined()) continue;
        bytes.append(static_cast<const char*>(part.const_data_ptr()), part.nbytes());
      }
    }
    return bytes;
  });
}

/// Variant 0 reads all of the file, variant 1 what a rank of a run reads, as if a manifest had
/// named these bytes but for their digest.
void read_coefficient_file(const std::string& path, int variant) {
  const CoefficientSummary head = look_at_coefficients(path);
  if (variant == 0) {
    const CoefficientSummary whole = summarise_coefficients(path, /*block_bytes=*/64);
    if (whole.most_of_item > whole.items || whole.coefficients != head.coefficients)
      throw std::logic_error("a file was whole that holds what cannot be");
    return;
  }
  SelfCommunicator self;
  const FileDigest digest = digest_file(path);
  matching_coefficients(path, head.items, head.origin, self);
  damage_of_coefficients(path, {kItemRegressionFile, digest.bytes, ""}, Verify::checksums);
}

}  // namespace

const Reader& manifest() {
  static const Reader reader = {"manifest", "manifest.json", 2, false, read_manifest};
  return reader;
}

const Reader& best() {
  static const Reader reader = {"best", "best.json", 1, false, read_best};
  return reader;
}

const Reader& shard() {
  static const Reader reader = {"shard", "shard", 1, false, read_shard};
  return reader;
}

const Reader& coefficients() {
  static const Reader reader = {"coefficients", "item_regression.h5", 2, false,
                                read_coefficient_file};
  return reader;
}

}  // namespace micrec::fuzz
