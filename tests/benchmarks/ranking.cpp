// Times the exact ranking of every user against all items, and the search for the best items,
// against LibTorch's matrix product and topk on the same embeddings, in one run; then the ranking
// with a linear term too, with one mix and with as many as a choice tries:
//   benchmark_ranking [threads] [users] [items] [dim]
// gowalla's size by default. LibTorch's scores are made in blocks that fit its caches best of those
// tried.

#include "evaluate/ranking.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "base/timer.h"
#include "made_ranking.h"

namespace micrec {
namespace {

constexpr int kRepeats = 5;
constexpr std::int64_t kTopK = 20;

double median_seconds(const std::function<void()>& body) {
  std::vector<double> seconds;
  body();
  for (int i = 0; i < kRepeats; ++i) {
    const Timer timer;
    body();
    seconds.push_back(timer.seconds());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
  return seconds[kRepeats / 2];
}

void run(int threads, std::int64_t users, std::int64_t items, std::int64_t dim) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  at::set_num_threads(threads);
  const ComputeThreads scope(threads);
  const at::Tensor user_rows = at::randn({users, dim});
  const at::Tensor item_rows = at::randn({items, dim});
  const std::span<const float> u(user_rows.const_data_ptr<float>(), users * dim);
  const std::span<const float> i(item_rows.const_data_ptr<float>(), items * dim);
  const NumberLists positives = make_lists(users, items, kPositives, 0);
  const NumberLists masked = make_lists(users, items, kMasked, 1);
  std::vector<std::int32_t> row_of(items);
  for (std::int64_t n = 0; n < items; ++n) row_of[n] = static_cast<std::int32_t>(n);
  const std::vector<std::uint8_t> group(items, 0);
  const double operations = 2.0 * static_cast<double>(users * items * dim);

  std::printf("%lld users x %lld items x %lld columns, %d threads, kernels %s\n",
              static_cast<long long>(users), static_cast<long long>(items),
              static_cast<long long>(dim), threads, kernels().instruction_set);
  const auto report = [&](const char* what, double seconds) {
    std::printf("  %-52s %7.3f s %7.1f GFLOP/s\n", what, seconds, operations / seconds * 1e-9);
  };

  const double rank_seconds = median_seconds([&] {
    const Candidates candidates(i, dim, 0, row_of, group, 1);
    std::vector<float> scores(positives.values.size());
    std::vector<std::int32_t> ahead(positives.values.size(), 0);
    score_pairs(candidates, {u}, positives, kProductAlone, scores);
    count_ahead(candidates, {u}, positives, kProductAlone, scores, masked, ahead);
  });
  report("micrec: exact ranks of the test items", rank_seconds);

  const SparseRows coefficients = make_coefficients(items);
  const NumberLists histories = make_popular_lists(users, items, kMasked, 3);
  std::vector<std::int32_t> own_history(users);
  std::iota(own_history.begin(), own_history.end(), 0);
  const RankedUsers people = {u, &histories, own_history};
  const auto seconds_with = [&](std::span<const ScoreMix> mixes) {
    return median_seconds([&] {
      const Candidates candidates(i, dim, 0, row_of, group, 1, coefficients);
      std::vector<float> scores(positives.values.size() * mixes.size());
      std::vector<std::int32_t> ahead(positives.values.size() * mixes.size(), 0);
      score_pairs(candidates, people, positives, mixes, scores);
      count_ahead(candidates, people, positives, mixes, scores, masked, ahead);
    });
  };
  const std::vector<ScoreMix> mixes = make_mixes();
  const double linear_seconds = seconds_with(std::span(mixes).subspan(1, 1));
  report("micrec: the same with a linear term", linear_seconds);
  const double mixes_seconds = seconds_with(mixes);
  report("micrec: the same with nine mixes of both", mixes_seconds);
  std::printf("  the linear term: %.2f of the time without, nine mixes: %.2f\n",
              linear_seconds / rank_seconds, mixes_seconds / rank_seconds);

  const double top_seconds = median_seconds([&] {
    const Candidates candidates(i, dim, 0, row_of, group, 1);
    top_k(candidates, {u}, masked, {}, kTopK);
  });
  report("micrec: the 20 best items", top_seconds);

  double product_seconds = 1e300;
  double product_top_seconds = 1e300;
  for (const std::int64_t block : {256, 1024}) {
    const auto blocks = [&](bool with_top) {
      for (std::int64_t first = 0; first < users; first += block) {
        const at::Tensor part = user_rows.narrow(0, first, std::min(block, users - first));
        const at::Tensor scores = at::matmul(part, item_rows.t());
        if (with_top) scores.topk(std::min(kTopK, items));
      }
    };
    product_seconds = std::min(product_seconds, median_seconds([&] { blocks(false); }));
    product_top_seconds = std::min(product_top_seconds, median_seconds([&] { blocks(true); }));
  }
  report("LibTorch: matrix product alone", product_seconds);
  report("LibTorch: matrix product and topk, nothing masked", product_top_seconds);
  std::printf(
      "  exact ranks in %.2f of the time of the matrix product alone, %.2f of that with topk;\n"
      "  the 20 best in %.2f of the time with topk\n",
      rank_seconds / product_seconds, rank_seconds / product_top_seconds,
      top_seconds / product_top_seconds);
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  const auto argument = [&](int n, long otherwise) {
    return argc > n ? std::strtol(argv[n], nullptr, 10) : otherwise;
  };
  micrec::run(static_cast<int>(argument(1, 2)), argument(2, 29858), argument(3, 40981),
              argument(4, 64));
}
