#pragma once

#include <gflags/gflags_declare.h>

#include <string>
#include <vector>

#include "launcher/flags.h"

/// Flags that several commands have. A command lists the spec and reads the gflag.

DECLARE_string(dataset);
DECLARE_string(run_dir);
DECLARE_string(out);
DECLARE_uint64(seed);
DECLARE_int32(threads);
DECLARE_string(k);
DECLARE_string(device);
DECLARE_double(deadline);
DECLARE_bool(check_collectives);
DECLARE_bool(watchdog);
DECLARE_string(split);
DECLARE_string(modalities);
DECLARE_string(users);
DECLARE_string(items);
DECLARE_string(checkpoint);

namespace micrec {

FlagSpec dataset_flag();
FlagSpec run_dir_flag();
/// `meaning` says what is written. A command whose result is the file makes it required.
FlagSpec out_flag(const std::string& meaning, bool is_required);
FlagSpec seed_flag();
FlagSpec threads_flag();
/// Lengths of ranked lists, as many as wanted: "10,20,50". Read with integer_list("k").
FlagSpec k_flag();
/// Length of one list. Read with integer_list("k").front().
FlagSpec single_k_flag(int default_value);
FlagSpec device_flag();
/// How the ranks of a run watch each other: --deadline, --check_collectives, --watchdog.
std::vector<FlagSpec> cluster_flags();
/// Which checkpoint of a run is read.
FlagSpec checkpoint_flag();

/// Threads of a command that runs as one process: --threads, or the cores that it may run on. Where
/// ranks share cores with others, their Job decides.
int chosen_threads();

}  // namespace micrec
