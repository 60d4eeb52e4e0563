#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// What the beginning of a text says about how its lines are made, where its name does not. Lines
/// with double quotes are looked past, as a separator in them may be a character.

/// The first lines of a text without empty ones, 2,000 at most; the last only where it is whole.
std::vector<std::string_view> first_lines(std::string_view start, char line_feed, bool is_all);

/// The fields of a line, without regard to quotes.
std::vector<std::string_view> fields_of(std::string_view line, std::string_view separator);

/// Takes the next word off the front of a line, up to a space or tab; empty after the last.
std::string_view take_word(std::string_view& line);

/// How many fields every one of the lines has, or nothing where they differ.
std::optional<std::size_t> common_width(const std::vector<std::string_view>& lines,
                                        std::string_view separator);

/// The separator, of those that people use, that gives all lines the same number of fields, two or
/// more; the one with most fields. Nothing where there is none.
std::optional<std::string> likely_separator(const std::vector<std::string_view>& lines);

/// "--separator=';'", as a shell takes it.
std::string separator_flag(std::string_view separator);

/// Whether a file of whole numbers is a table, or one of the lists `user item item ...`.
enum class NumberLines {
  lists,
  table,     ///< as wide everywhere, and first numbers come again
  doubtful,  ///< may be either
  other,     ///< not whole numbers
};
NumberLines number_lines(const std::vector<std::string_view>& lines);

}  // namespace micrec
