#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace micrec {

/// One line of a flagfile.
struct FlagSetting {
  std::string name;
  std::string value;
  std::string origin;  ///< "runs/fk/config.txt:3", for messages
};

/// One word of a command line or line of a flagfile, taken apart: --name[=value]. --run-dir is
/// --run_dir.
struct FlagWord {
  std::string name;  ///< empty where it names none
  std::optional<std::string> value;
};
FlagWord take_apart(const std::string& word);

/// More is no flag file.
inline constexpr std::int64_t kMostFlagfileBytes = std::int64_t{1} << 20;

/// The settings in the text of a flagfile: a --name=value, --name or --noname a line; blank lines
/// and lines that begin with # are skipped. Errors: Error(usage) naming the line.
std::vector<FlagSetting> parse_flagfile(const std::string& contents, const std::string& origin);

}  // namespace micrec
