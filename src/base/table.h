#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace micrec {

/// Lines of words in columns as wide as their widest word, two blanks between: the first column to
/// the left, the others to the right.
class Table {
 public:
  /// `indent`: blanks before every line.
  explicit Table(std::vector<std::string> header, int indent = 0);
  void add(std::vector<std::string> words);

  /// Prints the header and the lines, no blanks at their ends. Widths are counted in bytes.
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> lines_;
  std::string indent_;
};

}  // namespace micrec
