// Ranks made-up users on a GPU and on the CPU, compares every count and times both:
//
//   benchmark_gpu_ranking [users] [items] [columns]
//
// gowalla's size by default. Prints a JSON object for the product alone, for a mix with a linear
// term and for nine mixes at once. Exit code 1 where a count differs, 5 where there is no GPU.
#include "evaluate/ranking.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "base/timer.h"
#include "cluster/device.h"
#include "evaluate/device_ranking.h"
#include "kernels/rows.h"
#include "made_ranking.h"

namespace micrec {
namespace {

constexpr int kRepeats = 5;  // the median of them is told

struct Ranked {
  std::vector<std::int32_t> ahead;
  double seconds;
};

class MadeUpRanking {
 public:
  MadeUpRanking(std::int64_t users, std::int64_t items, std::int64_t dim)
      : users_(at::randn({users, dim})),
        items_(at::randn({items, dim})),
        positives_(make_lists(users, items, kPositives, 0)),
        masked_(make_lists(users, items, kMasked, 1)),
        histories_(make_popular_lists(users, items, kMasked, 3)),
        own_history_(users),
        row_of_(items),
        group_(items, 0),
        coefficients_(make_coefficients(items)) {
    std::iota(own_history_.begin(), own_history_.end(), 0);
    std::iota(row_of_.begin(), row_of_.end(), 0);
  }

  Ranked on_cpu(std::span<const ScoreMix> mixes, bool linear) const {
    const ComputeThreads threads(at::get_num_threads());
    const Timer timer;
    const Candidates candidates(values_of(items_), items_.size(1), 0, row_of_, group_, 1,
                                linear ? coefficients_ : SparseRows{});
    const std::size_t pairs = positives_.values.size();
    std::vector<float> scores(mixes.size() * pairs);
    std::vector<std::int32_t> ahead(mixes.size() * pairs, 0);
    RankedUsers of_users = people(linear);
    of_users.rows = values_of(users_);
    score_pairs(candidates, of_users, positives_, mixes, scores);
    count_ahead(candidates, of_users, positives_, mixes, scores, masked_, ahead);
    return {ahead, timer.seconds()};
  }

  /// From rows and coefficients that are there, as an evaluation while training begins.
  Ranked on_gpu(std::span<const ScoreMix> mixes, bool linear, c10::Device gpu) const {
    const at::Tensor users = users_.to(gpu);
    const at::Tensor items = items_.to(gpu);
    DeviceRows coefficients;
    if (linear) {
      const at::Tensor offsets = at::tensor(coefficients_.offsets, at::kLong);
      coefficients = {(offsets.slice(0, 1) - offsets.slice(0, 0, -1)).to(at::kInt).to(gpu),
                      at::tensor(coefficients_.column, at::kInt).to(gpu),
                      at::tensor(coefficients_.value, at::kFloat).to(gpu)};
    }
    Ranked ranked;
    std::vector<double> seconds;
    for (int turn = 0; turn <= kRepeats; ++turn) {  // the first loads the kernels
      const Timer timer;
      DeviceRanking ranking(users, people(linear), positives_, masked_, mixes, 1);
      const DeviceCandidates candidates(items, 0, row_of_, group_, 1, coefficients, items_.size(0));
      ranking.score(candidates);
      ranking.count(candidates);
      ranked.ahead = ranking.ahead();
      if (turn > 0) seconds.push_back(timer.seconds());
    }
    std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
    ranked.seconds = seconds[kRepeats / 2];
    return ranked;
  }

 private:
  RankedUsers people(bool linear) const {
    return {{}, linear ? &histories_ : nullptr, own_history_, {}};
  }

  at::Tensor users_;
  at::Tensor items_;
  NumberLists positives_, masked_, histories_;
  std::vector<std::int32_t> own_history_, row_of_;
  std::vector<std::uint8_t> group_;
  SparseRows coefficients_;
};

/// Whether all counts were the CPU's.
bool run(std::int64_t users, std::int64_t items, std::int64_t dim) {
  const c10::Device gpu(c10::kCUDA, 0);
  use_device(gpu);
  const MadeUpRanking made(users, items, dim);
  const std::vector<ScoreMix> all = make_mixes();
  bool are_equal = true;
  for (const auto& mixes :
       {std::span(all).first(1), std::span(all).subspan(1, 1), std::span(all)}) {
    const bool linear = mixes.back().regression != 0;
    const Ranked here = made.on_cpu(mixes, linear);
    const Ranked there = made.on_gpu(mixes, linear, gpu);
    const bool equal = here.ahead == there.ahead;
    are_equal &= equal;
    std::printf("{\"mixes\": %zu, \"linear\": %s, \"equal\": %s, \"ms\": %.4g, \"cpu_ms\": %.4g}\n",
                mixes.size(), linear ? "true" : "false", equal ? "true" : "false",
                there.seconds * 1e3, here.seconds * 1e3);
    std::fflush(stdout);
  }
  return are_equal;
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  using namespace micrec;
  const auto argument = [&](int n, long otherwise) {
    return argc > n ? std::strtol(argv[n], nullptr, 10) : otherwise;
  };
  if (find_gpus().identities.empty()) {
    std::fprintf(stderr, "benchmark_gpu_ranking: %s\n", find_gpus().why_none.c_str());
    return 5;
  }
  return run(argument(1, 29858), argument(2, 40981), argument(3, 64)) ? 0 : 1;
}
