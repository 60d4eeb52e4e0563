#include "launcher/common_flags.h"

#include <gflags/gflags.h>
#include <sched.h>

#include <algorithm>
#include <optional>

#include "base/text.h"

DEFINE_string(dataset, "", "the dataset, as micrec prepare or micrec synth made it");
DEFINE_string(run_dir, "", "the folder of the run: its configuration, metrics and checkpoints");
DEFINE_string(out, "", "the file to write");
DEFINE_uint64(seed, 0, "seed of everything random; the same seed gives the same result");
DEFINE_int32(threads, 0, "threads of each rank; 0: its share of the machine's cores");
DEFINE_string(k, "10,20,50", "lengths of the ranked lists that metrics look at");
DEFINE_string(device, "auto", "where to compute; auto: on GPUs where every rank has one");
DEFINE_double(deadline, 300,
              "longest wait of a rank for the others in one collective; then the run ends and "
              "names the rank that hangs");
#ifdef NDEBUG
constexpr bool kCheckCollectives = false;
#else
constexpr bool kCheckCollectives = true;
#endif
DEFINE_bool(check_collectives, kCheckCollectives,
            "compare name, type and sizes of each collective on all ranks before it runs; slower, "
            "on GPUs most");
DEFINE_bool(watchdog, true,
            "start each of several ranks under a process that says why the rank died; without it "
            "a debugger sees the rank itself");
// Several commands have a flag of these names, each with its own meaning, default and bound.
DEFINE_string(split, "", "the part of the interactions, or how they are divided");
DEFINE_string(modalities, "", "kinds of features");
DEFINE_string(users, "", "users");
DEFINE_string(items, "", "items");
DEFINE_string(
    checkpoint, "best",
    "which checkpoint: best (by validation; the newest where none was validated), newest, or "
    "the name of one, as in step-000000001200");

namespace micrec {
namespace {

constexpr int kLongestList = 10'000;

std::string check_device(const std::string& value) {
  return value == "auto" || value == "cpu" || value == "cuda" ? "" : "auto, cpu or cuda";
}

}  // namespace

FlagSpec dataset_flag() { return may_change({"dataset", "Files", "FILE"}); }

FlagSpec run_dir_flag() { return may_change({"run_dir", "Files", "FOLDER"}); }

FlagSpec out_flag(const std::string& meaning, bool is_required) {
  return {"out", "Files", "FILE", is_required ? required() : Bound{}, std::nullopt, meaning};
}

FlagSpec seed_flag() { return {"seed", "Running", "", at_least(0)}; }

FlagSpec threads_flag() { return may_change({"threads", "Running", "threads", between(0, 1024)}); }

FlagSpec k_flag() {
  Bound bound = list_at_least(1);
  bound.maximum = kLongestList;
  return may_change({"k", "Results", "items", bound});
}

FlagSpec single_k_flag(int default_value) {
  const Bound bound = written_as(text("from 1 to ", kLongestList), [](const std::string& value) {
    const std::optional<std::int64_t> length = parse_integer(value);
    return length && *length >= 1 && *length <= kLongestList
               ? std::string()
               : text("a whole number from 1 to ", kLongestList);
  });
  return {
      "k", "Results", "items", bound, std::to_string(default_value), "how many items to recommend"};
}

FlagSpec device_flag() {
  return may_change({"device", "Running", "", written_as("auto, cpu or cuda", check_device)});
}

std::vector<FlagSpec> cluster_flags() {
  return {may_change({"deadline", "Cluster", "seconds", above(0)}),
          may_change({"check_collectives", "Cluster", ""}),
          may_change({"watchdog", "Cluster", ""})};
}

FlagSpec checkpoint_flag() {
  return {"checkpoint", "Files", "",
          written_as("best, newest or a name", [](const std::string& value) {
            return value == "best" || value == "newest" || value.starts_with("step-")
                       ? std::string()
                       : "best, newest or the name of a checkpoint, as in step-000000001200";
          })};
}

int chosen_threads() {
  if (FLAGS_threads > 0) return FLAGS_threads;
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? std::max(1, CPU_COUNT(&allowed)) : 1;
}

}  // namespace micrec
