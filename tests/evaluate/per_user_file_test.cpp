#include "evaluate/per_user_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <sstream>

#include "base/error.h"
#include "cluster/thread_communicator.h"
#include "io/hdf5.h"
#include "tests/evaluate/small_world.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "tests/support/hdf5_edit.h"

namespace micrec {
namespace {

constexpr std::int64_t kWidth = 6;
const std::vector<std::string> kWanted = {"ndcg@20", "recall@5"};

class PerUserFileTest : public testing::Test {
 protected:
  PerUserFileTest() {
    write_dataset(make_dataset({}), folder_ / "dataset.h5");
    dataset_.emplace(DatasetFile::open(folder_ / "dataset.h5"));
    space_.emplace(node_space(*dataset_));
  }

  /// Evaluates on so many ranks, writes the file, and returns what rank 0 collects.
  PerUserMetrics write(int ranks, const std::string& path, std::int64_t block_bytes) {
    const Ownership ownership = make_ownership(*space_, ranks);
    const std::vector<float> z = make_embeddings(space_->nodes(), kWidth, false);
    PerUserMetrics collected;
    run_ranks(ranks, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const Evaluator evaluator({*dataset_, *space_, ownership, rank},
                                {.split = Split::test, .k = {5, 20}, .with_new_nodes = true});
      ItemsAhead ahead;
      Report report = evaluator.evaluate(rows_of(ownership, rank, z, kWidth), communicator, &ahead);
      report.checkpoint = "step-000000000007";
      const EvaluatedUsers users = {*dataset_, evaluator, ahead, report, "mf"};
      write_per_user(users, path, communicator, at::kCPU, block_bytes);
      PerUserMetrics own = collect_per_user(users, kWanted, communicator, at::kCPU, block_bytes);
      if (rank != 0) {
        EXPECT_TRUE(own.domains.empty());
        return;
      }
      collected = std::move(own);
      report_ = std::move(report);
    });
    return collected;
  }

