// The ranking of users as a GPU does it, on a device that the host plays, against the CPU's.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cluster/thread_communicator.h"
#include "evaluate/evaluator.h"
#include "played_device.h"
#include "ranking_cases.h"
#include "tests/evaluate/small_world.h"

namespace micrec {
namespace {

TEST(RankingOnDevice, CountsWhatTheCpuCounts) { expect_counts_of_the_cpu(played_device()); }

TEST(RankingOnDevice, CountsEveryMixAtOnceAsTheCpuDoes) {
  expect_mixed_counts_of_the_cpu(played_device());
}

TEST(RankingOnDevice, TakesLongHistories) { expect_long_histories_of_the_cpu(played_device()); }

TEST(RankingOnDevice, SeesTheLargestNormAndWhatIsNotFinite) {
  at::Tensor rows = at::arange(12, at::kFloat).view({4, 3});
  const auto of = [](const at::Tensor& x) { return largest_row_norm(x.to(played_device())); };
  EXPECT_DOUBLE_EQ(of(rows), std::sqrt(81 + 100 + 121));
  EXPECT_EQ(of(at::zeros({0, 3})), 0);
  EXPECT_EQ(of(at::zeros({3, 0})), 0);
  EXPECT_DOUBLE_EQ(of(at::full({2, 1}, 1e25F)), static_cast<double>(1e25F)) << "no overflow";
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    rows[2][1] = bad;
    EXPECT_EQ(of(rows), HUGE_VAL) << bad;
  }
}

class EvaluationOnDevice : public testing::Test {
 protected:
  EvaluationOnDevice()
      : dataset_(written(make_dataset({}), folder_ / "dataset.h5")), space_(node_space(dataset_)) {}

  /// The reports of two ways to mix and of the product alone, on so many ranks.
  std::string evaluate(int ranks, c10::Device device, const EvaluationOptions& options,
                       bool whole) {
    constexpr std::int64_t kDim = 6;
    const std::vector<float> z = make_embeddings(space_.nodes(), kDim, whole);
    const SparseRows coefficients = make_coefficients(space_, whole);
    const Ownership ownership = make_ownership(space_, ranks);
    const std::vector<std::vector<ScoreMix>> ways = {
        {{}, {.embeddings = false, .regression = 1}},
        {{.embeddings = true, .regression = 0.5F}, {.embeddings = true, .regression = 2}}};
    std::vector<std::string> told(ranks);
    run_ranks(ranks, [&](Communicator& host) {
      const int rank = host.rank();
      const Evaluator evaluator({dataset_, space_, ownership, rank}, options);
      const SparseRows own = coefficients_of(space_, ownership, rank, coefficients);
      const std::unique_ptr<Communicator> over = over_played_device(host);
      const at::Tensor rows = rows_of(ownership, rank, z, kDim).to(device);
      Communicator& communicator = device.is_cpu() ? host : *over;
      for (const Report& report : evaluator.evaluate_ways({rows, &own}, ways, communicator)) {
        told[rank] += report.to_json().dump() + "\n";
      }
      told[rank] += evaluator.evaluate(rows, communicator).to_json().dump();
    });
    for (const std::string& of_rank : told) EXPECT_EQ(of_rank, told.front());
    return told.front();
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  NodeSpace space_;
};

TEST_F(EvaluationOnDevice, HasTheReportOfTheCpuAtAnyNumberOfRanksAndBlocks) {
  for (const bool whole : {true, false}) {
    EvaluationOptions options;
    options.split = whole ? Split::test : Split::valid;
    options.with_new_nodes = whole;
    options.k = {5, 20};
    options.histories = true;
    const std::string expected = evaluate(1, at::kCPU, options, whole);
    for (const int ranks : {1, 2, 3}) {
      for (const std::int64_t block_bytes : {std::int64_t{1} << 29, std::int64_t{3000}}) {
        options.block_bytes = block_bytes;
        EXPECT_EQ(evaluate(ranks, played_device(), options, whole), expected)
            << ranks << " ranks, blocks of " << block_bytes << " bytes";
      }
    }
  }
}

TEST_F(EvaluationOnDevice, RefusesScoresWithoutOrder) {
  const Ownership ownership = make_ownership(space_, 1);
  const Evaluator evaluator({dataset_, space_, ownership, 0}, {});
  run_ranks(1, [&](Communicator& host) {
    const std::unique_ptr<Communicator> over = over_played_device(host);
    at::Tensor rows = at::ones({space_.nodes(), 4});
    rows[3][1] = std::nanf("");
    EXPECT_THROW(evaluator.evaluate(rows.to(played_device()), *over), Error);
  });
}

/// What an evaluation asks of the device does not grow with the users, and the counts are all that
/// it reads.
TEST_F(EvaluationOnDevice, AsksLittleOfTheDevice) {
  EvaluationOptions options;
  options.slices = false;
  const Evaluator evaluator({dataset_, space_, make_ownership(space_, 1), 0}, options);
  run_ranks(1, [&](Communicator& host) {
    const std::unique_ptr<Communicator> over = over_played_device(host);
    const at::Tensor rows = at::ones({space_.nodes(), 4}).to(played_device());
    const DeviceWork before = device_work();
    evaluator.evaluate(rows, *over);
    const DeviceWork work = device_work() - before;
    std::string operators;
    for (const auto& [name, count] : work.by_operator) {
      operators += name + " " + std::to_string(count) + "\n";
    }
    std::printf("an evaluation of %zu domains: %ld launches, %ld uploads, %ld downloads\n",
                evaluator.domains().size(), work.launches, work.uploads, work.downloads);
    EXPECT_LE(work.launches, 100) << operators;
    EXPECT_EQ(work.by_operator.at("place_positives"),
              static_cast<std::int64_t>(evaluator.domains().size()));
    EXPECT_LE(work.downloads, 6) << "the norms, the counts of two domains, the metrics";
  });
}

}  // namespace
}  // namespace micrec
