#pragma once

#include <string>

#include "serve/service.h"

namespace micrec {

/// Titles of items for people to read, of a file: objects with item_id (or parent_asin, asin) and
/// title, a line each; or a table with commas or tabs and these names in its first line. Plain or
/// compressed. Items without a title, or with an empty one, have none; of two the last holds.
///
/// Errors   those of LineReader; Error(data) with file and line where a line is neither.
std::unordered_map<std::string, std::string> read_item_titles(const std::string& path);

/// Those of "DOMAIN=FILE,...". Errors: Error(usage) where it is written otherwise.
ItemTitles read_titles_by_domain(const std::string& list);

}  // namespace micrec
