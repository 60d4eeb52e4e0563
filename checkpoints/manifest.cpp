#include "checkpoints/manifest.h"

#include <glog/logging.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/format.h"
#include "io/durable_files.h"

namespace micrec {
namespace {

using nlohmann::json;

constexpr std::int64_t kStepLimit = 1'000'000'000'000;  // 12 digits
constexpr char kStepPrefix[] = "step-";

// Bytes that are not UTF-8 (a path may have such) are replaced: saving must not fail for them.
std::string dump(const json& object, int indent) {
  return object.dump(indent, ' ', false, json::error_handler_t::replace);
}

json real_to_json(double number) {
  if (std::isfinite(number)) return number;
  return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
}

/// Reads fields of one object and names what is wrong with them.
class Fields {
 public:
  Fields(const json& object, std::string path, std::string place)
      : object_(object), path_(std::move(path)), place_(std::move(place)) {
    if (!object.is_object()) fail(text("what is ", place_, " is not an object"));
  }

  std::int64_t integer(const char* name, std::int64_t least = 0) const {
    const json& field = at(name);
    if (!field.is_number_integer() || field.get<std::int64_t>() < least) {
      fail(text("'", name, "' ", place_, " is ", field.dump(), ", expected an integer of at least ",
                least));
    }
    return field.get<std::int64_t>();
  }

  double real(const char* name) const {
    const json& field = at(name);
    if (field.is_number()) return field.get<double>();
    if (field == "nan") return std::numeric_limits<double>::quiet_NaN();
    if (field == "inf") return std::numeric_limits<double>::infinity();
    if (field == "-inf") return -std::numeric_limits<double>::infinity();
    fail(text("'", name, "' ", place_, " is ", field.dump(), ", expected a number"));
  }

  std::string string(const char* name) const {
    const json& field = at(name);
    if (!field.is_string()) {
      fail(text("'", name, "' ", place_, " is ", field.dump(), ", expected a string"));
    }
    return field.get<std::string>();
  }

  bool boolean(const char* name) const {
    const json& field = at(name);
    if (!field.is_boolean()) {
      fail(text("'", name, "' ", place_, " is ", field.dump(), ", expected true or false"));
    }
    return field.get<bool>();
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
      if (!size.is_number_integer() || size.get<std::int64_t>() < 0) {
        fail(text("'", name, "' ", place_, " has the element ", size.dump(), ", expected sizes"));
      }
      shape.push_back(size.get<std::int64_t>());
      elements *= static_cast<double>(shape.back());
    }
    if (elements > 1e18) fail(text("'", name, "' ", place_, " is too large to be a tensor"));
    return shape;
  }

  std::map<std::string, std::string> strings(const char* name) const {
    const json& field = at(name);
    const Fields inner = object(name);
    std::map<std::string, std::string> all;
    for (const auto& [key, value] : field.items()) all[key] = inner.string(key.c_str());
    return all;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(Cause::checkpoint,
                text(path_, " is damaged: ", what, "; restore another checkpoint"));
  }

 private:
  const json& at(const char* name) const {
    const auto field = object_.find(name);
    if (field == object_.end()) fail(text("there is no '", name, "' ", place_));
    return *field;
  }

  const json& array(const char* name) const {
    const json& field = at(name);
    if (!field.is_array()) {
      fail(text("'", name, "' ", place_, " is ", field.dump(), ", expected an array"));
    }
    return field;
  }

