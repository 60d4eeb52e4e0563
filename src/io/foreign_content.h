#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace micrec {

/// Names what a file is by its first bytes, where that is certainly not a text of records, and says
/// what to do: "a zip archive; take the file out of it: unzip". Nothing for all else.
std::optional<std::string> foreign_content(std::string_view start);

}  // namespace micrec
