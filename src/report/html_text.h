#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// Text as it stands in HTML and SVG, between tags and in quoted attributes: none of it is taken
/// for markup. Bytes that are no UTF-8, and control characters, become the replacement character.
std::string escaped(std::string_view text);

/// The first `most` characters and an ellipsis where it has more; not escaped.
std::string shortened(const std::string& text, std::size_t most);

/// Numbers as the report has them: "0.0610", "28.9k", "—" for what is not a number.
std::string metric_text(double value);
std::string count_text(double value);

/// A table. Cells are HTML: the first column to the left, the others, numbers, to the right.
class HtmlTable {
 public:
  explicit HtmlTable(std::vector<std::string> header);
  /// Columns that hold text stand to the left too.
  HtmlTable& left(std::size_t column);
  /// `emphasis`: the row is the chosen one.
  void add(std::vector<std::string> cells, bool emphasis = false);
  bool empty() const { return rows_.empty(); }
  std::string to_html() const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool emphasis = false;
  };
  std::vector<std::string> header_;
  std::vector<bool> left_;
  std::vector<Row> rows_;
};

}  // namespace micrec
