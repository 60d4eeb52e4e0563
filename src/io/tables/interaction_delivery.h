#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/tables/interactions_reader.h"
#include "io/tables/line_reader.h"

namespace micrec {

/// What all kinds of files of interactions have in common; of interactions_reader.h, which says
/// what it promises.

using Names = std::vector<std::string>;

/// InteractionsSummary::why, where the name of the file says what it is.
inline constexpr const char* kByName = "by its name";

/// What a column is for. The order is that of --columns.
enum class Role : std::uint8_t { user, item, timestamp, rating, label };
inline constexpr std::size_t kRoles = 5;
inline constexpr std::size_t index(Role role) { return static_cast<std::size_t>(role); }

/// What a column of this role may be called, in small letters; the first that is there is taken.
const Names& names_of(Role role);
/// "user", "item", "time", ...
const char* word_for(Role role);

/// --columns as it was given; empty where not given.
struct ColumnNames {
  std::array<std::string, kRoles> names;
  bool given = false;
  bool numbers = false;

  const std::string& of(Role role) const { return names[index(role)]; }
};

/// Errors   Error(Cause::usage): neither names nor numbers, or one of them twice.
ColumnNames parse_columns(const std::string& columns);

struct ParsedTime {
  std::int64_t whole = 0;       // rounded down
  std::int32_t billionths = 0;  // what was rounded off
};
std::optional<ParsedTime> parse_time(std::string_view value);
std::optional<double> parse_rating(std::string_view value);

/// "; did you mean 'user_id'?", or nothing.
std::string did_you_mean(std::string_view name, const Names& there);

/// The place of the first candidate that the names have; compared as they are.
std::optional<std::size_t> find_any(const Names& there, const Names& candidates);

[[noreturn]] void refuse_empty(const std::string& path, const char* what);

/// Checks a record, filters it, counts, and hands it on.
class Delivery {
 public:
  Delivery(const InteractionsOptions& options, const std::vector<UseInteractions>& uses)
      : min_rating_(options.min_rating), wants_label_(options.split_column), uses_(uses) {}
  /// One for a part of the file, which counts from zero.
  Delivery(const Delivery& whole, const std::vector<UseInteractions>& uses)
      : min_rating_(whole.min_rating_),
        wants_label_(whole.wants_label_),
        uses_(uses),
        time_hint_(whole.time_hint_) {}

  bool wants_rating() const { return min_rating_.has_value(); }
  std::optional<double> min_rating() const { return min_rating_; }
  bool wants_label() const { return wants_label_; }
  const std::vector<UseInteractions>& uses() const { return uses_; }

  /// A key as it is written; an exact one is in quotes, so that line ends and quotes in it are its
  /// own. Spaces and tabs around it never are.
  struct Key {
    std::string_view value;
    bool exact;
  };
  struct Record {
    Key user;
    Key item;
    std::optional<std::string_view> timestamp;  // nullopt where there is no such column
    std::optional<std::string_view> rating;
    std::optional<std::string_view> label;
    std::int64_t line;
  };

  /// `source` gives the error with file and line.
  template <typename Source>
  void deliver(const Source& source, const Record& record) {
    Interaction out;
    out.line = record.line;
    const std::string problem = take(record, out);
    if (!problem.empty()) throw source.error(problem);
    if (min_rating_ && *out.rating < *min_rating_) {
      ++summary_.below_min_rating;
      return;
    }
    ++summary_.interactions;
    for (const UseInteractions& use : uses_) use({&out, 1});
  }

  /// Said after an unreadable time, where it tells more than that.
  void set_time_hint(std::string hint) { time_hint_ = std::move(hint); }
  InteractionsSummary& summary() { return summary_; }

 private:
  /// Fills an interaction; returns what is wrong.
  std::string take(const Record& record, Interaction& out);
  std::string take_key(Role role, const Key& key, std::string_view& out);
  std::string take_time(std::string_view value, Interaction& out) const;

  std::optional<double> min_rating_;
  bool wants_label_;
  const std::vector<UseInteractions>& uses_;
  std::string time_hint_;
  InteractionsSummary summary_;
};

/// How the records of a table are written, and whether that was asked for or is a guess.
struct TableFormat {
  std::string separator = ",";
  bool separator_given = false;
  Quotes quotes = Quotes::automatic;
};

/// Reads a table, by several threads where it can be.
void read_interaction_table(LineReader lines, const TableFormat& format, const ColumnNames& columns,
                            Delivery& delivery);

/// Reads a JSON object a line.
void read_interaction_objects(LineReader lines, const ColumnNames& columns, Delivery& delivery);

}  // namespace micrec
