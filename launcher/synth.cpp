#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"
#include "cluster/cores.h"
#include "data/synthetic.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/preparation.h"

namespace micrec {
namespace {

struct SynthOptions {
  PreparationFlags common;
  SyntheticOptions world;
  std::string modalities = to_text(world.modalities);
  int threads = 0;
};

int run_synth(SynthOptions& options, const std::vector<Flag>& flags, const Arguments& arguments) {
  const Timer timer;
  options.world.modalities = parse_synthetic_modalities(options.modalities);
  options.world.seed = options.common.seed;
  const ComputeThreads threads(chosen_threads(options.threads));
  const SyntheticWorld world(options.world);

  const PreparationOptions preparation =
      preparation_options("synth", options.common, flags, arguments);
  if (is_given(preparation.split.kind)) {
    throw Error(Cause::usage, "--split=", options.common.split,
                " is for micrec prepare; made-up data come without files.");
  }
  check_output("--out", options.common.out, arguments, {});

  std::vector<RawDomain> raw;
  for (int domain = 0; domain < options.world.domains; ++domain) {
    raw.push_back(world.domain(domain));
  }
  const auto features = [&](const PreparedDomain& domain) { return world.features(domain); };
  write_and_tell(prepare(std::move(raw), preparation, features, std::cerr), options.common.out,
                 timer);
  return 0;
}

std::vector<Flag> flags_of(SynthOptions& options) {
  SyntheticOptions& world = options.world;
  const auto one_domain = [&world] {
    return world.domains == 1 ? std::string("with --domains=1") : std::string();
  };
  const auto no_features = [&options] {
    return options.modalities.empty() ? std::string("with --modalities=") : std::string();
  };
  const std::vector<Flag> size = {
      out_flag(options.common.out, "the dataset file to write", true),
      {"domains", "Size", "", "domains", world.domains, between(1, 1000)},
      {"users", "Size", "", "users of each domain", world.users, at_least(1)},
      {"items", "Size", "", "items of each domain", world.items, at_least(2)},
      {"interactions", "Size", "", "interactions of each domain", world.interactions, at_least(1)}};
  const std::vector<Flag> overlap = {
      {"overlap", "Structure", "",
       "share of a domain's users who are users of all other domains too", world.overlap,
       between(0, 1)}};
  const std::vector<Flag> modalities = {{"modalities", "Structure", "columns",
                                         "kinds of features and their widths; empty: none",
                                         options.modalities, written_as("text:32,image:48")}};
  const std::vector<Flag> missing = {{"missing", "Structure", "",
                                      "share of items that lack a modality, for each modality",
                                      world.missing, between(0, 1)}};
  const std::vector<Flag> protocol = {
      core_flag(options.common, "Protocol", "books"),
      split_rule_flag(options.common, "ratio:8:1:1, time:8:1:1, global_time:8:1:1 or leave_one_out",
                      "how interactions are divided into training, validation and test"),
      hold_out_flag(options.common),
      seed_flag(options.common.seed),
      threads_flag(options.threads),
  };
  return size + idle_where(one_domain, overlap) + modalities + idle_where(no_features, missing) +
         protocol;
}

}  // namespace

Command synth_command() {
  Command command;
  command.name = "synth";
  command.summary = "make up a dataset of any size that has something to learn in it";
  command.usage = "micrec synth --out=FILE [flags]";
  command.example = "micrec synth --out=sample.h5";
  const auto options = std::make_shared<SynthOptions>();
  command.flags = flags_of(*options);
  command.run = [options, flags = command.flags](const Arguments& arguments) {
    return run_synth(*options, flags, arguments);
  };
  return command;
}

}  // namespace micrec