  const json& object_;
  std::string path_;
  std::string place_;
};

void check_consistency(const Manifest& manifest, const Fields& fields) {
  if (static_cast<std::int64_t>(manifest.shards.size()) != manifest.info.world_size) {
    fields.fail(text("it lists ", manifest.shards.size(), " files, but its world size is ",
                     manifest.info.world_size));
  }
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < manifest.shards.size(); ++i) {
    const StoredShard& shard = manifest.shards[i];
    if (shard.file != shard_name(static_cast<std::int64_t>(i))) {
      fields.fail(text("file ", i, " is '", shard.file, "', expected '",
                       shard_name(static_cast<std::int64_t>(i)), "'"));
    }
    if (shard.rows > manifest.rows - rows) fields.fail("its files have more rows than its tensors");
    rows += shard.rows;
  }
  if (rows != manifest.rows) {
    fields.fail(text("its files have ", rows, " rows, its tensors ", manifest.rows));
  }
  static const std::set<std::string> kTypes = {"float32", "float64", "int64", "int32", "uint8"};
  std::set<std::string> names;
  for (const StoredTensor& tensor : manifest.tensors) {
    if (tensor.name.empty() || tensor.name.find('/') != std::string::npos ||
        !names.insert(tensor.name).second) {
      fields.fail(text("'", tensor.name, "' is no name of a tensor, or is listed twice"));
    }
    if (!kTypes.contains(tensor.type)) {
      fields.fail(text("tensor '", tensor.name, "' is of the unknown type '", tensor.type, "'"));
    }
    if (tensor.sharded && (tensor.shape.empty() || tensor.shape[0] != manifest.rows)) {
      fields.fail(
          text("the sharded tensor '", tensor.name, "' does not have ", manifest.rows, " rows"));
    }
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

std::string to_json_text(const Manifest& manifest) {
  const CheckpointInfo& info = manifest.info;
  json object = {
      {"format", kCheckpointFormat},
      {"format_version", kCheckpointFormatVersion},
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
  for (const StoredShard& shard : manifest.shards) {
    object["shards"].push_back({{"file", shard.file},
                                {"bytes", shard.bytes},
                                {"rows", shard.rows},
                                {"xxh3_128", shard.xxh3_128}});
  }
  for (const StoredTensor& tensor : manifest.tensors) {
    object["tensors"].push_back({{"name", tensor.name},
                                 {"type", tensor.type},
                                 {"shape", tensor.shape},
                                 {"sharded", tensor.sharded},
                                 {"trained", tensor.trained},
                                 {"description", tensor.description}});
  }
  object["checksum"] = digest_bytes(dump(object, -1));
  return dump(object, 2) + "\n";
}

Manifest parse_manifest(const std::string& json_text, const std::string& path) {
  json object = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) {
    throw Error(Cause::checkpoint,
                text(path, " is damaged: it is not JSON; restore another checkpoint"));
  }
  const Fields fields(object, path, "at the top");
  if (!object.contains("format") || object["format"] != kCheckpointFormat) {
    throw Error(Cause::checkpoint,
                text(path, " is not of a micrec checkpoint: its 'format' is not '",
                     kCheckpointFormat, "'"));
  }
  const std::int64_t version = fields.integer("format_version", 1);
  if (version > kCheckpointFormatVersion) {
    throw Error(
        Cause::checkpoint,
        text(path, " is of format version ", version, ", this program reads versions up to ",
             kCheckpointFormatVersion, "; use the micrec that wrote it, or a newer one"));
  }
  const std::string checksum = fields.string("checksum");
  object.erase("checksum");
  if (digest_bytes(dump(object, -1)) != checksum) {
    fields.fail("its contents do not match its own checksum (was it edited?)");
  }

  Manifest manifest;
  CheckpointInfo& info = manifest.info;
  info.step = fields.integer("step");
  info.epoch = fields.integer("epoch");
  info.best_metric = fields.real("best_metric");
  info.best_step = fields.integer("best_step", -1);
  info.validations_without_improvement = fields.integer("validations_without_improvement");
  info.config = fields.string("config");
  info.dataset_path = fields.object("dataset").string("path");
  info.dataset_fingerprint = fields.object("dataset").string("fingerprint");
  info.world_size = static_cast<int>(fields.integer("world_size", 1));
  info.grid = fields.string("grid");
  info.extra = fields.strings("extra");
  manifest.rows = fields.integer("rows");
  for (const Fields& shard : fields.objects("shards")) {
    manifest.shards.push_back({shard.string("file"), shard.integer("bytes"), shard.integer("rows"),
                               shard.string("xxh3_128")});
  }
  for (const Fields& tensor : fields.objects("tensors")) {
    manifest.tensors.push_back({tensor.string("name"), tensor.string("type"), tensor.shape("shape"),
                                tensor.boolean("sharded"), tensor.boolean("trained"),
                                tensor.string("description")});
  }
  check_consistency(manifest, fields);
  return manifest;
}

}  // namespace micrec
