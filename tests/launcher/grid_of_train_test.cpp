#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "cluster/thread_communicator.h"
#include "launcher/commands.h"
#include "launcher/program.h"
#include "run/train.h"
#include "tests/launcher/run_config_of.h"
#include "tests/launcher/run_here.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

// MICREC_GRID_SETTINGS says how many settings are drawn, and with another number than the usual one
// they are new ones; MICREC_GRID_SEED says which.
constexpr int kUsualSettings = 200;
constexpr std::uint64_t kUsualSeed = 12;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const set = std::getenv(variable);
  return set == nullptr ? otherwise : std::strtoull(set, nullptr, 10);
}

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : engine_(seed) {}

  std::int64_t between(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(engine_);
  }
  template <typename Value>
  Value one_of(const std::vector<Value>& values) {
    return values[static_cast<std::size_t>(between(0, std::ssize(values) - 1))];
  }

 private:
  std::mt19937_64 engine_;
};

/// Flags that both commands have.
std::vector<std::string> draw_flags(Draw& draw) {
  std::vector<std::string> flags;
  const auto add = [&](const char* name, const auto& value) {
    flags.push_back(text("--", name, "=", value));
  };
  add("dim", draw.one_of<int>({1, 2, 4, 6, 8, 12, 16, 32, 64, 128, 512}));
  add("model", draw.one_of<std::string>({"mf", "lightgcn", "inmo_mf", "inmo", "micrec", "micrec",
                                         "ials", "popularity"}));
  add("layers", draw.between(1, 4));
  add("batch", draw.one_of<int>({1, 16, 64, 500, 2048, 20000}));
  add("sampling", draw.one_of<std::string>({"interactions", "user"}));
  add("modalities", draw.one_of<std::string>({"all", "all", "text", "image", ""}));
  add("semantic_neighbors", draw.one_of<int>({0, 1, 5, 10, 40}));
  add("content", draw.one_of<std::string>({"true", "false"}));
  add("cold_simulation", draw.one_of<double>({0, 0.2}));
  add("contrastive_weight", draw.one_of<double>({0, 0.01}));
  add("contrastive_batch", draw.one_of<int>({0, 8, 1024}));
  add("self_weight", draw.one_of<double>({0, 0.01}));
  add("l2", draw.one_of<double>({0, 0.001}));
  return flags;
}

/// The grid that `micrec plan` takes.
std::string grid_of_plan(const std::vector<std::string>& flags, int ranks,
                         const std::string& json_path) {
  std::vector<std::string> words = {"plan", text("--ranks=", ranks), "--out=" + json_path};
  words.insert(words.end(), flags.begin(), flags.end());
  const Spoken said = run_here(words);
  EXPECT_EQ(said.code, 0) << said.err;
  std::ifstream file(json_path);
  return nlohmann::json::parse(file)["plan"]["grid"];
}

/// The grid that `micrec train` says it takes, on ranks that are threads.
std::string grid_of_train(const std::vector<std::string>& flags, int ranks) {
  const RunConfig config = [&] {
    std::vector<std::string> words = {"--run_dir=never-made", "--dry_run"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_config_of(words);
  }();
  testing::internal::CaptureStderr();
  run_ranks(ranks, [&](Communicator& world) {
    Job job(world);
    EXPECT_EQ(train(config, job), 0);
  });
  const std::string said = testing::internal::GetCapturedStderr();
  std::smatch grid;
  EXPECT_TRUE(std::regex_search(said, grid, std::regex(", grid (\\d+x\\d+), "))) << said;
  return grid.size() < 2 ? "none" : grid[1].str();
}

TEST(GridOfTrain, IsThatOfPlan) {
  const std::uint64_t settings = number_from("MICREC_GRID_SETTINGS", kUsualSettings);
  const std::uint64_t seed = number_from(
      "MICREC_GRID_SEED", settings == kUsualSettings ? kUsualSeed : std::random_device()());
  std::printf("MICREC_GRID_SEED=%s\n", std::to_string(seed).c_str());
  Draw draw(seed);
  const TemporaryFolder folder;
  std::vector<std::string> worlds;
  for (int world = 0; world < 8; ++world) {
    worlds.push_back(folder / text("world", world, ".h5"));
    write_small_world({.domains = static_cast<int>(draw.between(1, 4)),
                       .users = draw.between(26, 400),
                       .items = draw.between(20, 300),
                       .hold_outs = draw.between(0, 1) == 1,
                       .seed = static_cast<std::uint64_t>(world)},
                      worlds.back());
  }
  std::set<std::string> grids;
  for (std::uint64_t setting = 0; setting < settings && !testing::Test::HasFailure(); ++setting) {
    const int ranks = static_cast<int>(draw.one_of<int>({1, 2, 3, 4, 6, 8, 8, 12, 16}));
    std::vector<std::string> flags = draw_flags(draw);
    flags.push_back("--dataset=" + draw.one_of(worlds));
    const std::string partition = draw.one_of<std::string>({"balanced", "hash", "metis", "file"});
    if (partition == "file") {
      // Made for as many row parts as one of the grids has.
      const std::string path = folder / text("parts", setting, ".csv");
      std::vector<std::string> words = flags;
      words.insert(words.end(), {"--partition=hash", "--write_partition=" + path});
      grid_of_plan(words, ranks, folder / "parts.json");
      flags.push_back("--partition=file:" + path);
    } else {
      flags.push_back("--partition=" + partition);
    }
    const std::string planned = grid_of_plan(flags, ranks, folder / "plan.json");
    EXPECT_EQ(planned, grid_of_train(flags, ranks))
        << "setting " << setting << ", " << ranks << " ranks: " << join(flags, " ");
    grids.insert(planned);
  }
  if (settings >= kUsualSettings) {
    EXPECT_GE(grids.size(), 10U) << "settings that always lead to the same grids show nothing";
  }
}

}  // namespace
}  // namespace micrec
