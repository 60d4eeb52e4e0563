#pragma once

#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/path_error.h"
#include "base/text.h"
#include "cluster/communicator.h"

namespace micrec {

/// What went wrong in the part of a common task that one rank does alone.
struct Failure {
  Cause cause = Cause::io;
  std::string message;
  bool is_newer_format = false;  ///< an older checkpoint is no answer to it
};

/// A checkpoint that only a newer program can read. It is not damaged: whoever stepped over it
/// would lose what it holds.
class NewerFormat : public Error {
 public:
  explicit NewerFormat(const std::string& message) : Error(Cause::checkpoint, message) {}
};

/// Runs a task of this rank alone. An exception is kept and not thrown, since a rank that left now
/// would leave the others waiting in the next collective.
template <typename Task>
std::optional<Failure> attempt(const Task& task) {
  try {
    task();
  } catch (const NewerFormat& error) {
    return Failure{error.cause(), error.what(), true};
  } catch (const Error& error) {
    return Failure{error.cause(), error.what()};
  } catch (const std::filesystem::filesystem_error& error) {
    return Failure{Cause::io, path_error(error)};
  } catch (const std::exception& error) {
    return Failure{Cause::io, text("unexpected failure: ", error.what())};
  }
  return std::nullopt;
}

/// The failure of the lowest rank that had one, with its rank in the message, the same on all
/// ranks. Ranks: collective.
std::optional<Failure> first_failure(Communicator& communicator, const char* name,
                                     const std::optional<Failure>& own);

/// Throws the first failure on all ranks, if there was one. Ranks: collective.
void throw_together(Communicator& communicator, const char* name,
                    const std::optional<Failure>& own);
/// Attempts a task and throws the first failure on all ranks. Ranks: collective.
template <typename Task>
void attempt_together(Communicator& communicator, const char* name, const Task& task) {
  throw_together(communicator, name, attempt(task));
}

/// Throws a failure as the exception that it was.
[[noreturn]] void throw_failure(const Failure& failure);

/// The texts of all ranks, on all ranks. Ranks: collective.
std::vector<std::string> gather_texts(Communicator& communicator, const char* name,
                                      const std::string& text);

/// Rank 0's text on all ranks. Ranks: collective.
std::string broadcast_text(Communicator& communicator, const char* name, const std::string& text);

}  // namespace micrec
