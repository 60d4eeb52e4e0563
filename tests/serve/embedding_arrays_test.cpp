#include "serve/export/embedding_arrays.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cluster/thread_communicator.h"
#include "io/npy.h"
#include "serve/export/product_index.h"
#include "tests/evaluate/small_world.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

constexpr std::int64_t kArrayDim = 6;

class EmbeddingArraysTest : public testing::Test {
 protected:
  /// What rank 0 reports.
  std::string write(int ranks, ArrayFormat format, std::int64_t block_bytes = 1 << 20) {
    const Ownership ownership = make_ownership(space_, ranks);
    std::ostringstream report;
    run_ranks(ranks, [&](Communicator& communicator) {
      export_arrays(dataset_, space_, ownership,
                    rows_of(ownership, communicator.rank(), z_, kArrayDim), format, prefix_,
                    communicator, report, block_bytes);
    });
    return report.str();
  }

  /// Of a program that was built without FAISS.
  static void expect_refusal() { expect_error(Cause::usage, {}, require_faiss); }

  std::vector<float> part(Range nodes) const {
    return {z_.begin() + nodes.begin * kArrayDim, z_.begin() + nodes.end * kArrayDim};
  }

  static std::vector<float> read_rows(const std::string& path) {
    const NpyFile file = NpyFile::open(path);
    EXPECT_EQ(file.shape().at(1), kArrayDim);
    std::vector<float> values(file.shape().at(0) * kArrayDim);
    file.read_rows({0, file.shape().at(0)}, values.data());
    return values;
  }

  static std::vector<std::string> read_lines(const std::string& path) {
    std::vector<std::string> lines;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  TemporaryFolder folder_;
  std::string prefix_ = folder_ / "out";
  DatasetFile dataset_ = written(make_dataset({}), folder_ / "dataset.h5");
  NodeSpace space_ = node_space(dataset_);
  std::vector<float> z_ = make_embeddings(space_.nodes(), kArrayDim, false);
};

TEST_F(EmbeddingArraysTest, HasRowsAndKeysOfAllNodesFromAnyNumberOfRanksAndBlocks) {
  for (const int ranks : {1, 3, 5}) {
    for (const std::int64_t block_bytes : {1, 500, 1 << 20}) {
      EXPECT_EQ(write(ranks, ArrayFormat::npy, block_bytes), "");
      for (const int domain : {0, 1}) {
        const std::string name = text(prefix_, ".domain", domain);
        EXPECT_EQ(read_rows(name + ".users.npy"), part(space_.users_of(domain)));
        EXPECT_EQ(read_rows(name + ".items.npy"), part(space_.items_of(domain)));
        EXPECT_EQ(read_lines(name + ".users.keys.txt"), dataset_.user_keys(domain));
        EXPECT_EQ(read_lines(name + ".items.keys.txt"), dataset_.item_keys(domain));
      }
    }
  }
  const std::vector<std::string> files = files_of_arrays(dataset_, ArrayFormat::npy, prefix_);
  EXPECT_EQ(files.size(), 8U);
  EXPECT_EQ(folder_.files(), files.size() + 1) << "and the data set";
  for (const std::string& file : files) EXPECT_TRUE(std::filesystem::exists(file)) << file;
}

TEST_F(EmbeddingArraysTest, AnIndexReadBackGivesTheItemsOfTheLargestProducts) {
  if (!has_faiss()) return expect_refusal();
  const std::string report = write(3, ArrayFormat::faiss, 500);
  for (const int domain : {0, 1}) {
    const std::string index = text(prefix_, ".domain", domain, ".items.faiss");
    const Range users = space_.users_of(domain);
    expect_has(report,
               {text(index, ", read back, gives all of the ", with_commas(20 * users.size()),
                     " exact best 20 items of ", users.size(), " users\n")});
    const std::vector<float> items = part(space_.items_of(domain));
    const std::vector<float> queries = part(users);
    constexpr std::int64_t kBest = 3;
    const std::vector<std::int64_t> found = search_product_index(index, queries, kBest);
    ASSERT_EQ(static_cast<std::int64_t>(found.size()), users.size() * kBest);
    const auto count = static_cast<std::int64_t>(items.size()) / kArrayDim;
    for (std::int64_t u = 0; u < users.size(); ++u) {
      std::vector<std::pair<double, std::int64_t>> products;
      for (std::int64_t i = 0; i < count; ++i) {
        double product = 0;
        for (std::int64_t c = 0; c < kArrayDim; ++c) {
          product += static_cast<double>(queries[u * kArrayDim + c]) * items[i * kArrayDim + c];
        }
        products.emplace_back(-product, i);
      }
      std::ranges::sort(products);
      for (std::int64_t n = 0; n < kBest; ++n) {
        EXPECT_EQ(found[u * kBest + n], products[n].second) << "user " << u;
      }
    }
    EXPECT_EQ(read_rows(text(prefix_, ".domain", domain, ".users.npy")), queries);
  }
}

TEST_F(EmbeddingArraysTest, SaysHowManyTheIndexMisses) {
  if (!has_faiss()) return expect_refusal();
  // All items alike: the best are the first, and the index may take any.
  std::ranges::fill(z_, 1.0F);
  const std::string report = write(1, ArrayFormat::faiss);
  expect_has(report, {" exact best 20 items of "});
  const std::vector<std::int64_t> found =
      search_product_index(prefix_ + ".domain0.items.faiss", part(space_.users_of(0)), 20);
  std::int64_t missed = 0;
  for (const std::int64_t item : found) missed += item >= 20 ? 1 : 0;
  expect_has(report, {missed == 0 ? "gives all of the" : text("gives all but ", missed)});
}

TEST_F(EmbeddingArraysTest, AKeyWithALineEndIsRefusedAndTheFilesOfAnEarlierExportStay) {
  write(1, ArrayFormat::npy);
  const std::size_t files = folder_.files();
  const std::vector<float> before = read_rows(prefix_ + ".domain0.users.npy");
  PreparedDataset dataset = make_dataset({});
  dataset.domains[1].item_keys.back() = "two\nlines";
  dataset_ = written(dataset, folder_ / "dataset.h5");
  for (float& value : z_) value += 1;
  expect_error(Cause::data, {"has a line end in it"}, [&] { write(1, ArrayFormat::npy); });
  EXPECT_EQ(read_rows(prefix_ + ".domain0.users.npy"), before);
  EXPECT_EQ(folder_.files(), files);
}

}  // namespace
}  // namespace micrec
