#include "cluster/device.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

// The first NCCL that lets ranks share a GPU where it is asked to, as an experiment of its own.
constexpr int kFirstNcclThatShares = 23000;
constexpr std::size_t kMostGpus = 64;  // of a machine
constexpr std::size_t kMostReasonBytes = 256;

// What a rank tells the others, as it travels.
struct Report {
  std::array<char, 8> wanted{};
  std::array<char, kMostReasonBytes> why_none{};
  std::int32_t local_rank = -1;
  std::int32_t started_together = 1;
  std::int32_t gpus = 0;
  std::int32_t nccl_version = 0;
  std::int32_t sharing_asked_for = 0;
  std::int32_t has_driver = 0;
  std::array<VisibleGpus::Identity, kMostGpus> identities{};
};

Report report_of(const std::string& wanted, const VisibleGpus& visible,
                 const LaunchEnvironment& launch) {
  Report own;
  std::memcpy(own.wanted.data(), wanted.data(), wanted.size());
  std::memcpy(own.why_none.data(), visible.why_none.data(),
              std::min(visible.why_none.size(), kMostReasonBytes - 1));
  own.local_rank = launch.local_rank;
  own.started_together = std::max(launch.size, launch.local_size);
  own.gpus = static_cast<std::int32_t>(std::min(visible.identities.size(), kMostGpus));
  std::copy_n(visible.identities.begin(), own.gpus, own.identities.begin());
  own.nccl_version = visible.nccl_version;
  own.sharing_asked_for = visible.sharing_asked_for ? 1 : 0;
  own.has_driver = visible.has_driver ? 1 : 0;
  return own;
}

// Who gets which GPU: each rank in turn takes the first of its GPUs that is free, and where none
// is, those before it move to others of theirs if that helps.
class Assignment {
 public:
  explicit Assignment(const std::vector<Report>& reports) : reports_(reports) {
    for (const Report& report : reports) {
      for (std::int32_t g = 0; g < report.gpus; ++g) {
        numbers_.emplace(report.identities[g], static_cast<int>(numbers_.size()));
      }
    }
    holders_.assign(numbers_.size(), -1);
    for (std::size_t rank = 0; rank < reports.size(); ++rank) {
      std::vector<bool> tried(numbers_.size(), false);
      if (!place(static_cast<int>(rank), tried)) without_.push_back(static_cast<int>(rank));
    }
  }

  std::int64_t gpus() const { return std::ssize(numbers_); }
  const std::vector<int>& ranks_without() const { return without_; }
  int ranks_that_see_the_gpus_of(int rank) const {
    const auto shares_one = [&](const Report& report) {
      return std::any_of(report.identities.begin(), report.identities.begin() + report.gpus,
                         [&](const auto& gpu) { return sees(reports_[rank], gpu); });
    };
    return static_cast<int>(std::ranges::count_if(reports_, shares_one));
  }
  /// The rank's own number of the GPU it holds, or nothing.
  std::optional<int> device_of(int rank) const {
    for (std::int32_t g = 0; g < reports_[rank].gpus; ++g) {
      if (holders_[numbers_.at(reports_[rank].identities[g])] == rank) return g;
    }
    return std::nullopt;
  }

 private:
  static bool sees(const Report& report, const VisibleGpus::Identity& identity) {
    const auto end = report.identities.begin() + report.gpus;
    return std::find(report.identities.begin(), end, identity) != end;
  }

  bool place(int rank, std::vector<bool>& tried) {
    const Report& report = reports_[rank];
    const std::int32_t first = std::max(report.local_rank, 0);
    for (const bool only_free : {true, false}) {
      for (std::int32_t i = 0; i < report.gpus; ++i) {
        const int gpu = numbers_.at(report.identities[(first + i) % report.gpus]);
        if (only_free ? holders_[gpu] >= 0 : tried[gpu]) continue;
        tried[gpu] = true;
        if (only_free || place(holders_[gpu], tried)) {
          holders_[gpu] = rank;
          return true;
        }
      }
    }
    return false;
  }

