#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "launcher/commands.h"
#include "launcher/program.h"

namespace micrec {

struct Spoken {
  int code;
  std::string out;
  std::string err;
};

/// Runs `micrec WORDS` in this process.
inline Spoken run_here(const std::vector<std::string>& words,
                       const std::vector<Command>& commands = all_commands()) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = run_program(words, commands);
  const std::string out = testing::internal::GetCapturedStdout();
  return {code, out, testing::internal::GetCapturedStderr()};
}

}  // namespace micrec
