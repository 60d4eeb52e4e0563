#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// Texts from a file as a message can carry them, whatever their length and bytes.

/// Whether a text is UTF-8 without control characters.
bool is_printable(std::string_view value);

/// Bytes of the UTF-8 character that a text begins with, 0 where none does. Not of an empty text.
std::size_t letter_bytes(std::string_view value);

/// The beginning of a text: shortened, bytes that are not printable as dots.
std::string printable(std::string_view value);

/// The same in quotes.
std::string excerpt(std::string_view value);

/// The first of some names, printable, with commas between.
std::string listed(const std::vector<std::string>& names);

}  // namespace micrec
