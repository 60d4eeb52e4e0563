#include <array>
#include <cstdint>
#include <stdexcept>

#include "io/tables/interactions_reader.h"
#include "tests/fuzz/reader.h"

namespace micrec::fuzz {
namespace {

// The ways in which `prepare` and `recommend` ask for a table. One that does not fit the file is an
// error that names it.
void read(const std::string& path, int variant) {
  const InteractionsOptions options[] = {
      {},
      {.columns = "1,2,4,3", .min_rating = 3.0},
      {.columns = "user_id,item_id,timestamp"},
      {.separator = ";", .quotes = Quotes::none},
      {.split_column = true},
  };
  std::int64_t handed_on = 0;
  const InteractionsSummary summary =
      for_each_interaction(path, options[variant], [&](const Interaction& interaction) {
        if (interaction.user.empty() || interaction.item.empty())
          throw std::logic_error("an empty key was handed on");
        if (interaction.line < 1) throw std::logic_error("a line before the first was handed on");
        if (!options[variant].columns.empty() && !interaction.timestamp)
          throw std::logic_error("a time that was asked for is missing");
        if (options[variant].split_column != interaction.label.has_value())
          throw std::logic_error("a part of the split that was asked for is missing");
        ++handed_on;
      });
  if (summary.interactions != handed_on) throw std::logic_error("the summary does not count right");
}

// A .json file takes no column numbers, and a .txt no columns: those are errors of the flags.
void read_json(const std::string& path, int variant) { read(path, std::array{0, 2, 4}[variant]); }
void read_plain(const std::string& path, int /*variant*/) { read(path, 0); }

}  // namespace

const Reader& csv() {
  static const Reader reader = {"csv", "interactions.csv", 5, false, read};
  return reader;
}

const Reader& tsv() {
  static const Reader reader = {"tsv", "interactions.tsv", 5, false, read};
  return reader;
}

const Reader& json() {
  static const Reader reader = {"json", "reviews.jsonl", 3, false, read_json};
  return reader;
}

const Reader& adjacency() {
  static const Reader reader = {"adjacency", "train.txt", 1, false, read_plain};
  return reader;
}

const Reader& gzip() {
  static const Reader reader = {"gzip", "interactions.csv.gz", 1, false, read_plain};
  return reader;
}

}  // namespace micrec::fuzz
