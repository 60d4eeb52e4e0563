// What the fit of item regression takes on a data set: a line of CSV.
//
//   benchmark_item_regression DATASET THREADS
//
// CPU seconds are of all threads: of histories with the table of hubs, then of neighbourhoods and
// their systems, for one setting of every item. Memory is the most that the process had. The digest
// is of the coefficients.
#include <xxhash.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "base/parallel.h"
#include "base/timer.h"
#include "cluster/self_communicator.h"
#include "model/item_regression/item_regression_fit.h"
#include "tests/benchmarks/processor_seconds.h"

namespace micrec {
namespace {

void measure(const char* path, int threads) {
  const ComputeThreads scope(threads);
  const DatasetFile dataset = DatasetFile::open(path);
  const DatasetSummary summary = summarise(dataset);
  SelfCommunicator alone;
  const Ownership all{1, std::vector<std::int32_t>(summary.space.nodes(), 0)};
  const Shard shard = load_shard(dataset, summary, all, Observed::training, alone);
  std::vector<std::string> modalities;
  for (const ModalityInfo& modality : dataset.domains().front().modalities) {
    modalities.push_back(modality.name);
  }
  const double begun = processor_seconds();
  const ItemRegressionFit fit(dataset, shard, modalities, ItemFeatures::kColumns, /*seed=*/0);
  const double prepared = processor_seconds();
  ItemRegressionTask task;
  task.settings = {{.alpha = std::vector<double>(modalities.size(), 2)}};
  const std::vector<ItemRegressionTask> tasks(summary.space.domains(), task);
  const SparseRows rows = std::move(fit.solve(tasks, [](double) {}).front());
  const double solved = processor_seconds();
  const std::uint64_t digest =
      XXH3_64bits(rows.value.data(), rows.value.size() * sizeof(float)) ^
      XXH3_64bits(rows.column.data(), rows.column.size() * sizeof(std::int32_t));
  const std::int64_t interactions = std::accumulate(
      summary.training_interactions.begin(), summary.training_interactions.end(), std::int64_t{0});
  std::printf(
      "interactions,threads,prepare_cpu_seconds,solve_cpu_seconds,memory_mib,coefficients,"
      "digest\n");
  std::printf("%lld,%d,%.2f,%.2f,%.0f,%lld,%016llx\n", static_cast<long long>(interactions),
              threads, prepared - begun, solved - prepared, peak_memory_bytes() / (1 << 20),
              static_cast<long long>(rows.nonzeros()), static_cast<unsigned long long>(digest));
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: benchmark_item_regression DATASET THREADS\n");
    return 2;
  }
  micrec::measure(argv[1], std::atoi(argv[2]));
  return 0;
}
