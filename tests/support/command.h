#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace micrec {

struct CommandOutcome {
  int exit_code = -1;  // 128 + signal where one ended the process
  std::string output;  // stdout and stderr together
};

/// Runs a command of the shell.
inline CommandOutcome shell(const std::string& command) {
  CommandOutcome outcome;
  std::FILE* pipe = popen(("exec 2>&1; " + command).c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer;
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  outcome.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return outcome;
}

/// Runs a script, named from tests/ on, by the oracles' Python, or by any where there is none, and
/// expects it to succeed. Returns what it said.
inline std::string run_python(const std::string& script, const std::vector<std::string>& words) {
  const std::string python = MICREC_PYTHON;
  std::string command = "exec '" + (python.empty() ? "python3" : python) + "' '" +
                        (std::filesystem::path(MICREC_SOURCE_DIR) / "tests" / script).string() +
                        "'";
  for (const std::string& word : words) command += " '" + word + "'";
  const CommandOutcome outcome = shell(command);
  EXPECT_EQ(outcome.exit_code, 0) << command << "\n" << outcome.output;
  return outcome.output;
}

}  // namespace micrec
