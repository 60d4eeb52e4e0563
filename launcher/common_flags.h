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

struct FilterOptions;
struct LaterFiles;

Flag dataset_flag(std::string& path);
Flag run_dir_flag(std::string& path);
/// `meaning` says what is written. A command whose result is the file makes it required.
Flag out_flag(std::string& path, const std::string& meaning, bool is_required);
/// Refuses an output before anything is opened to write and before long work for it begins.
/// `inputs` are the files that the command reads; its flagfiles count by themselves. An empty path
/// is no output.
///
/// Errors   Error(io) where it cannot be written, Error(usage) where it is one of the inputs, or
///          what some run has written about itself.
void check_output(const std::string& flag, const std::string& path, const Arguments& arguments,
                  const std::vector<std::string>& inputs);
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
/// The flags that say what came after a run was trained: --items, --observed and how the files of
/// the latter are written, and `history` where that is another such file. Of commands that read a
/// run.
std::vector<Flag> addition_flags(LaterFiles& files, const std::string* history = nullptr);
/// Which items lists are made of: --only_items, --exclude_items, --attributes, --where, --at_most
/// and --min_degree.
std::vector<Flag> filter_flags(FilterOptions& options);

Flag device_flag(JobOptions& job);
Flag threads_flag(int& threads);
/// How the ranks of a run watch each other: --deadline, --check_collectives, --watchdog.
std::vector<Flag> cluster_flags(JobOptions& job);

}  // namespace micrec
