#include "report/html_text.h"

#include <algorithm>
#include <cmath>

#include "base/description.h"
#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

void append_ascii(std::string& out, char letter) {
  using Written = std::pair<char, const char*>;
  constexpr Written kWritten[] = {{'&', "&amp;"},  {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"},
                                  {'\'', "&#39;"}, {'\t', " "},   {'\n', " "},   {'\r', " "}};
  const auto code = static_cast<unsigned char>(letter);
  const auto* const found = std::ranges::find(kWritten, letter, &Written::first);
  if (found != std::end(kWritten)) {
    out += found->second;
  } else if (code < 0x20 || code == 0x7F) {
    out += kReplacement;
  } else {
    out += letter;
  }
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t bytes = letter_bytes(text);
    if (bytes == 1) {
      append_ascii(out, text.front());
    } else if (bytes == 0) {
      out += kReplacement;
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes == 0 ? 1 : bytes);
  }
  return out;
}

std::string shortened(const std::string& text, std::size_t most) {
  std::string_view rest = text;
  for (std::size_t n = 0; n < most && !rest.empty(); ++n) {
    const std::size_t bytes = letter_bytes(rest);
    rest.remove_prefix(bytes == 0 ? 1 : bytes);
  }
  if (rest.empty()) return text;
  return text.substr(0, text.size() - rest.size()) + "…";
}

std::string metric_text(double value) {
  return std::isfinite(value) ? decimal("%.4f", value) : "—";
}

std::string count_text(double value) {
  if (!std::isfinite(value)) return "—";
  return with_commas(std::llround(value));
}

HtmlTable::HtmlTable(std::vector<std::string> header)
    : header_(std::move(header)), left_(header_.size(), false) {
  left(0);
}

HtmlTable& HtmlTable::left(std::size_t column) {
  left_.at(column) = true;
  return *this;
}

void HtmlTable::add(std::vector<std::string> cells, bool emphasis) {
  cells.resize(header_.size());
  rows_.push_back({std::move(cells), emphasis});
}

std::string HtmlTable::to_html() const {
  std::string html = "<div class=\"scroll\"><table><thead><tr>";
  const auto cell = [&](const char* tag, std::size_t column, const std::string& contents) {
    html += text("<", tag, left_[column] ? " class=\"left\">" : ">", contents, "</", tag, ">");
  };
  for (std::size_t n = 0; n < header_.size(); ++n) cell("th", n, header_[n]);
  html += "</tr></thead>\n<tbody>\n";
  for (const Row& row : rows_) {
    html += row.emphasis ? "<tr class=\"chosen\">" : "<tr>";
    for (std::size_t n = 0; n < row.cells.size(); ++n) cell("td", n, row.cells[n]);
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace micrec
