#include "checkpoints/manifest.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/durable_files.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "training_state.h"

namespace micrec {
namespace {

using nlohmann::json;

Manifest example() {
  Manifest manifest;
  manifest.info = state_info(1200);
  manifest.info.world_size = 2;
  manifest.rows = 7;
  manifest.commit = Commit::marker;
  manifest.shards = {{{"shard-00000.h5", 4096, std::string(32, 'a')},
                      4,
                      512,
                      {{"/tensors/table/row", 1024, 32, 4, std::string(16, 'c')},
                       {"/tensors/table/value", 2048, 1024, 4, std::string(32, 'd')}}},
                     {{"shard-00001.h5", 2048, std::string(32, 'b')}, 3}};
  manifest.tensors = {{"table", "float32", {7, 64}, true, true, "rows"},
                      {"scale", "float64", {}, false, false, ""}};
  return manifest;
}

// The example with one change, and a checksum that fits it.
std::string changed(const std::function<void(json&)>& change) {
  json object = json::parse(to_json_text(example()));
  object.erase("checksum");
  change(object);
  object["checksum"] = digest_bytes(object.dump());
  return object.dump();
}

TEST(Manifest, ReadsWhatItWrites) {
  const Manifest expected = example();
  const Manifest got = parse_manifest(to_json_text(expected), "m.json");
  EXPECT_EQ(got.info.best_metric, expected.info.best_metric);
  EXPECT_EQ(got.info.extra, expected.info.extra);
  EXPECT_EQ(got.rows, 7);
  ASSERT_EQ(got.shards.size(), 2u);
  EXPECT_EQ(got.shards[1].xxh3_128, expected.shards[1].xxh3_128);
  EXPECT_TRUE(got.shards[1].datasets.empty());
  EXPECT_EQ(got.shards[0].block_bytes, 512);
  ASSERT_EQ(got.shards[0].datasets.size(), 2u);
  EXPECT_EQ(got.shards[0].datasets[1].name, "/tensors/table/value");
  EXPECT_EQ(got.shards[0].datasets[1].offset, 2048);
  EXPECT_EQ(got.shards[0].datasets[1].xxh3_64, std::string(32, 'd'));
  EXPECT_EQ(got.commit, Commit::marker);
  std::string checksum;
  to_json_text(expected, &checksum);
  EXPECT_EQ(got.checksum, checksum);
  ASSERT_EQ(got.tensors.size(), 2u);
  EXPECT_EQ(got.tensors[0].shape, expected.tensors[0].shape);
  EXPECT_TRUE(got.tensors[1].shape.empty());
  EXPECT_EQ(to_json_text(got), to_json_text(expected));
}

TEST(Manifest, NamesTheItemRegressionWhereThereIsOne) {
  Manifest manifest = example();
  EXPECT_EQ(to_json_text(manifest).find("item_regression"), std::string::npos);
  EXPECT_FALSE(parse_manifest(to_json_text(manifest), "m.json").info.item_regression);
  manifest.info.item_regression = {"item_regression.h5", 4711, std::string(32, 'e')};
  const json written = json::parse(to_json_text(manifest));
  EXPECT_EQ(
      written["item_regression"],
      (json{{"file", "item_regression.h5"}, {"bytes", 4711}, {"xxh3_128", std::string(32, 'e')}}));
  EXPECT_EQ(parse_manifest(to_json_text(manifest), "m.json").info.item_regression,
            manifest.info.item_regression);
  for (const char* file : {"../item_regression.h5", "/etc/passwd", ""}) {
    manifest.info.item_regression->file = file;
    expect_error(Cause::checkpoint, {"m.json is damaged", "item regression", file},
                 [&] { parse_manifest(to_json_text(manifest), "m.json"); });
  }
  expect_error(Cause::checkpoint, {"'bytes' in 'item_regression' is \"x\""}, [] {
    parse_manifest(changed([](json& object) {
                     object["item_regression"] = {{"file", "f"}, {"bytes", "x"}};
                   }),
                   "m.json");
  });
}

// A run without what was added to the format since has the same manifest as then.
TEST(Manifest, OfTheSameRunHasTheBytesOfTheGoldenOne) {
  const std::string golden =
      file_contents(MICREC_SOURCE_DIR
                    "/tests/golden/checkpoint-version-1-marker/step-000000000120/manifest.json");
  EXPECT_EQ(to_json_text(parse_manifest(golden, "m.json")), golden);
}

TEST(Manifest, KeepsNumbersThatAreNotFinite) {
  Manifest manifest = example();
  for (const double metric : {std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity(), 0.1, -0.0, 1e-320}) {
    manifest.info.best_metric = metric;
    const double got = parse_manifest(to_json_text(manifest), "m.json").info.best_metric;
    EXPECT_EQ(got, metric);
    EXPECT_EQ(std::signbit(got), std::signbit(metric));
  }
  manifest.info.best_metric = std::nan("");
  EXPECT_TRUE(std::isnan(parse_manifest(to_json_text(manifest), "m.json").info.best_metric));
}

TEST(Manifest, KeepsTextThatIsNotUtf8Readable) {
  Manifest manifest = example();
  manifest.info.dataset_path = "caf\xe9.h5";
  const Manifest got = parse_manifest(to_json_text(manifest), "m.json");
  EXPECT_EQ(got.info.dataset_path, "caf\xEF\xBF\xBD.h5");
}

TEST(Manifest, DetectsEveryFlippedBit) {
  const std::string good = to_json_text(example());
  int accepted = 0;
  for (std::size_t byte = 0; byte + 1 < good.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
      try {
        const Manifest got = parse_manifest(bad, "m.json");
        // Only white space may differ without changing the contents.
        EXPECT_EQ(to_json_text(got), good) << "byte " << byte << " bit " << bit;
        ++accepted;
      } catch (const Error& error) {
        EXPECT_EQ(error.cause(), Cause::checkpoint) << error.what();
        EXPECT_NE(std::string(error.what()).find("m.json"), std::string::npos) << error.what();
      }
    }
  }
  EXPECT_LT(accepted, static_cast<int>(good.size()));
}

TEST(Manifest, RefusesEveryTruncation) {
  const std::string good = to_json_text(example());
  for (std::size_t size = 0; size + 2 < good.size(); ++size) {
    expect_error(Cause::checkpoint, {"m.json"},
                 [&] { parse_manifest(good.substr(0, size), "m.json"); });
  }
}

TEST(Manifest, NamesWhatIsWrong) {
  struct Case {
    std::vector<std::string> parts;
    std::function<void(json&)> change;
  };
  const std::vector<Case> cases = {
      {{"version 2", "versions up to 1", "newer"}, [](json& m) { m["format_version"] = 2; }},
      {{"not of a micrec checkpoint"}, [](json& m) { m["format"] = "other"; }},
      {{"not of a micrec checkpoint"}, [](json& m) { m.erase("format"); }},
      {{"no 'step'"}, [](json& m) { m.erase("step"); }},
      {{"'step'", "\"x\"", "integer"}, [](json& m) { m["step"] = "x"; }},
      {{"'epoch'", "-1"}, [](json& m) { m["epoch"] = -1; }},
      {{"'best_metric'", "\"high\""}, [](json& m) { m["best_metric"] = "high"; }},
      {{"'config'", "expected a string"}, [](json& m) { m["config"] = 7; }},
      {{"'dataset'", "not an object"}, [](json& m) { m["dataset"] = "fk.h5"; }},
      {{"'seed'", "expected a string"}, [](json& m) { m["extra"]["seed"] = 7; }},
      {{"2 files", "world size is 3"}, [](json& m) { m["world_size"] = 3; }},
      {{"'../x.h5'", "expected 'shard-00001.h5'"},
       [](json& m) { m["shards"][1]["file"] = "../x.h5"; }},
      {{"6 rows", "tensors 7"}, [](json& m) { m["shards"][1]["rows"] = 2; }},
      {{"more rows"}, [](json& m) { m["shards"][1]["rows"] = 4; }},
      {{"'shards'[0]", "'bytes'"}, [](json& m) { m["shards"][0]["bytes"] = 1.5; }},
      {{"'commit'", "'copy'"}, [](json& m) { m["commit"] = "copy"; }},
      {{"/tensors/table/value", "does not fit into shard-00000.h5"},
       [](json& m) { m["shards"][0]["datasets"][1]["offset"] = 3073; }},
      {{"/tensors/table/value", "does not fit into shard-00000.h5"},
       [](json& m) { m["shards"][0]["datasets"][1]["offset"] = 1055; }},
      {{"/tensors/table/value", "digests"},
       [](json& m) { m["shards"][0]["datasets"][1]["xxh3_64"] = std::string(16, 'd'); }},
      {{"/tensors/table/row", "rows"}, [](json& m) { m["shards"][0]["datasets"][0]["rows"] = 5; }},
      {{"'block_bytes'", "0"}, [](json& m) { m["shards"][0]["block_bytes"] = 0; }},
      {{"'datasets'", "'bytes'"}, [](json& m) { m["shards"][0]["datasets"][0]["bytes"] = 0; }},
      {{"'float8'"}, [](json& m) { m["tensors"][0]["type"] = "float8"; }},
      {{"'a/b'"}, [](json& m) { m["tensors"][0]["name"] = "a/b"; }},
      {{"'scale'", "listed twice"}, [](json& m) { m["tensors"][0]["name"] = "scale"; }},
      {{"'table'", "7 rows"}, [](json& m) { m["tensors"][0]["shape"][0] = 8; }},
      {{"'shape'", "-3"}, [](json& m) { m["tensors"][1]["shape"] = {-3}; }},
      {{"too large"},
       [](json& m) {
         m["tensors"][1]["shape"] = {1LL << 40, 1LL << 40};
       }},
  };
  for (const Case& c : cases) {
    std::vector<std::string> parts = c.parts;
    parts.emplace_back("m.json");
    expect_error(Cause::checkpoint, parts, [&] { parse_manifest(changed(c.change), "m.json"); });
  }
  expect_error(Cause::checkpoint, {"m.json", "not JSON"}, [] { parse_manifest("", "m.json"); });
  expect_error(Cause::checkpoint, {"m.json"}, [] { parse_manifest("[]", "m.json"); });
}

TEST(Manifest, NamesStepsWithTwelveDigits) {
  EXPECT_EQ(checkpoint_name(1200), "step-000000001200");
  EXPECT_EQ(step_of_checkpoint_name("step-000000001200"), 1200);
  for (const char* name : {"step-1200", "step-00000000120x", ".step-000000001200.writing",
                           "step-0000000012000", "", "best.json"}) {
    EXPECT_EQ(step_of_checkpoint_name(name), -1) << name;
  }
}

}  // namespace
}  // namespace micrec
