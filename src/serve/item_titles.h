#pragma once

#include <map>
#include <string>

#include "serve/service.h"

namespace micrec {

/// Titles of items for people to read, of a file: objects with item_id (or parent_asin, asin) and
/// title, a line each; or a table with commas or tabs and these names in its first line. Plain or
/// compressed. Items without a title, or with an empty one, have none; of two the last holds.
///
/// Errors   those of LineReader; Error(data) with file and line where a line is neither.
std::unordered_map<std::string, std::string> read_item_titles(const std::string& path);

/// The file of every domain in "DOMAIN=FILE,...". Errors: Error(usage) where it is written otherwise,
/// or names two files for one.
std::map<std::string, std::string> parse_title_files(const std::string& list);
/// The titles in them.
ItemTitles read_item_titles(const std::map<std::string, std::string>& files);

}  // namespace micrec
