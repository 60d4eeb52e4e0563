#include "checkpoints/manifest.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/format.h"
#include "cluster/agreement.h"
#include "io/durable_files.h"
#include "io/paths.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kStepLimit = 1'000'000'000'000;              // 12 digits
constexpr std::uint64_t kMostElements = 1'000'000'000'000'000'000;  // of a tensor
constexpr char kStepPrefix[] = "step-";
constexpr std::int64_t kManifestLimitBytes = std::int64_t{256} << 20;
constexpr std::int64_t kMarkerLimitBytes = 4096;

// Bytes that are not UTF-8 (a path may have such) are replaced: saving must not fail for them.
std::string dump(const json& object, int indent) {
  return object.dump(indent, ' ', false, json::error_handler_t::replace);
}

// A field as a message can carry it.
std::string shown(const json& field) { return printable(dump(field, -1)); }

json real_to_json(double number) {
  if (std::isfinite(number)) return number;
  return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
}

/// Reads fields of one object and names what is wrong with them.
class Fields {
 public:
  Fields(const json& object, std::string path, std::string place)
      : object_(object), path_(std::move(path)), place_(std::move(place)) {
    if (!object.is_object()) fail("what is ", place_, " is not an object");
  }

  bool has(const char* name) const { return object_.contains(name); }

  std::int64_t integer(const char* name, std::int64_t least = 0,
                       std::int64_t most = std::numeric_limits<std::int64_t>::max()) const {
    const json& field = at(name);
    // As what it is: a number above the largest int64 would become a negative one.
    const bool too_large =
        field.is_number_unsigned() && field.get<std::uint64_t>() > static_cast<std::uint64_t>(most);
    const bool has_most = most < std::numeric_limits<std::int64_t>::max();
    expect(field.is_number_integer() && !too_large && field.get<std::int64_t>() >= least, name,
           text("an integer of at least ", least, has_most ? text(" and at most ", most) : ""));
    return field.get<std::int64_t>();
  }

  double real(const char* name) const {
    const json& field = at(name);
    if (field == "nan") return std::numeric_limits<double>::quiet_NaN();
    if (field == "inf") return std::numeric_limits<double>::infinity();
    if (field == "-inf") return -std::numeric_limits<double>::infinity();
    return expect(field.is_number(), name, "a number").get<double>();
  }

  std::string string(const char* name) const {
    return expect(at(name).is_string(), name, "a string").get<std::string>();
  }

  bool boolean(const char* name) const {
    return expect(at(name).is_boolean(), name, "true or false").get<bool>();
  }

  Fields object(const char* name) const { return {at(name), path_, text("in '", name, "'")}; }

  std::vector<Fields> objects(const char* name) const {
    std::vector<Fields> all;
    for (const json& element : array(name)) {
      all.emplace_back(element, path_, text("in '", name, "'[", all.size(), "]"));
    }
    return all;
  }

  std::vector<std::int64_t> shape(const char* name) const {
    std::vector<std::int64_t> shape;
    double elements = 1;
    for (const json& size : array(name)) {
      if (!size.is_number_unsigned() || size.get<std::uint64_t>() > kMostElements) {
        fail("'", name, "' ", place_, " has the element ", shown(size), ", expected sizes");
      }
      shape.push_back(size.get<std::int64_t>());
      elements *= static_cast<double>(std::max<std::int64_t>(shape.back(), 1));
    }
    if (elements > static_cast<double>(kMostElements))
      fail("'", name, "' ", place_, " is too large to be a tensor");
    return shape;
  }

  std::map<std::string, std::string> strings(const char* name) const {
    const json& field = at(name);
    const Fields inner = object(name);
    std::map<std::string, std::string> all;
    for (const auto& [key, value] : field.items()) all[key] = inner.string(key.c_str());
    return all;
  }

  template <typename... Parts>
  [[noreturn]] void fail(const Parts&... what) const {
    throw Error(Cause::checkpoint, path_, " is damaged: ", what..., "; restore another checkpoint");
  }

 private:
  const json& at(const char* name) const {
    const auto field = object_.find(name);
    if (field == object_.end()) fail("there is no '", name, "' ", place_);
    return *field;
  }

  const json& array(const char* name) const {
    return expect(at(name).is_array(), name, "an array");
  }

  /// The field of this name, where it is right.
  const json& expect(bool right, const char* name, const std::string& expected) const {
    const json& field = at(name);
    if (!right) fail("'", name, "' ", place_, " is ", shown(field), ", expected ", expected);
    return field;
  }