  TemporaryFolder folder_;
  std::optional<DatasetFile> dataset_;
  std::optional<NodeSpace> space_;
  Report report_;
};

void expect_equal(const PerUserMetrics& a, const PerUserMetrics& b) {
  ASSERT_EQ(a.domains.size(), b.domains.size());
  for (std::size_t d = 0; d < a.domains.size(); ++d) {
    EXPECT_EQ(a.domains[d].user, b.domains[d].user);
    ASSERT_EQ(a.domains[d].slices.size(), b.domains[d].slices.size());
    for (std::size_t s = 0; s < a.domains[d].slices.size(); ++s) {
      const PerUserSlice& x = a.domains[d].slices[s];
      const PerUserSlice& y = b.domains[d].slices[s];
      EXPECT_EQ(x.name, y.name);
      EXPECT_EQ(x.row, y.row) << x.name;
      EXPECT_EQ(x.positives, y.positives) << x.name;
      EXPECT_EQ(x.values, y.values) << x.name;
    }
  }
}

TEST_F(PerUserFileTest, HasTheSameBytesAtAnyNumberOfRanks) {
  for (const std::int64_t block_bytes : {std::int64_t{1} << 20, std::int64_t{10'000}}) {
    const std::string one = folder_ / "one.h5";
    const PerUserMetrics expected = write(1, one, block_bytes);
    for (const int ranks : {2, 3, 5}) {
      const std::string path = folder_ / text(ranks, ".h5");
      expect_equal(write(ranks, path, block_bytes), expected);
      EXPECT_EQ(file_contents(path), file_contents(one))
          << ranks << " ranks, blocks of " << block_bytes;
    }
    expect_equal(read_per_user(one, kWanted), expected);
  }
}

TEST_F(PerUserFileTest, HoldsWhatTheReportIsTheMeanOf) {
  write(2, folder_ / "users.h5", 1 << 20);
  const PerUserMetrics read = read_per_user(folder_ / "users.h5", kWanted);
  EXPECT_EQ(read.origin.model, "mf");
  EXPECT_EQ(read.origin.checkpoint, "step-000000000007");
  EXPECT_EQ(read.origin.dataset_fingerprint, dataset_->fingerprint());
  EXPECT_EQ(read.origin.split, Split::test);
  EXPECT_EQ(read.origin.split_rule, "ratio:6:1:3");
  ASSERT_EQ(read.domains.size(), 2U);
  for (int d = 0; d < 2; ++d) {
    const DomainReport& domain = report_.domains[d];
    ASSERT_EQ(read.domains[d].slices.size(), domain.slices.size());
    for (std::size_t s = 0; s < domain.slices.size(); ++s) {
      const PerUserSlice& slice = read.domains[d].slices[s];
      const SliceReport& expected = domain.slices[s];
      EXPECT_EQ(slice.name, expected.name);
      ASSERT_EQ(static_cast<std::int64_t>(slice.row.size()), expected.users);
      std::int64_t positives = 0;
      std::vector<double> sums(kWanted.size());
      for (std::size_t u = 0; u < slice.row.size(); ++u) {
        positives += slice.positives[u];
        for (std::size_t m = 0; m < sums.size(); ++m) sums[m] += slice.values[m][u];
      }
      EXPECT_EQ(positives, expected.positives);
      const auto users = static_cast<double>(expected.users);
      EXPECT_NEAR(sums[0] / users, report_.value(expected, Metric::ndcg, 20), 1e-9);
      EXPECT_NEAR(sums[1] / users, report_.value(expected, Metric::recall, 5), 1e-9);
    }
  }
}

TEST_F(PerUserFileTest, SlicesPointAtTheUsersWhoAreInThem) {
  write(3, folder_ / "users.h5", 1 << 20);
  const PerUserMetrics read = read_per_user(folder_ / "users.h5", kWanted);
  for (int d = 0; d < 2; ++d) {
    const std::vector<std::string> keys = dataset_->user_keys(d);
    const std::vector<std::uint8_t> is_new = dataset_->new_users(d);
    std::set<std::string> expected;
    for (std::size_t u = 0; u < keys.size(); ++u) {
      if (is_new[u] != 0) expected.insert(keys[u]);
    }
    std::set<std::string> found;
    std::size_t users = 0;
    for (const PerUserSlice& slice : read.domains[d].slices) {
      if (slice.name != "new_users") continue;
      for (const std::int32_t row : slice.row) found.insert(read.domains[d].user[row]);
      users = slice.row.size();
    }
    EXPECT_GT(users, 0U);
    EXPECT_EQ(found.size(), users);
    for (const std::string& key : found) EXPECT_EQ(expected.count(key), 1U) << key;
    EXPECT_TRUE(std::is_sorted(read.domains[d].user.begin(), read.domains[d].user.end()));
  }
}

TEST_F(PerUserFileTest, IsDescribedInWords) {
  write(1, folder_ / "users.h5", 1 << 20);
  std::ostringstream told;
  describe_per_user(folder_ / "users.h5", told);
  expect_has(told.str(),
             {"mf", "test of ratio:6:1:3", "5,20", dataset_->fingerprint(), "domain domain0",
              "ranked among 70 items", "items_degree_4_7", "cold_items/among_themselves"});
}

TEST_F(PerUserFileTest, ReaderRefusesWhatIsNotAsDocumented) {
  const std::string path = folder_ / "users.h5";
  const auto refused = [&](const std::string& part) {
    expect_error(Cause::data, {part}, [&] { read_per_user(path, kWanted); });
  };
  const auto damage = [&](const std::function<void(Hdf5Edit&)>& edit) {
    write(1, path, 1 << 20);
    Hdf5Edit file(path);
    edit(file);
  };
  const double not_a_number = std::nan("");
  damage([&](Hdf5Edit& file) {
    file.write_rows("/domains/domain1/ndcg@20", {3, 4}, &not_a_number);
  });
  refused("has a metric of nan at row 3");
  const std::int32_t far = 10'000;
  damage([&](Hdf5Edit& file) {
    file.write_rows("/domains/domain0/slices/items_degree_4_7/row", {1, 2}, &far);
  });
  refused("/row is 10000 at 1");
  {
    Hdf5File file = Hdf5File::create(path);
    file.write<float>("/key", {1, 2});
    file.close();
  }
  refused("is no file of metrics by user");
  write(1, path, 1 << 20);
  EXPECT_THROW(read_per_user(path, {"ndcg@7"}), Error);
}

}  // namespace
}  // namespace micrec
