// What the search for nearest items by features takes: a line of CSV a size and way.
//
//   benchmark_nearest_items SEARCH THREADS ITEMS...      SEARCH: exact or approximate
//
// Rows are those that `micrec synth` would make: 8 hidden columns around topics of a hundred items,
// 384 columns that are a linear image of these with noise of half its size. CPU seconds are of all
// threads; memory is what the search added to the rows, beside what micrec plan would count for it.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/parallel.h"
#include "base/random.h"
#include "base/timer.h"
#include "graph/approximate_neighbours.h"
#include "tests/benchmarks/processor_seconds.h"

namespace micrec {
namespace {

constexpr std::int64_t kWidth = 384;
constexpr std::int64_t kHidden = 8;
constexpr std::int64_t kItemsOfTopic = 100;
constexpr int kNeighbours = 30;  // as item regression takes

at::Tensor made_up_rows(std::int64_t items) {
  const Random random(0, Purpose::synthetic);
  const auto normal = [&](std::int64_t id, std::uint32_t draw) {
    return static_cast<float>(random.normal(static_cast<std::uint64_t>(id), draw)[0]);
  };
  at::Tensor rows = at::empty({items, kWidth}, at::kFloat);
  float* const to = rows.mutable_data_ptr<float>();
  std::vector<float> image(kHidden * kWidth);
  for (std::int64_t n = 0; n < kHidden * kWidth; ++n) image[n] = normal(n, 0);
  parallel_for(items, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      float hidden[kHidden];
      for (std::int64_t h = 0; h < kHidden; ++h) {
        hidden[h] =
            normal(item / kItemsOfTopic * kHidden + h, 1) + 0.6F * normal(item * kHidden + h, 2);
      }
      for (std::int64_t c = 0; c < kWidth; ++c) {
        float clean = 0;
        for (std::int64_t h = 0; h < kHidden; ++h) clean += hidden[h] * image[h * kWidth + c];
        to[item * kWidth + c] =
            clean / std::sqrt(static_cast<float>(kHidden)) + 0.5F * normal(item * kWidth + c, 3);
      }
    }
  });
  return rows;
}

void measure(std::int64_t items, NeighbourSearch search, int threads) {
  const ComputeThreads scope(threads);
  const at::Tensor rows = made_up_rows(items);
  NeighbourQuestion question;
  question.source = {items, kWidth, [&](std::int64_t begin, std::int64_t end, float* to) {
                       std::copy_n(rows.const_data_ptr<float>() + begin * kWidth,
                                   (end - begin) * kWidth, to);
                     }};
  question.eligible.assign(items, 1);
  question.asked_by.assign(items, 0);
  question.k = kNeighbours;
  NeighbourSearchReport report;
  const double before = peak_memory_bytes();
  const double begun = processor_seconds();
  find_neighbours(question, {.search = search}, nullptr, &report);
  const auto count = static_cast<double>(items);
  const double planned = most_search_bytes({.search = search,
                                            .eligible = count,
                                            .asked = count,
                                            .own = count,
                                            .width = kWidth,
                                            .k = kNeighbours});
  std::printf("%lld,%s,%d,%.1f,%.1f,%.4f,%.0f,%.0f\n", static_cast<long long>(items),
              report.is_exact ? "exact" : "approximate", threads, processor_seconds() - begun,
              report.seconds, report.recall, (peak_memory_bytes() - before) / (1 << 20),
              planned / (1 << 20));
  std::fflush(stdout);
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  using micrec::NeighbourSearch;
  if (argc < 4) {
    std::fprintf(stderr, "usage: benchmark_nearest_items exact|approximate THREADS ITEMS...\n");
    return 2;
  }
  std::printf("items,search,threads,cpu_seconds,seconds,recall,memory_mib,planned_mib\n");
  for (int n = 3; n < argc; ++n) {
    micrec::measure(std::atoll(argv[n]),
                    std::string_view(argv[1]) == "exact" ? NeighbourSearch::exact
                                                         : NeighbourSearch::approximate,
                    std::atoi(argv[2]));
  }
  return 0;
}