  const json& object_;
  std::string path_;
  std::string place_;
};

json to_json(const StoredFile& stored) {
  return {{"file", stored.file}, {"bytes", stored.bytes}, {"xxh3_128", stored.xxh3_128}};
}

StoredFile file_of(const Fields& fields) {
  return {fields.string("file"), fields.integer("bytes"), fields.string("xxh3_128")};
}

StoredFile item_regression_of(const Fields& fields) {
  StoredFile stored = file_of(fields);
  if (stored.file != kItemRegressionFile) {
    fields.fail("the file of its item regression is ", excerpt(stored.file), ", expected '",
                kItemRegressionFile, "'");
  }
  return stored;
}

json to_json(const StoredShard& shard) {
  json object = to_json(static_cast<const StoredFile&>(shard));
  object["rows"] = shard.rows;
  if (shard.datasets.empty()) return object;
  object["block_bytes"] = shard.block_bytes;
  for (const StoredDataset& dataset : shard.datasets) {
    object["datasets"].push_back({{"name", dataset.name},
                                  {"offset", dataset.offset},
                                  {"bytes", dataset.bytes},
                                  {"rows", dataset.rows},
                                  {"xxh3_64", dataset.xxh3_64}});
  }
  return object;
}

StoredShard shard_of(const Fields& fields) {
  StoredShard shard{file_of(fields), fields.integer("rows")};
  if (!fields.has("datasets")) return shard;
  shard.block_bytes = fields.integer("block_bytes", 1);
  for (const Fields& dataset : fields.objects("datasets")) {
    shard.datasets.push_back({dataset.string("name"), dataset.integer("offset"),
                              dataset.integer("bytes", 1), dataset.integer("rows", 1),
                              dataset.string("xxh3_64")});
  }
  return shard;
}

void check_datasets(const StoredShard& shard, const Fields& fields) {
  std::vector<const StoredDataset*> by_offset;
  for (const StoredDataset& dataset : shard.datasets) by_offset.push_back(&dataset);
  std::ranges::sort(by_offset, {}, &StoredDataset::offset);
  std::int64_t end = 0;
  for (const StoredDataset* dataset : by_offset) {
    if (dataset->offset < end || dataset->offset > shard.bytes - dataset->bytes) {
      fields.fail("dataset ", excerpt(dataset->name), " does not fit into ", shard.file);
    }
    end = dataset->offset + dataset->bytes;
    const std::int64_t blocks = (dataset->bytes - 1) / shard.block_bytes + 1;
    if (dataset->xxh3_64.size() != 16 * static_cast<std::size_t>(blocks) ||
        dataset->bytes % dataset->rows != 0) {
      fields.fail("dataset ", excerpt(dataset->name), " of ", shard.file, " has ", dataset->bytes,
                  " bytes, which its rows or its digests do not fit");
    }
  }
}

/// The text of a file that can have so many bytes and no more.
/// Errors   Error(Cause::checkpoint) where it has more; those of read_small_file().
std::string read_whole(const fs::path& path, std::int64_t limit_bytes) {
  if (const std::int64_t bytes = bytes_of_file(path.string()); bytes > limit_bytes) {
    throw Error(Cause::checkpoint, path.string(), " is damaged: it has ", with_commas(bytes),
                " bytes, and may have ", with_commas(limit_bytes), "; restore another checkpoint");
  }
  return read_small_file(path.string(), limit_bytes);
}

// A checkpoint that is complete by its last file: is that there, and of this manifest?
void check_marker(const std::string& directory, const std::string& checksum) {
  const fs::path path = fs::path(directory) / kCheckpointCompleteFile;
  if (!is_there(path.string())) {
    throw Error(Cause::checkpoint, directory, " is incomplete: it has no file '",
                kCheckpointCompleteFile, "', which is written last; restore another checkpoint");
  }
  const std::string marked = read_whole(path, kMarkerLimitBytes);
  if (marked != checksum + "\n") {
    throw Error(Cause::checkpoint, path.string(), " is damaged: it names the manifest of checksum ",
                excerpt(marked), ", the manifest has ", checksum, "; restore another checkpoint");
  }
}

