#include "launcher/program.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <thread>

#include "base/error.h"
#include "base/path_error.h"
#include "base/text.h"
#include "cluster/launch_environment.h"
#include "command_line/manual.h"
#include "kernels/dispatch.h"

namespace micrec {
namespace {

constexpr int kExitUnexpected = 1;

void print_result(const std::string& result) {
  if (launched_or_alone().rank == 0) std::cout << result;
}

/// Throws where results have not all left for standard output: the disk behind it may be full.
void finish_results() {
  if (std::cout.flush()) return;
  // The stream has forgotten why. What was written is cut off, so one more byte does no harm.
  errno = 0;
  static_cast<void>(::write(STDOUT_FILENO, "\n", 1) == 1);
  throw Error(Cause::io, path_error("write", "standard output", errno));
}

std::string version() {
  std::string told;
  for (const auto& [name, value] : program_versions()) {
    if (told.empty()) {
      told = text(name, " ", value, "\n");
    } else {
      told += text("  ", name, std::string(17 - name.size(), ' '), value, "\n");
    }
  }
  return told;
}

/// What is left to run once flags are set: a command, or nothing where help was the whole answer.
struct Task {
  const Command* command = nullptr;
  Arguments arguments;
};

Task prepare_task(const std::vector<std::string>& words, const std::vector<Command>& commands) {
  const std::string first = words.empty() ? "help" : words.front();
  if (first == "--version" || first == "version") {
    print_result(version());
    return {};
  }
  if (first == "help" || first == "--help" || first == "-h") {
    const std::string format = "--format=";
    if (words.size() == 2 && words[1].starts_with(format)) {
      print_result(manual_of(commands, words[1].substr(format.size())));
      return {};
    }
    print_result(words.size() < 2 ? help_of(commands) : help_of(command_named(commands, words[1])));
    return {};
  }
  if (first.starts_with("-")) {
    throw Error(Cause::usage, "expected a command before the flag '", first,
                "', as in micrec train ", first, "; micrec help lists them");
  }
  const Command& command = command_named(commands, first);
  Task task{&command, parse_flags(command, {words.begin() + 1, words.end()}, commands)};
  if (task.arguments.help) {
    print_result(help_of(command));
    return {};
  }
  if (!command.tells_idle_flags && launched_or_alone().rank == 0) {
    for (const std::string& idle : idle_flags(command, task.arguments)) std::cerr << idle << "\n";
  }
  return task;
}

/// Says what was wrong before the ranks joined, and returns the exit code. All ranks read the same
/// words and mostly see the same files. mpirun ends all when one ends, so the others leave rank 0
/// the time to say it; who is alone with it, on a machine that sees other files, says it then.
int refuse(const std::string& command, const std::string& message, int exit_code) {
  const int rank = launched_or_alone().rank;
  if (rank != 0) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    if (command.empty()) return exit_code;
  }
  const std::string line = "micrec" + (command.empty() ? "" : " " + command) + ": " +
                           (rank == 0 ? "" : text("rank ", rank, ": ")) + message + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  return exit_code;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> program_versions() {
  return {{"micrec", MICREC_VERSION},
          {"compiler", MICREC_COMPILER},
          {"LibTorch", MICREC_TORCH_VERSION},
          {"MPI", MICREC_MPI_VERSION},
          {"HDF5", MICREC_HDF5_VERSION},
          {"FAISS", MICREC_FAISS_VERSION},
          {"CUDA", MICREC_CUDA_VERSION},
          {"instruction set", text(kernels().instruction_set, ", the best for this machine of ",
                                   MICREC_INSTRUCTION_SETS)}};
}

int run_program(const std::vector<std::string>& words, const std::vector<Command>& commands) {
  std::string name;
  try {
    const Task task = prepare_task(words, commands);
    if (task.command == nullptr) {
      finish_results();
      return 0;
    }
    name = task.command->name;
    const int code = task.command->run(task.arguments);
    finish_results();
    return code;
  } catch (const Error& error) {
    return refuse(name, error.what(), static_cast<int>(error.cause()));
  } catch (const std::filesystem::filesystem_error& error) {
    return refuse(name, path_error(error), static_cast<int>(Cause::io));
  } catch (const std::bad_alloc&) {
    return refuse(name, "out of memory; use more ranks, fewer columns (--dim) or a smaller --batch",
                  kExitUnexpected);
  } catch (const std::exception& error) {
    return refuse(name, text("unexpected error: ", error.what()), kExitUnexpected);
  }
}

}  // namespace micrec
