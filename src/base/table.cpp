#include "base/table.h"

#include <algorithm>
#include <ostream>
#include <utility>

namespace micrec {

Table::Table(std::vector<std::string> header, int indent)
    : indent_(static_cast<std::size_t>(indent), ' ') {
  add(std::move(header));
}

void Table::add(std::vector<std::string> words) { lines_.push_back(std::move(words)); }

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> width;
  for (const std::vector<std::string>& line : lines_) {
    width.resize(std::max(width.size(), line.size()));
    for (std::size_t c = 0; c < line.size(); ++c) width[c] = std::max(width[c], line[c].size());
  }
  for (const std::vector<std::string>& line : lines_) {
    std::string row = indent_;
    for (std::size_t c = 0; c < line.size(); ++c) {
      const std::string blanks(width[c] - line[c].size(), ' ');
      row += (c == 0 ? "" : "  ") + (c == 0 ? line[c] + blanks : blanks + line[c]);
    }
    while (!row.empty() && row.back() == ' ') row.pop_back();
    out << row << "\n";
  }
}

}  // namespace micrec