void check_consistency(const Manifest& manifest, const Fields& fields) {
  if (std::ssize(manifest.shards) != manifest.info.world_size) {
    fields.fail("it lists ", manifest.shards.size(), " files, but its world size is ",
                manifest.info.world_size);
  }
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < manifest.shards.size(); ++i) {
    const StoredShard& shard = manifest.shards[i];
    if (shard.file != shard_name(static_cast<std::int64_t>(i))) {
      fields.fail("file ", i, " is ", excerpt(shard.file), ", expected '",
                  shard_name(static_cast<std::int64_t>(i)), "'");
    }
    if (shard.rows > manifest.rows - rows) fields.fail("its files have more rows than its tensors");
    rows += shard.rows;
    check_datasets(shard, fields);
  }
  if (rows != manifest.rows) {
    fields.fail("its files have ", rows, " rows, its tensors ", manifest.rows);
  }
  static const std::map<std::string, int> kTypeBytes = {
      {"float32", 4}, {"float64", 8}, {"int64", 8}, {"int32", 4}, {"uint8", 1}};
  double file_bytes = 0;
  for (const StoredShard& shard : manifest.shards) file_bytes += static_cast<double>(shard.bytes);
  double tensor_bytes = 0;
  std::set<std::string> names;
  for (const StoredTensor& tensor : manifest.tensors) {
    if (tensor.name.empty() || tensor.name.find('/') != std::string::npos ||
        !names.insert(tensor.name).second) {
      fields.fail(excerpt(tensor.name), " is no name of a tensor, or is listed twice");
    }
    if (!kTypeBytes.contains(tensor.type)) {
      fields.fail("tensor ", excerpt(tensor.name), " is of the unknown type ",
                  excerpt(tensor.type));
    }
    if (tensor.sharded && (tensor.shape.empty() || tensor.shape[0] != manifest.rows)) {
      fields.fail("the sharded tensor ", excerpt(tensor.name), " does not have ", manifest.rows,
                  " rows");
    }
    double bytes = kTypeBytes.at(tensor.type) * (tensor.trained ? 3.0 : 1.0);
    for (const std::int64_t size : tensor.shape) bytes *= static_cast<double>(size);
    tensor_bytes += bytes;
  }
  // Whoever restores takes memory for the tensors before it reads them, and nothing is compressed.
  if (tensor_bytes > file_bytes) {
    fields.fail("its tensors take ", in_bytes(tensor_bytes), ", its files ", in_bytes(file_bytes));
  }
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  CHECK_GE(step, 0);
  CHECK_LT(step, kStepLimit);
  char name[32];
  std::snprintf(name, sizeof name, "%s%012lld", kStepPrefix, static_cast<long long>(step));
  return name;
}

std::int64_t step_of_checkpoint_name(const std::string& name) {
  constexpr std::size_t kPrefixSize = sizeof kStepPrefix - 1;
  if (name.size() != kPrefixSize + 12 || !name.starts_with(kStepPrefix)) return -1;
  std::int64_t step = 0;
  for (const char digit : name.substr(kPrefixSize)) {
    if (digit < '0' || digit > '9') return -1;
    step = 10 * step + (digit - '0');
  }
  return step;
}

std::string shard_name(std::int64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "shard-%05lld.h5", static_cast<long long>(number));
  return name;
}

void refuse_newer_format(const std::string& path, std::int64_t version, std::int64_t newest) {
  if (version <= newest) return;
  throw NewerFormat(text(path, " is of format version ", version,
                         ", this program reads versions up to ", newest,
                         "; use the micrec that wrote it, or a newer one"));
}

std::string to_json_text(const Manifest& manifest, std::string* checksum) {
  const CheckpointInfo& info = manifest.info;
  json object = {
      {"format", kCheckpointFormat},
      {"format_version", kCheckpointFormatVersion},
      {"commit", manifest.commit == Commit::marker ? "marker" : "rename"},
      {"step", info.step},
      {"epoch", info.epoch},
      {"best_metric", real_to_json(info.best_metric)},
      {"best_step", info.best_step},
      {"validations_without_improvement", info.validations_without_improvement},
      {"config", info.config},
      {"dataset", {{"path", info.dataset_path}, {"fingerprint", info.dataset_fingerprint}}},
      {"world_size", info.world_size},
      {"grid", info.grid},
      {"extra", json::object()},
      {"rows", manifest.rows},
      {"shards", json::array()},
      {"tensors", json::array()},
  };
  for (const auto& [key, value] : info.extra) object["extra"][key] = value;
  if (info.item_regression) object["item_regression"] = to_json(*info.item_regression);
  for (const StoredShard& shard : manifest.shards) {
    object["shards"].push_back(to_json(shard));
  }
  for (const StoredTensor& tensor : manifest.tensors) {
    object["tensors"].push_back({{"name", tensor.name},
                                 {"type", tensor.type},
                                 {"shape", tensor.shape},
                                 {"sharded", tensor.sharded},
                                 {"trained", tensor.trained},
                                 {"description", tensor.description}});
  }
  const std::string digest = digest_bytes(dump(object, -1));
  object["checksum"] = digest;
  if (checksum != nullptr) *checksum = digest;
  return dump(object, 2) + "\n";
}

