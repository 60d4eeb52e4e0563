#include "serve/embedding_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "evaluate/evaluator.h"
#include "io/hdf5.h"
#include "tests/evaluate/small_world.h"

namespace micrec {
namespace {

constexpr std::int64_t kDim = 6;

class EmbeddingFileTest : public testing::Test {
 protected:
  void write(int ranks, const std::vector<float>& z, std::int64_t block_bytes) {
    const Ownership ownership = make_ownership(space_, ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      export_embeddings(dataset_, space_, ownership,
                        rows_of(ownership, communicator.rank(), z, kDim),
                        {.model = "inmo", .checkpoint = "step-000000000007"}, exported_,
                        communicator, block_bytes);
    });
  }

  std::string evaluate(Split split, const std::vector<float>& z) {
    const Ownership ownership = make_ownership(space_, 1);
    SelfCommunicator communicator;
    const Evaluator evaluator(dataset_, space_, ownership, 0,
                              {.split = split, .k = {5, 20}, .with_new_nodes = true});
    return evaluator.evaluate(rows_of(ownership, 0, z, kDim), communicator).to_json().dump();
  }

  static std::string written(const PreparedDataset& dataset, const std::string& path) {
    write_dataset(dataset, path);
    return path;
  }

  TemporaryFolder folder_;
  std::string exported_ = folder_ / "embeddings.h5";
  DatasetFile dataset_ = DatasetFile::open(written(make_dataset({}), folder_ / "dataset.h5"));
  NodeSpace space_ = make_space(dataset_);
};

TEST_F(EmbeddingFileTest, HasTheRowsOfAllNodesFromAnyNumberOfRanksAndBlocks) {
  const std::vector<float> z = make_embeddings(space_.nodes(), kDim, false);
  for (const int ranks : {1, 3, 5}) {
    for (const std::int64_t block_bytes : {1, 500, 1 << 20}) {
      write(ranks, z, block_bytes);
      const Hdf5File file = Hdf5File::open(exported_);
      EXPECT_EQ(file.text_attribute("/", "dataset_fingerprint"), dataset_.fingerprint());
      for (const int domain : {0, 1}) {
        const std::string group = text("/domains/domain", domain);
        const auto part = [&](Range nodes) {
          return std::vector<float>(z.begin() + nodes.begin * kDim, z.begin() + nodes.end * kDim);
        };
        EXPECT_EQ(file.read<float>(group + "/users/embedding"), part(space_.users_of(domain)));
        EXPECT_EQ(file.read<float>(group + "/items/embedding"), part(space_.items_of(domain)));
        EXPECT_EQ(file.read_text(group + "/users/key"), dataset_.user_keys(domain));
        EXPECT_EQ(file.read_text(group + "/items/key"), dataset_.item_keys(domain));
      }
    }
  }
}

// The exported file and the dataset file are all that is needed to compute the metrics again, in
// other words and another language.
TEST_F(EmbeddingFileTest, GivesNumpyTheSameMetrics) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python beside torch";
  for (const bool whole : {true, false}) {
    const std::vector<float> z = make_embeddings(space_.nodes(), kDim, whole);
    write(3, z, 500);
    for (const Split split : {Split::valid, Split::test}) {
      const std::string metrics = folder_.write("metrics.json", evaluate(split, z));
      const std::string command =
          text("'", MICREC_PYTHON, "' '", MICREC_SOURCE_DIR, "/tests/evaluate/check_metrics.py' '",
               dataset_.path(), "' '", exported_, "' '", metrics, "' 2>&1");
      FILE* pipe = popen(command.c_str(), "r");
      ASSERT_NE(pipe, nullptr);
      std::string output;
      for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) output += static_cast<char>(c);
      EXPECT_EQ(pclose(pipe), 0) << output;
      EXPECT_NE(output.find("36 metrics agree"), std::string::npos) << output;
    }
  }
}

TEST_F(EmbeddingFileTest, LeavesNothingBehindWhereItCannotBeWritten) {
  exported_ = folder_ / "no_such_folder/embeddings.h5";
  EXPECT_THROW(write(1, make_embeddings(space_.nodes(), kDim, true), 500), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "no_such_folder"));
}

TEST_F(EmbeddingFileTest, IsDescribed) {
  write(1, make_embeddings(space_.nodes(), kDim, true), 500);
  std::ostringstream description;
  describe_embeddings(Hdf5File::open(exported_), description);
  EXPECT_EQ(description.str(), text("model         inmo\n"
                                    "checkpoint    step-000000000007\n"
                                    "dataset       ",
                                    dataset_.fingerprint(),
                                    "\n"
                                    "domain domain0 90 users, 70 items, 6 columns\n"
                                    "domain domain1 60 users, 110 items, 6 columns\n"));
}

}  // namespace
}  // namespace micrec
