#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>

#include "io/durable_files.h"
#include "serve/filter/item_attributes.h"
#include "serve/filter/where_expression.h"
#include "serve/item_titles.h"
#include "serve/observed_log.h"
#include "tests/fuzz/reader.h"
#include "tests/support/file_contents.h"

namespace micrec::fuzz {
namespace {

ItemAttributes read_attributes_of(const std::string& path) {
  std::ostringstream report;
  return ItemAttributes::read(path, "food", number_keys({"a", "b", "c"}), report);
}

void read_attributes(const std::string& path, int variant) {
  if (variant == 1) {
    read_item_titles(path);
    return;
  }
  const ItemAttributes attributes = read_attributes_of(path);
  for (const ItemAttributes::Column& column : attributes.columns()) {
    if (column.name.empty() || column.of_item.size() != 3 || column.groups().size() != 3)
      throw std::logic_error("a column is not of the three items");
    if (column.has_numbers && std::ssize(column.number) != column.values.size())
      throw std::logic_error("a value of a column of numbers has none");
  }
}

/// A condition on a table with a column of each kind.
void read_where(const std::string& path, int /*variant*/) {
  const std::string table = path + ".csv";
  if (!std::filesystem::exists(table)) {
    set_file_contents(table,
                      "item_id,price,brand,day\na,1.5,x,2024-01-31\nb,-2,\"y \"\"z\",\nc,,x,a\n");
  }
  static const ItemAttributes attributes = read_attributes_of(table);
  const auto holds = WhereExpression(file_contents(path), path).evaluate(attributes);
  if (holds.size() != 3) throw std::logic_error("the condition is not of the three items");
  for (const std::uint8_t one : holds) {
    if (one > 1) throw std::logic_error("a condition neither holds nor not");
  }
}

/// Variant 1: the lines get the digests that they lack, so that what stands in them is read.
void read_observed(const std::string& path, int variant) {
  if (variant == 1) {
    std::istringstream lines(file_contents(path));
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t json = line.find('{');
      if (json != std::string::npos) line.erase(0, json);
      file << digest_bytes(line) << ' ' << line << '\n';
    }
  }
  const auto read = [&] {
    Observation all;
    std::ostringstream report;
    const ObservedLog log(
        path,
        [&](const Observation& commit) {
          all.events.insert(all.events.end(), commit.events.begin(), commit.events.end());
          all.items.insert(all.items.end(), commit.items.begin(), commit.items.end());
        },
        report);
    if (log.bytes() != std::ssize(file_contents(path)))
      throw std::logic_error("the log does not end with its last commit");
    return all;
  };
  const Observation first = read();
  if (first != read()) throw std::logic_error("the log was changed by reading it");
}

}  // namespace

const Reader& attributes() {
  static const Reader reader = {"attributes", "items.csv", 2, false, read_attributes};
  return reader;
}

const Reader& where() {
  static const Reader reader = {"where", "where.txt", 1, true, read_where};
  return reader;
}

const Reader& observed() {
  static const Reader reader = {"observed", "observed.log", 2, false, read_observed};
  return reader;
}

}  // namespace micrec::fuzz
