#include "serve/export/embedding_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "evaluate/evaluator.h"
#include "io/hdf5.h"
#include "tests/evaluate/small_world.h"
#include "tests/support/command.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

constexpr std::int64_t kFileDim = 6;

class EmbeddingFileTest : public testing::Test {
 protected:
  void write(int ranks, const std::vector<float>& z, std::int64_t block_bytes,
             const SparseRows* coefficients = nullptr, const std::vector<ScoreMix>& mixes = {},
             const std::vector<double>& half_life = {}) {
    const Ownership ownership = make_ownership(space_, ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      SparseRows own;
      if (coefficients != nullptr) own = coefficients_of(space_, ownership, rank, *coefficients);
      export_embeddings(dataset_, space_, ownership,
                        {rows_of(ownership, rank, z, columns_of(z)),
                         coefficients != nullptr ? &own : nullptr, half_life},
                        mixes, {.model = "inmo", .checkpoint = "step-000000000007"}, exported_,
                        communicator, block_bytes);
    });
  }

  std::string evaluate(Split split, const std::vector<float>& z,
                       const SparseRows* coefficients = nullptr,
                       std::vector<ScoreMix> mixes = {{}, {}},
                       const std::vector<double>& half_life = {}) {
    const Ownership ownership = make_ownership(space_, 1);
    SelfCommunicator communicator;
    const Evaluator evaluator(
        {dataset_, space_, ownership, 0},
        {.split = split, .k = {5, 20}, .with_new_nodes = true, .histories = true, .ages = true});
    return evaluator
        .evaluate({rows_of(ownership, 0, z, columns_of(z)), coefficients, half_life}, mixes,
                  communicator)
        .to_json()
        .dump();
  }

  std::int64_t columns_of(const std::vector<float>& z) const {
    return static_cast<std::int64_t>(z.size()) / space_.nodes();
  }

  /// Has numpy compute the metrics again.
  void expect_same_in_numpy(const std::string& report) {
    const std::string metrics = folder_.write("metrics.json", report);
    expect_has(run_python("evaluate/check_metrics.py", {dataset_.path(), exported_, metrics}),
               {"36 metrics agree"});
  }

  TemporaryFolder folder_;
  std::string exported_ = folder_ / "embeddings.h5";
  DatasetFile dataset_ = written(make_dataset({.times = true}), folder_ / "dataset.h5");
  NodeSpace space_ = node_space(dataset_);
};

