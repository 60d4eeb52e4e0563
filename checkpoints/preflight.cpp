#include "checkpoints/preflight.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "cluster/agreement.h"
#include "io/durable_files.h"
#include "io/hdf5.h"
#include "io/paths.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr double kReplicatedBytes = 16 << 20;    // of a checkpoint, beside the rows of nodes
constexpr double kSharedBytesOfARank = 8 << 20;  // Open MPI takes 4 MiB, in parts
constexpr std::size_t kProbeFloats = 16 * 1024;

/// Throws on all ranks if a rank has another value than rank 0. Ranks: collective.
void check_same(Communicator& communicator, const char* name, Cause cause, const std::string& what,
                const std::string& own, const std::string& advice) {
  const std::vector<std::string> all = gather_texts(communicator, name, own);
  for (int q = 1; q < communicator.size(); ++q) {
    if (all[q] == all[0]) continue;
    throw Error(cause, "rank ", q, " has another ", what, " than rank 0: expected ", all[0],
                ", got ", all[q], "; ", advice);
  }
}

double free_bytes(const std::string& path) {
  struct statvfs system {};
  if (statvfs(path.c_str(), &system) != 0) {
    refuse_path("ask for the free space of", path, errno);
  }
  return static_cast<double>(system.f_bavail) * static_cast<double>(system.f_frsize);
}

void check_shared_memory(const PreflightNeeds& needs) {
  const double needed = kSharedBytesOfARank * needs.ranks_of_machine;
  const double there = free_bytes("/dev/shm");
  if (there >= needed) return;
  throw Error(Cause::io, "/dev/shm has ", in_bytes(there), " free, expected ", in_bytes(needed),
              " for the messages of ", needs.ranks_of_machine,
              " ranks; make room there, or give the container more (docker run --shm-size=1g)");
}

/// Does in small what a save does: a folder, an HDF5 file in it, both on the disk, the folder's
/// rename.
void try_to_save(const std::string& folder, int rank, Commit commit) {
  const fs::path probe = fs::path(folder) / text(".preflight-", rank, "-", getpid());
  const std::string renamed = probe.string() + ".renamed";
  const std::optional<Failure> failure = attempt([&] {
    fs::create_directory(probe);
    const std::string path = (probe / "probe.h5").string();
    Hdf5File file = Hdf5File::create(path);
    file.write("/probe", std::vector<float>(kProbeFloats, 1.0F));
    file.close();
    sync_to_disk(path);
    sync_to_disk(probe.string());
    if (commit == Commit::rename) rename_directory(probe.string(), renamed);
  });
  std::error_code ignored;  // what could not be made need not be removed
  fs::remove_all(probe, ignored);
  fs::remove_all(renamed, ignored);
  if (!failure) return;
  throw Error(Cause::io, "no checkpoint can be saved in the run folder ", folder, ": ",
              failure->message,
              "; every rank writes its share there, give a --run_dir where it may");
}

}  // namespace

double most_checkpoint_bytes(std::int64_t nodes, std::int64_t dim) {
  return 3.0 * sizeof(float) * static_cast<double>(nodes) * static_cast<double>(dim) +
         kReplicatedBytes;
}

void preflight(const PreflightNeeds& needs, Communicator& communicator) {
  std::string program;
  attempt_together(communicator, "preflight.read_program",
                   [&] { program = digest_file("/proc/self/exe").xxh3_128; });
  check_same(communicator, "preflight.program", Cause::cluster, "micrec program", program,
             "start the same file on all machines, built once");
  check_same(communicator, "preflight.dataset", Cause::data, "dataset", needs.dataset_fingerprint,
             "give all ranks the same file");
  check_same(communicator, "preflight.device", Cause::cluster, "device", needs.device,
             "give --device=cpu or --device=cuda, on machines that all have it");
  attempt_together(communicator, "preflight.shared_memory", [&] {
    if (communicator.size() > 1) check_shared_memory(needs);
  });
  attempt_together(communicator, "preflight.save",
                   [&] { try_to_save(needs.run_dir, communicator.rank(), needs.commit); });
  attempt_together(communicator, "preflight.space", [&] {
    if (communicator.rank() != 0) return;
    const double there = free_bytes(needs.run_dir);
    const double needed = 2 * needs.checkpoint_bytes + needs.coefficient_bytes;
    if (there >= needed) return;
    throw Error(Cause::io, "the file system of ", needs.run_dir, " has ", in_bytes(there),
                " free, expected ", in_bytes(needed), " for two checkpoints",
                needs.coefficient_bytes > 0 ? " and the coefficients between items" : "",
                "; make room, or give another --run_dir");
  });
}

}  // namespace micrec
