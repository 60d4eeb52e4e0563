#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace micrec {

// What these report is where they are called, whichever function fails: `file` and `line`.

/// Expects every part in the text.
inline void expect_has(const std::string& text, const std::vector<std::string>& parts,
                       const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  for (const std::string& part : parts) {
    if (text.find(part) == std::string::npos) {
      ADD_FAILURE_AT(file, line) << "'" << part << "' is not in: " << text;
    }
  }
}

/// Expects an Error of the cause from the task, in one line. Returns its message.
inline std::string refusal_of(Cause cause, const std::function<void()>& task,
                              const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                              const std::vector<std::string>& parts = {}) {
  try {
    task();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (error.cause() != cause || message.find('\n') != std::string::npos) {
      ADD_FAILURE_AT(file, line) << "expected one line of the cause " << name_of(cause) << ", got "
                                 << name_of(error.cause()) << ": " << message;
    }
    return message;
  }
  std::string of;
  for (const std::string& part : parts) of += (of.empty() ? " with '" : ", '") + part + "'";
  ADD_FAILURE_AT(file, line) << "expected an error of the cause " << name_of(cause) << of
                             << ", got none";
  return "";
}

/// Expects an Error of the cause from the task, with every part in its message of one line.
inline void expect_error(Cause cause, const std::vector<std::string>& parts,
                         const std::function<void()>& task, const char* file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
  expect_has(refusal_of(cause, task, file, line, parts), parts, file, line);
}

}  // namespace micrec
