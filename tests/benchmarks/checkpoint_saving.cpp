// How long a save in the background keeps its caller, beside the time of one copy of the state, and
// how fast it drains to the disk, beside dd of the same bytes to the same folder, in one run:
//   benchmark_checkpoints FOLDER [MB of state] [saves] [threads]
// The state is a table with both moments of Adam. Each save is preceded by a copy of the whole
// state into other memory (copy), then asked for while nothing else is written (blocked), and
// waited for; after it dd copies the shard just written (from the page cache) with fsync, into a
// file of its own.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"
#include "checkpoints/host_copy.h"
#include "checkpoints/store.h"
#include "cluster/self_communicator.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

double dd_seconds(const std::string& from, const std::string& to) {
  fs::remove(to);
  const Timer timer;
  const pid_t child = fork();
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    const std::string in = "if=" + from;
    const std::string out = "of=" + to;
    execlp("dd", "dd", in.c_str(), out.c_str(), "bs=16M", "conv=fsync", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const double seconds = timer.seconds();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw Error(Cause::io, text("dd from ", from, " to ", to, " failed"));
  }
  return seconds;
}

void run(const std::string& folder, std::int64_t megabytes, int saves, int threads) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  at::set_num_threads(threads);
  constexpr std::int64_t kDim = 64;
  const std::int64_t rows = megabytes * 1'000'000 / (3 * kDim * 4);
  CheckpointTensor table;
  table.name = "table";
  table.value = at::full({rows, kDim}, 0.5F);
  table.adam_m = at::full({rows, kDim}, 0.25F);
  table.adam_v = at::full({rows, kDim}, 0.125F);
  table.sharded = true;
  const std::vector<CheckpointTensor> state = {table};
  std::vector<GlobalNode> owned;
  for (std::int32_t row = 0; row < rows; ++row) owned.push_back(GlobalNode{row});

  SelfCommunicator self;
  const std::string directory = folder + "/checkpoints";
  CheckpointStore store(directory, self);
  store.expect(state, /*copies=*/true);
  HostCopy other;
  other.reserve(state);
  CheckpointInfo info;
  info.grid = "1x1";
  std::vector<double> copies, blocked, ratios, beside, drains, dds;
  std::printf(
      "save  copy ms  blocked ms  of it not copying ms  blocked/copy  drain MB/s  dd MB/s\n");
  for (int n = 1; n <= saves; ++n) {
    const Timer copying;
    other.take(state);
    const double copy = copying.seconds();
    info.step = n;
    const Timer starting;
    store.start_save(info, owned, state, {.keep_last = 1});
    const double start = starting.seconds();
    const SavedCheckpoint saved = store.finish_save().value();
    const double drain = static_cast<double>(saved.bytes) / 1e6 / saved.write_seconds;
    const double dd = static_cast<double>(saved.bytes) / 1e6 /
                      dd_seconds(directory + "/" + saved.name + "/shard-00000.h5", folder + "/dd");
    const double not_copying = start - saved.copy_seconds;
    std::printf("%4d  %7.2f  %10.2f  %20.3f  %12.3f  %10.0f  %7.0f\n", n, 1e3 * copy, 1e3 * start,
                1e3 * not_copying, start / copy, drain, dd);
    beside.push_back(not_copying / saved.copy_seconds);
    copies.push_back(copy);
    blocked.push_back(start);
    ratios.push_back(start / copy);
    drains.push_back(drain);
    dds.push_back(dd);
  }
  std::printf(
      "median of %d saves of %s, %d threads: copy %.2f ms, blocked %.2f ms, ratio %.3f (%.4f of "
      "its "
      "own copy goes to other things); "
      "drain %.0f MB/s, dd %.0f MB/s, ratio %.2f\n",
      saves, in_bytes(static_cast<double>(bytes_of(state))).c_str(), threads, 1e3 * median(copies),
      1e3 * median(blocked), median(ratios), median(beside), median(drains), median(dds),
      median(drains) / median(dds));
  fs::remove(folder + "/dd");
  fs::remove_all(directory);
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: benchmark_checkpoints FOLDER [MB] [SAVES] [THREADS]\n");
    return 2;
  }
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise;
  };
  micrec::run(argv[1], number(2, 300), number(3, 9), number(4, 1));
  return 0;
}
