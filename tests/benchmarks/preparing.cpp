// What a CSV file costs on its way into a dataset, step by step: seconds of the processor, MB of
// the file to each of them, and the most memory so far, beside a mere read of the file in the same
//   run: benchmark_preparing FOLDER [millions of lines] [threads] [split]
// The file is made where it is not there: 27 bytes a line, users and items skewed and in no order,
// 30,000 users and 10,000 items to a million lines. FOLDER/table.csv.gz is read where it is newer
// than the table.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "base/timer.h"
#include "data/dataset_writer.h"
#include "data/domain_files.h"
#include "data/preparation.h"
#include "tests/benchmarks/processor_seconds.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

void make_table(const std::string& path, std::int64_t lines) {
  const Random random(1, Purpose::synthetic);
  const auto users = static_cast<double>(lines) * 0.03;
  const auto items = static_cast<double>(lines) * 0.01;
  std::ofstream file(path, std::ios::binary);
  file << "user_id,item_id,timestamp\n";
  char line[80];
  for (std::int64_t i = 0; i < lines; ++i) {
    const auto user = static_cast<long long>(users * std::pow(random.uniform(i, 0), 1.5));
    const auto item = static_cast<long long>(items * std::pow(random.uniform(i, 1), 3.0));
    const auto time = static_cast<long long>(1'400'000'000 + random.index(63'072'000, i, 2));
    file.write(line, std::snprintf(line, sizeof line, "u%lld,i%lld,%lld\n", user, item, time));
  }
}

void read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes(1 << 18);
  while (file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
  }
}

void run(const std::string& folder, std::int64_t lines, int threads, const std::string& split) {
  const std::string plain = folder + "/table.csv";
  const std::string packed = plain + ".gz";
  if (!fs::exists(plain)) make_table(plain, lines);
  const bool is_packed =
      fs::exists(packed) && fs::last_write_time(packed) > fs::last_write_time(plain);
  const double mb = static_cast<double>(fs::file_size(plain)) / 1e6;
  const ComputeThreads scope(threads);
  std::printf("%s, %.0f MB as text, %d threads\n", (is_packed ? packed : plain).c_str(), mb,
              threads);
  double before = processor_seconds();
  double all = 0;
  Timer timer;
  const auto tell = [&](const char* step, bool counts) {
    const double seconds = processor_seconds() - before;
    all += counts ? seconds : 0;
    std::printf("%-8s %7.2f s of the processor  %7.2f s  %7.0f MB/s  %7.0f MiB at most\n", step,
                seconds, timer.seconds(), mb / seconds, peak_memory_bytes() / 1048576);
    before = processor_seconds();
    timer.restart();
  };
  read_bytes(is_packed ? packed : plain);
  tell("bytes", false);
  std::ostringstream report;
  std::vector<RawDomain> raw;
  raw.push_back(read_domain({"table", {is_packed ? packed : plain}, false}, {}, report));
  tell("read", true);
  PreparationOptions options;
  options.split = parse_split_rule(split);
  const PreparedDataset dataset = prepare(
      std::move(raw), options, [](const PreparedDomain&) { return std::vector<FeatureTable>(); },
      report);
  tell("sort", true);
  const std::string fingerprint = write_dataset(dataset, folder + "/table.h5");
  tell("write", true);
  std::printf(
      "all      %7.2f s of the processor, %.0f MB/s; the dataset has %.0f MB, fingerprint %s\n",
      all, mb / all, static_cast<double>(fs::file_size(folder + "/table.h5")) / 1e6,
      fingerprint.c_str());
}

}  // namespace
}  // namespace micrec

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "benchmark_preparing FOLDER [millions of lines] [threads] [split]\n");
    return 2;
  }
  const std::int64_t millions = count > 2 ? std::atoll(arguments[2]) : 10;
  micrec::run(arguments[1], millions * 1'000'000, count > 3 ? std::atoi(arguments[3]) : 1,
              count > 4 ? arguments[4] : "ratio");
  return 0;
}