std::string to_json_text(const StoredShard& shard) { return dump(to_json(shard), -1); }

StoredShard parse_shard(const std::string& json_text) {
  const json object = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  return shard_of(Fields(object, "what a rank wrote", "at the top"));
}

Manifest parse_manifest(const std::string& json_text, const std::string& path) {
  json object = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) {
    throw Error(Cause::checkpoint, path, " is damaged: it is not JSON; restore another checkpoint");
  }
  const Fields fields(object, path, "at the top");
  if (!object.contains("format") || object["format"] != kCheckpointFormat) {
    throw Error(Cause::checkpoint, path, " is not of a micrec checkpoint: its 'format' is not '",
                kCheckpointFormat, "'");
  }
  const std::int64_t version = fields.integer("format_version", 1);
  refuse_newer_format(path, version, kCheckpointFormatVersion);
  Manifest manifest;
  manifest.checksum = fields.string("checksum");
  object.erase("checksum");
  if (const std::string digest = digest_bytes(dump(object, -1)); digest != manifest.checksum) {
    fields.fail("its contents do not match its own checksum: they have ", digest, ", it says ",
                printable(manifest.checksum), " (was it edited?)");
  }
  if (fields.has("commit")) {
    const std::string commit = fields.string("commit");
    if (commit != "rename" && commit != "marker") {
      fields.fail("'commit' is ", excerpt(commit), ", expected 'rename' or 'marker'");
    }
    manifest.commit = commit == "marker" ? Commit::marker : Commit::rename;
  }
  CheckpointInfo& info = manifest.info;
  info.step = fields.integer("step", 0, kStepLimit - 1);
  info.epoch = fields.integer("epoch");
  info.best_metric = fields.real("best_metric");
  info.best_step = fields.integer("best_step", -1);
  info.validations_without_improvement = fields.integer("validations_without_improvement");
  info.config = fields.string("config");
  info.dataset_path = fields.object("dataset").string("path");
  info.dataset_fingerprint = fields.object("dataset").string("fingerprint");
  info.world_size =
      static_cast<int>(fields.integer("world_size", 1, std::numeric_limits<int>::max()));
  info.grid = fields.string("grid");
  info.extra = fields.strings("extra");
  if (fields.has("item_regression")) {
    info.item_regression = item_regression_of(fields.object("item_regression"));
  }
  manifest.rows = fields.integer("rows");
  for (const Fields& shard : fields.objects("shards")) {
    manifest.shards.push_back(shard_of(shard));
  }
  for (const Fields& tensor : fields.objects("tensors")) {
    manifest.tensors.push_back({tensor.string("name"), tensor.string("type"), tensor.shape("shape"),
                                tensor.boolean("sharded"), tensor.boolean("trained"),
                                tensor.string("description")});
  }
  check_consistency(manifest, fields);
  return manifest;
}

Manifest read_manifest(const std::string& directory) {
  const fs::path path = fs::path(directory) / kCheckpointManifestFile;
  if (!is_folder(directory)) {
    throw Error(Cause::checkpoint, "there is no checkpoint ", directory,
                is_there(directory) ? ": it is not a directory" : "",
                "; a checkpoint is a directory step-... in RUN_DIR/checkpoints");
  }
  if (!is_there(path.string())) {
    throw Error(Cause::checkpoint, directory, " is not a checkpoint, or a damaged one: it has no ",
                kCheckpointManifestFile,
                "; a checkpoint is a directory step-... in RUN_DIR/checkpoints");
  }
  Manifest manifest = parse_manifest(read_whole(path, kManifestLimitBytes), path.string());
  if (manifest.commit == Commit::marker) check_marker(directory, manifest.checksum);
  return manifest;
}

}  // namespace micrec
