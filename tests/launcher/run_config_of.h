#pragma once

#include <string>
#include <vector>

#include "command_line/command.h"
#include "launcher/complete_run.h"
#include "launcher/run_flags.h"
#include "run/run_config.h"

namespace micrec {

/// The configuration that the words after `micrec train` say. Errors: those of parse_flags() and of
/// complete().
inline RunConfig run_config_of(const std::vector<std::string>& words) {
  RunConfig config;
  Command train;
  train.name = "train";
  train.flags = run_flags(config);
  complete(config, train, parse_flags(train, words));
  return config;
}

}  // namespace micrec
