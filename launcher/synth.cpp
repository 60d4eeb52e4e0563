#include <gflags/gflags.h>

#include <algorithm>
#include <iostream>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "data/dataset_format.h"
#include "data/synthetic.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/preparation.h"

DEFINE_int32(domains, 2, "domains");
DEFINE_int64(interactions, 40000, "interactions of each domain");
DEFINE_double(overlap, 0.5, "share of a domain's users who are users of all other domains too");
DEFINE_double(missing, 0.3, "share of items that lack a modality, for each modality");

namespace micrec {
namespace {

std::vector<SyntheticModality> parse_modalities(const std::string& value) {
  std::vector<SyntheticModality> modalities;
  std::set<std::string> names;
  for (const std::string& part : split(value, ',')) {
    const std::size_t colon = std::min(part.find(':'), part.size());
    const std::string name = part.substr(0, colon);
    const std::int64_t width =
        parse_integer(std::string_view(part).substr(std::min(colon + 1, part.size()))).value_or(0);
    if (width < 1 || !dataset_format::is_valid_name(name) || !names.insert(name).second) {
      throw Error(Cause::usage, text("--modalities=", value, ": cannot read '", part,
                                     "'; expected NAME:WIDTH with commas between, as in "
                                     "text:32,image:48, each name once."));
    }
    modalities.push_back({name, width});
  }
  return modalities;
}

/// Counts are text flags here because another command has text flags of the same names.
Bound count_at_least(std::int64_t least) {
  const std::string expected = text("a whole number, at least ", least);
  return written_as(expected, [least, expected](const std::string& value) {
    const auto count = parse_integer(value);
    return count && *count >= least ? std::string() : expected;
  });
}

int run_synth(const Arguments& arguments) {
  const Timer timer;
  SyntheticOptions world_options;
  world_options.domains = FLAGS_domains;
  world_options.users = *parse_integer(FLAGS_users);
  world_options.items = *parse_integer(FLAGS_items);
  world_options.interactions = FLAGS_interactions;
  world_options.overlap = FLAGS_overlap;
  world_options.modalities = parse_modalities(FLAGS_modalities);
  world_options.missing = FLAGS_missing;
  world_options.seed = FLAGS_seed;
  world_options.threads = chosen_threads();
  const SyntheticWorld world(world_options);

  const PreparationOptions options = preparation_options_from_flags(synth_command(), arguments);
  if (is_given(options.split.kind)) {
    throw Error(Cause::usage, text("--split=", FLAGS_split,
                                   " is for micrec prepare; made-up data come without files."));
  }
  check_output("--out", FLAGS_out, arguments, {});

  std::vector<RawDomain> raw;
  for (int domain = 0; domain < world_options.domains; ++domain) {
    raw.push_back(world.domain(domain));
  }
  const auto features = [&](const PreparedDomain& domain) { return world.features(domain); };
  write_and_tell(prepare(std::move(raw), options, features, std::cerr), timer);
  return 0;
}

}  // namespace

Command synth_command() {
  Command command;
  command.name = "synth";
  command.summary = "make up a dataset of any size that has something to learn in it";
  command.usage = "micrec synth --out=FILE [flags]";
  command.example = "micrec synth --out=sample.h5";
  command.flags = {
      out_flag("the dataset file to write", true),
      {"domains", "Size", "", between(1, 1000)},
      {"users", "Size", "", count_at_least(1), "2000", "users of each domain"},
      {"items", "Size", "", count_at_least(2), "1000", "items of each domain"},
      {"interactions", "Size", "", at_least(1)},
      {"overlap", "Structure", "", between(0, 1)},
      {"modalities", "Structure", "columns", written_as("text:32,image:48"), "text:32,image:48",
       "kinds of features and their widths; empty: none"},
      {"missing", "Structure", "", between(0, 1)},
      {"core", "Protocol", "interactions", written_as("5, user:5,item:3 or 5,books/item:3")},
      {"split", "Protocol", "",
       written_as("ratio:8:1:1, time:8:1:1, global_time:8:1:1 or leave_one_out"), "ratio:8:1:1",
       "how interactions are divided into training, validation and test"},
      {"hold_out", "Protocol", "shares",
       written_as("interactions:0.2,users:0.2,items:0.2,cold_items:0.1, or some of them")},
      seed_flag(),
      threads_flag(),
  };
  command.run = run_synth;
  return command;
}

}  // namespace micrec
