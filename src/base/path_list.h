#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// The parts of a list of paths, or of NAME=PATH, with commas between. A path with commas goes in
/// double quotes, which then are not part of it: `a.txt,"b,c.txt"`, `food="b,c.txt"`; a quote in it
/// is written twice. What is not written so is taken as it is. An empty list has no parts.
std::vector<std::string> split_paths(std::string_view list);

/// The same of words, in which an equals sign is a letter like others: `ann,"b, c",size="5"`.
std::vector<std::string> split_words(std::string_view list);

}  // namespace micrec
