#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace micrec {

// What a file holds, told to people: a label and what it says on every line, as `inspect` prints.

inline constexpr std::size_t kLabelColumns = 14;

/// "food.h5: a dataset, 3.1 MiB": the first line of what is told of a file.
void print_title(std::ostream& out, const std::string& path, const std::string& what);

/// "items         11,837"
void print_row(std::ostream& out, const std::string& label, const std::string& value,
               std::size_t label_columns = kLabelColumns);

/// Words after a label, broken into lines; "none" where there are none.
void print_words(std::ostream& out, const std::string& label, const std::vector<std::string>& words,
                 std::size_t label_columns = kLabelColumns);

/// A number as printf's format has it: decimal("%.1f", 2.25).
std::string decimal(const char* format, double number);

/// "1 step", "1,200 steps".
std::string count_of(std::int64_t count, const std::string& thing);

/// "7,601 of 11,837 items (64.2%)"
std::string share_of(std::int64_t part, std::int64_t whole, const std::string& things);

/// "none" in the place of an empty text.
std::string or_none(const std::string& value);

}  // namespace micrec
