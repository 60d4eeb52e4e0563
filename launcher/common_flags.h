#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/job.h"
#include "command_line/flags.h"
#include "data/dataset_file.h"
#include "io/tables/interactions_reader.h"

/// Flags that several commands have; each command has them set a field of its own.

namespace micrec {

Flag dataset_flag(std::string& path);
Flag run_dir_flag(std::string& path);
/// `meaning` says what is written. A command whose result is the file makes it required.
Flag out_flag(std::string& path, const std::string& meaning, bool is_required);
Flag seed_flag(std::uint64_t& seed);
/// Where a result is of one of the splits that are held back: valid or test.
Flag split_flag(Split& split, const std::string& meaning);
/// Lengths of ranked lists, as many as wanted: "10,20,50".
Flag k_flag(std::vector<std::int64_t>& k);
/// How many users of a domain are ranked at most.
Flag most_users_flag(std::int64_t& most_users);
/// Length of one list.
Flag single_k_flag(std::int64_t& k);
/// Which checkpoint of a run is read.
Flag checkpoint_flag(std::string& checkpoint);
/// How the files of interactions are written: --columns, --separator, --quotes.
std::vector<Flag> table_flags(const std::string& group, InteractionsOptions& reading);

Flag device_flag(JobOptions& job);
Flag threads_flag(int& threads);
/// How the ranks of a run watch each other: --deadline, --check_collectives, --watchdog.
std::vector<Flag> cluster_flags(JobOptions& job);

}  // namespace micrec