  const std::vector<Report>& reports_;
  std::map<VisibleGpus::Identity, int> numbers_;
  std::vector<int> holders_;  // (GPUs) rank, or -1
  std::vector<int> without_;
};

std::string word_of(const Report& report) { return report.wanted.data(); }

// Throws where ranks have no GPU of their own and may not share one either.
void check_sharing(const Assignment& assignment, const std::vector<Report>& reports) {
  if (assignment.ranks_without().empty()) return;
  const int rank = assignment.ranks_without().front();
  const bool asked = reports[rank].sharing_asked_for != 0;
  if (asked && reports[rank].nccl_version >= kFirstNcclThatShares) return;
  const std::string first = nccl_version_name(kFirstNcclThatShares);
  throw Error(Cause::cluster, assignment.ranks_that_see_the_gpus_of(rank), " ranks see the ",
              reports[rank].gpus == 1 ? "one GPU" : text(reports[rank].gpus, " GPUs"), " of rank ",
              rank,
              asked ? text(", and NCCL ", nccl_version_name(reports[rank].nccl_version),
                           " cannot share a GPU although NCCL_MULTI_RANK_GPU_ENABLE is set (",
                           first, " or newer can)")
                    : "",
              "; start one rank a GPU, or use --device=cpu",
              asked ? ""
                    : text(" (with NCCL ", first,
                           " or newer NCCL_MULTI_RANK_GPU_ENABLE=1 lets ranks share)"));
}

}  // namespace

std::string nccl_version_name(int version) {
  // Up to 2.8 a version had two digits fewer.
  const int scale = version < 10'000 ? 1'000 : 10'000;
  return text(version / scale, ".", version % scale / 100, ".", version % 100);
}

bool nvidia_driver_is_loaded() {
  std::error_code ignored;
  return std::filesystem::exists("/proc/driver/nvidia/version", ignored);
}

DeviceChoice choose_device(const std::string& wanted, const VisibleGpus& visible,
                           const LaunchEnvironment& launch, Communicator& world) {
  if (wanted != "auto" && wanted != "cpu" && wanted != "cuda") {
    throw Error(Cause::usage, "the device '", wanted,
                "' cannot be used; expected auto, cpu or cuda");
  }
  const Report own = report_of(wanted, visible, launch);
  const std::vector<Report> reports = gather_values(world, "job.devices", own);
  const int ranks = world.size();

  for (int q = 1; q < ranks; ++q) {
    if (word_of(reports[q]) == word_of(reports[0])) continue;
    throw Error(Cause::cluster, "rank 0 was started with --device=", word_of(reports[0]),
                " and rank ", q, " with --device=", word_of(reports[q]),
                "; give all ranks the same");
  }
  if (wanted == "cpu") return {};
  if (ranks == 1 && own.started_together > 1) {
    throw Error(Cause::cluster, "the launcher started ", own.started_together,
                " processes, but each is alone and would take the same GPU; use the mpirun of the "
                "MPI that this program was built with, or srun --mpi=pmix");
  }
  for (int q = 0; q < ranks; ++q) {
    if (reports[q].gpus > 0) continue;
    const std::string why = text(ranks > 1 ? text("rank ", q, " of ", ranks, " sees") : "there is",
                                 " no GPU: ", reports[q].why_none.data());
    if (wanted == "auto") {
      const bool is_surprising =
          std::ranges::any_of(reports, [](const Report& report) { return report.has_driver != 0; });
      return {c10::Device(c10::kCPU), is_surprising ? why : ""};
    }
    throw Error(Cause::cluster, "--device=cuda, but ", why,
                "; mend that, or compute on the CPU with --device=cpu");
  }

  const Assignment assignment(reports);
  check_sharing(assignment, reports);
  const int rank = world.rank();
  const int device = assignment.device_of(rank).value_or(
      (own.local_rank >= 0 ? own.local_rank : rank) % std::max(own.gpus, 1));
  DeviceChoice choice;
  choice.device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
  if (!assignment.ranks_without().empty()) {
    choice.note = text(ranks, " ranks share ", assignment.gpus(), " GPUs");
  }
  return choice;
}

}  // namespace micrec
