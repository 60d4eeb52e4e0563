#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// What a double quote is in a table.
enum class Quotes {
  automatic,  ///< a character in tables of tabs or of separators of several characters, else
              ///< `twice`
  twice,      ///< stands around fields, and in them is written twice (RFC 4180)
  none,       ///< a character like others
};

struct InteractionsOptions {
  /// Columns of a table, or fields of JSON: "user,item[,timestamp[,rating[,split]]]", as names of
  /// the header line, or as numbers from 1 if the file has no header line. Any of the last three
  /// may be left out or empty ("user,item,,rating"). Empty: by the names the file has.
  std::string columns = {};
  /// Interactions with a smaller rating are left out; a file without ratings is then refused.
  std::optional<double> min_rating = {};
  /// What stands between the fields of a table: one character or more, "tab" or "space". Empty: as
  /// the name of the file says, and for other names its contents.
  std::string separator = {};
  Quotes quotes = Quotes::automatic;
  /// Read which part of a published split an interaction is of, from the fifth of `columns` or one
  /// that is called x_label.
  bool split_column = false;
};

/// A part of a published split.
enum class SplitLabel : std::uint8_t { train, valid, test };

/// One interaction as it stands in a file; views hold during the call that gets it.
struct Interaction {
  std::string_view user;                  // key, never empty, UTF-8
  std::string_view item;                  // key, never empty, UTF-8
  std::optional<std::int64_t> timestamp;  // as in the file, rounded down
  std::optional<double> rating;
  std::int64_t line = 0;            // from 1
  std::int32_t billionths = 0;      // of the timestamp's unit, what was rounded off
  std::optional<SplitLabel> label;  // with InteractionsOptions::split_column
};

struct InteractionsSummary {
  std::string format;   // "CSV with header", "Amazon ratings (user, item, ...)", ...
  std::string why;      // "by its name", "by its content: ..."
  std::string columns;  // "user_id as user, item_id as item"; empty where there are none

  std::int64_t interactions = 0;      // handed on
  std::int64_t below_min_rating = 0;  // left out
  std::int64_t repeated_headers = 0;  // lines equal to the header line, left out
  std::int64_t fields_over_lines = 0;
  std::int64_t trimmed_keys = 0;  // had spaces or tabs around them, which are left out
  std::int64_t quoted_keys = 0;   // begin and end with a double quote, which is part of them
  bool has_timestamps = false;    // every interaction has one (all or none do)
  std::string unused_label = {};  // the column of a published split that was not asked for

  /// Adds what was counted in another part of the same file.
  void add_counts(const InteractionsSummary& part);
  /// What the file was taken for and why, and what was left out of it: a phrase each.
  std::vector<std::string> in_words() const;
};

/// What keeps a text from being the key of a user or an item, "is empty"; null where it may be one.
const char* problem_of_key(std::string_view key);

/// Reads a file of interactions in order and hands each to `use`. What it is, is told by the name:
///  - .csv, .tsv, .inter (RecBole; tabs): a table;
///  - .json, .jsonl, .ndjson: an object a line;
///  - .txt and all else: by the content, which is a table, objects, or the lines `user item item
///    ...` of whole numbers in which LightGCN publishes a split;
/// each also compressed by gzip, bzip2, xz or zstd, with .gz, .bz2, .xz or .zst after its name.
///
/// A table has a header line with user_id, item_id, optional timestamp and rating (also under the
/// names that Amazon, MovieLens, RecBole and MMRec use), or is without one and recognised by its
/// shape (Amazon's `ratings_*.csv` of 2014, user, item, rating, time, and of 2018, item, user,
/// rating, time; MovieLens' u.data and ratings.dat), or needs `columns`. Objects are Amazon reviews
/// of 2014 and 2018 (reviewerID, asin, overall, unixReviewTime) and of 2023 (user_id, parent_asin
/// or asin, rating, timestamp), or have user_id and item_id, or need `columns`.
///
/// A line that repeats the header is left out and counted. Keys lose spaces and tabs around them,
/// in tables and objects, in quotes or not, so that one person is the same in files of every kind;
/// how many did is counted.
///
/// Errors   Error(Cause::io) missing or unreadable; Error(Cause::usage) a file that is none of
///          these, or options that it does not take; Error(Cause::data), with file and line: a
///          content that is in doubt, no such column or two of its name, no interaction, broken
///          compression, CSV or JSON, a missing field, an empty key, a key that is not UTF-8, a
///          time or rating that is not a number.
/// Cost     one pass, memory for the longest line and 16 MiB.
InteractionsSummary for_each_interaction(const std::string& path,
                                         const InteractionsOptions& options,
                                         const std::function<void(const Interaction&)>& use);

/// What becomes of the interactions of a part of a file.
using UseInteractions = std::function<void(std::span<const Interaction>)>;

/// The same in parts of some thousand interactions, which each of `uses` gets in the order of the
/// file. Lines of a table without double quotes are taken apart, and the uses called, by several
/// threads; two calls of one use never overlap.
///
/// Cost     One pass; memory for the longest line and 16 MiB a thread.
InteractionsSummary for_each_part(const std::string& path, const InteractionsOptions& options,
                                  const std::vector<UseInteractions>& uses);

}  // namespace micrec