TEST_F(EmbeddingFileTest, HasTheRowsOfAllNodesFromAnyNumberOfRanksAndBlocks) {
  const std::vector<float> z = make_embeddings(space_.nodes(), kFileDim, false);
  for (const int ranks : {1, 3, 5}) {
    for (const std::int64_t block_bytes : {1, 500, 1 << 20}) {
      write(ranks, z, block_bytes);
      const Hdf5File file = Hdf5File::open(exported_);
      EXPECT_EQ(file.text_attribute("/", "dataset_fingerprint"), dataset_.fingerprint());
      for (const int domain : {0, 1}) {
        const std::string group = text("/domains/domain", domain);
        const auto part = [&](Range nodes) {
          return std::vector<float>(z.begin() + nodes.begin * kFileDim,
                                    z.begin() + nodes.end * kFileDim);
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
    const std::vector<float> z = make_embeddings(space_.nodes(), kFileDim, whole);
    write(3, z, 500);
    for (const Split split : {Split::valid, Split::test}) {
      expect_same_in_numpy(evaluate(split, z));
    }
  }
}

TEST_F(EmbeddingFileTest, GivesNumpyTheSameMetricsWithItemRegression) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python beside torch";
  const ScoreMix both = {.embeddings = true, .regression = 0.75F};
  const ScoreMix alone = {.embeddings = false, .regression = 1};
  for (const bool whole : {true, false}) {
    const std::vector<float> z = make_embeddings(space_.nodes(), kFileDim, whole);
    const SparseRows coefficients = make_coefficients(space_, whole);
    for (const std::vector<ScoreMix>& mixes : {std::vector<ScoreMix>{both, alone}, {{}, both}}) {
      write(3, z, 4000, &coefficients, mixes);
      expect_same_in_numpy(evaluate(Split::test, z, &coefficients, mixes));
    }
    write(2, {}, 4000, &coefficients, {alone, alone});
    expect_same_in_numpy(evaluate(Split::test, {}, &coefficients, {alone, alone}));
  }
}

// numpy counts what is newer by the dataset's times, and compares that with the exported histories.
TEST_F(EmbeddingFileTest, GivesNumpyTheSameMetricsWithRecency) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python beside torch";
  const ScoreMix both = {.embeddings = true, .regression = 0.75F};
  const ScoreMix alone = {.embeddings = false, .regression = 1};
  const std::vector<float> z = make_embeddings(space_.nodes(), kFileDim, false);
  const SparseRows coefficients = make_coefficients(space_, false);
  std::set<std::string> reports;
  for (const std::vector<double>& half_life :
       {std::vector<double>{1, 3}, {0, 0.5}, {0.125, 100}, {}}) {
    write(3, z, 4000, &coefficients, {alone, both}, half_life);
    EXPECT_EQ(Hdf5File::open(exported_).integer_attribute("/", "format_version"),
              half_life.empty() ? 1 : 2);
    const std::string report = evaluate(Split::test, z, &coefficients, {alone, both}, half_life);
    expect_same_in_numpy(report);
    reports.insert(report);
  }
  EXPECT_EQ(reports.size(), 4U);
}

TEST_F(EmbeddingFileTest, HasTheCoefficientsOfAllItemsFromAnyNumberOfRanksAndBlocks) {
  const std::vector<float> z = make_embeddings(space_.nodes(), kFileDim, false);
  const SparseRows coefficients = make_coefficients(space_, false);
  const std::vector<ScoreMix> mixes = {{.embeddings = true, .regression = 0.3F},
                                       {.embeddings = false, .regression = 1}};
  for (const int ranks : {1, 3, 4}) {
    for (const std::int64_t block_bytes : {1, 5000, 1 << 20}) {
      write(ranks, z, block_bytes, &coefficients, mixes);
      const Hdf5File file = Hdf5File::open(exported_);
      EXPECT_EQ(file.read_text("/item_regression/domain"),
                (std::vector<std::string>{"domain0", "domain1"}));
      EXPECT_EQ(file.read<std::int64_t>("/item_regression/offset"),
                (std::vector<std::int64_t>{0, 70, 180}));
      for (const int domain : {0, 1}) {
        const std::string group = text("/domains/domain", domain, "/item_regression");
        EXPECT_EQ(file.integer_attribute(group, "embeddings"), domain == 0 ? 1 : 0);
        EXPECT_EQ(file.number_attribute(group, "regression"), domain == 0 ? 0.3F : 1.F);
        const Range rows = {domain == 0 ? 0 : 70, domain == 0 ? 70 : 180};
        const std::int64_t begin = coefficients.offsets[rows.begin];
        const std::int64_t end = coefficients.offsets[rows.end];
        std::vector<std::int64_t> begins;
        for (std::int64_t row = rows.begin; row <= rows.end; ++row) {
          begins.push_back(coefficients.offsets[row] - begin);
        }
        EXPECT_EQ(file.read<std::int64_t>(group + "/indptr"), begins);
        EXPECT_EQ(
            file.read<std::int32_t>(group + "/indices"),
            std::vector(coefficients.column.begin() + begin, coefficients.column.begin() + end));
        EXPECT_EQ(file.read<float>(group + "/data"), std::vector(coefficients.value.begin() + begin,
                                                                 coefficients.value.begin() + end));
        EXPECT_EQ(file.read<std::int64_t>(group + "/shape"),
                  (std::vector<std::int64_t>{rows.size(), 180}));
      }
    }
  }
}

TEST_F(EmbeddingFileTest, SaysNothingOfItemRegressionWhereThereIsNone) {
  write(2, make_embeddings(space_.nodes(), kFileDim, true), 500);
  const Hdf5File file = Hdf5File::open(exported_);
  EXPECT_EQ(file.children("/"), (std::vector<std::string>{"domains"}));
  EXPECT_EQ(file.children("/domains/domain0"), (std::vector<std::string>{"items", "users"}));
}

TEST_F(EmbeddingFileTest, LeavesNothingBehindWhereItCannotBeWritten) {
  exported_ = folder_ / "no_such_folder/embeddings.h5";
  EXPECT_THROW(write(1, make_embeddings(space_.nodes(), kFileDim, true), 500), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "no_such_folder"));
}

TEST_F(EmbeddingFileTest, IsDescribed) {
  write(1, make_embeddings(space_.nodes(), kFileDim, true), 500);
  std::ostringstream description;
  describe_embeddings(exported_, description);
  const std::string title = text(exported_, ": exported embeddings, ");
  EXPECT_EQ(description.str().substr(0, title.size()), title);
  const std::string rows = text(
      "B\nmodel         inmo\n"
      "checkpoint    step-000000000007\n"
      "dataset       ",
      dataset_.fingerprint(),
      "\n"
      "domain domain0 90 users, 70 items, 6 columns\n"
      "domain domain1 60 users, 110 items, 6 columns\n"
      "\nThe score of a user and an item");
  expect_has(description.str(), {rows});

  const SparseRows coefficients = make_coefficients(space_, true);
  write(2, make_embeddings(space_.nodes(), kFileDim, true), 500, &coefficients,
        {{.embeddings = true, .regression = 0.25F}, {.embeddings = false, .regression = 1}});
  description.str("");
  describe_embeddings(exported_, description);
  const auto count = [&](std::int64_t begin, std::int64_t end) {
    return with_commas(coefficients.offsets[end] - coefficients.offsets[begin]);
  };
  expect_has(
      description.str(),
      {count(0, 70) + " coefficients of item regression, weight 0.25 beside the embeddings\n",
       count(70, 180) + " coefficients of item regression, which scores alone\n"});
}

}  // namespace
}  // namespace micrec
