#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// Texts from a file as a message can carry them, whatever their length and bytes.

/// The beginning of a text: shortened, control characters as dots.
std::string printable(std::string_view value);

/// The same in quotes.
std::string excerpt(std::string_view value);

/// The first of some names, printable, with commas between.
std::string listed(const std::vector<std::string>& names);

}  // namespace micrec
