#pragma once

#include <map>
#include <string>
#include <unordered_map>

namespace micrec {

/// Titles of items by domain and item key.
using ItemTitles = std::map<std::string, std::unordered_map<std::string, std::string>>;

/// Titles of items for people to read, of a file: objects with item_id (or parent_asin, asin) and
/// title, a line each; or an ItemTable with a column title. Plain or compressed. Items without a
/// title, or with an empty one, have none; of two the last holds.
///
/// Errors   those of LineReader and ItemTable; Error(data) with file and line where a line is
///          neither.
std::unordered_map<std::string, std::string> read_item_titles(const std::string& path);

/// The file of every domain in "DOMAIN=FILE,...", the value of `flag`, "--titles". Errors:
/// Error(usage) where it is written otherwise, or names two files for one.
std::map<std::string, std::string> files_by_domain(const std::string& flag,
                                                   const std::string& list);
/// The titles in them.
ItemTitles read_item_titles(const std::map<std::string, std::string>& files);

}  // namespace micrec
