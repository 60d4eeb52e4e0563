#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace micrec {

struct InteractionsOptions {
  /// Columns of a .csv or .tsv, or fields of a .json or .jsonl: "user,item[,timestamp[,rating]]",
  /// as names of the header line, or as numbers from 1 if the file has no header line. Either of
  /// the last two may be left out or empty ("user,item,,rating"). Empty: by the names the file has.
  std::string columns = {};
  /// Interactions with a smaller rating are left out; a file without ratings is then refused.
  std::optional<double> min_rating = {};
};

/// One interaction as it stands in a file; views hold during the call that gets it.
struct Interaction {
  std::string_view user;                  // key, never empty, UTF-8
  std::string_view item;                  // key, never empty, UTF-8
  std::optional<std::int64_t> timestamp;  // as in the file; Amazon 2023's milliseconds as seconds
  std::optional<double> rating;
  std::int64_t line = 0;  // from 1
};

struct InteractionsSummary {
  std::string format;                 // "CSV with header", "Amazon ratings (user, item, ...)", ...
  std::int64_t interactions = 0;      // handed on
  std::int64_t below_min_rating = 0;  // left out
  bool has_timestamps = false;        // every interaction has one (all or none do)
};

/// Reads a file of interactions in order and hands each to `use`. The kind is told by the name:
///  - .csv, .tsv: a header line with user_id, item_id, optional timestamp and rating (also under
///  the
///    names that Amazon and MovieLens use), or Amazon's `ratings_*.csv` without header, recognised
///    by its shape (2014: user, item, rating, time; 2018: item, user, rating, time), or `columns`;
///  - .json, .jsonl: an object a line; Amazon reviews of 2014 and 2018 (reviewerID, asin, overall,
///    unixReviewTime) and of 2023 (user_id, parent_asin or asin, rating, timestamp), or user_id and
///    item_id, or `columns`;
///  - .txt: LightGCN's split, a line `user item item ...` of whole numbers;
/// each also with .gz after it.
///
/// Errors   Error(Cause::io) missing or unreadable; Error(Cause::usage) a name of another kind, or
///          options that the kind does not take; Error(Cause::data), with file and line: no such
///          column, no interaction, broken gzip, CSV or JSON, a missing field, an empty key, a key
///          that is not UTF-8, a time or rating that is not a number.
/// Cost     one pass, memory for the longest line; some 10 million lines of CSV or 3 million
///          reviews a second, several times longer where gzip is to be undone.
InteractionsSummary for_each_interaction(const std::string& path,
                                         const InteractionsOptions& options,
                                         const std::function<void(const Interaction&)>& use);

}  // namespace micrec
