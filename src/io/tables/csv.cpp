#include "io/tables/csv.h"

#include <algorithm>
#include <utility>

#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {
namespace {

std::string shown(const std::string& separator) {
  return separator == "\t" ? "tab" : printable(separator);
}

}  // namespace

CsvFormat csv_format(char separator) { return {std::string(1, separator), separator != '\t'}; }

std::string csv_field(std::string_view value) {
  if (value.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(value);
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

bool split_plain(std::string_view line, std::string_view separator,
                 std::vector<std::string_view>* fields) {
  fields->clear();
  const std::size_t width = separator.size();
  for (std::size_t begin = 0;;) {
    // One character is looked for much faster than a text.
    const std::size_t end =
        width == 1 ? line.find(separator.front(), begin) : line.find(separator, begin);
    if (fields->size() >= CsvReader::kMostFields) return false;
    fields->push_back(line.substr(begin, end - begin));
    if (end == std::string_view::npos) return true;
    begin = end + width;
  }
}

std::string too_many_fields() {
  return text("more than ", with_commas(CsvReader::kMostFields),
              " fields; expected a table of interactions");
}

CsvReader::CsvReader(const std::string& path, char separator)
    : CsvReader(LineReader(path), csv_format(separator)) {}

CsvReader::CsvReader(LineReader lines, CsvFormat format)
    : lines_(std::move(lines)), format_(std::move(format)) {}

Error CsvReader::quote_error(std::int64_t line, const std::string& what) const {
  return {Cause::data, path(), ":", line, ": ", what, quote_hint_};
}

bool CsvReader::next() {
  std::string_view line;
  do {
    if (!lines_.next(&line)) return false;
  } while (line.empty());
  line_number_ = lines_.line_number();
  fields_.clear();
  spans_.clear();
  if (format_.quotes && line.find('"') != std::string_view::npos) {
    split_quoted(line);
  } else if (!split_plain(line, format_.separator, &fields_)) {
    throw error(too_many_fields());
  }
  return true;
}

void CsvReader::check_fields(std::size_t count) const {
  if (count >= kMostFields) throw error(too_many_fields());
}

/// Appends a field to text_; `at` is behind its opening quote and moves behind its closing one, to
/// another line if need be.
void CsvReader::take_quoted_field(std::string_view& line, std::size_t& at) {
  const std::int64_t opened_on = lines_.line_number();
  while (true) {
    const std::size_t quote = line.find('"', at);
    if (quote != std::string_view::npos) {
      text_.append(line.substr(at, quote - at));
      at = quote + 1;
      if (at >= line.size() || line[at] != '"') return;
      text_ += '"';
      ++at;
      continue;
    }
    text_.append(line.substr(at));
    text_.append(lines_.line_end());
    if (lines_.line_number() - opened_on + 1 >= kMostLinesOfField) {
      throw quote_error(opened_on,
                        text("field ", spans_.size() + 1, " opens a quote that is not closed in ",
                             kMostLinesOfField, " lines; expected \" at its end"));
    }
    if (text_.size() > static_cast<std::size_t>(LineReader::kMostLineBytes) ||
        !lines_.next(&line)) {
      throw quote_error(opened_on, text("field ", spans_.size() + 1,
                                        " opens a quote that is never closed; expected \" at its "
                                        "end"));
    }
    at = 0;
  }
}

void CsvReader::split_quoted(std::string_view line) {
  text_.clear();
  const std::string& separator = format_.separator;
  std::size_t at = 0;
  while (true) {
    const std::size_t start = text_.size();
    const bool quoted = at < line.size() && line[at] == '"';
    if (quoted) {
      ++at;
      take_quoted_field(line, at);
      if (at < line.size() && !line.substr(at).starts_with(separator)) {
        throw quote_error(
            lines_.line_number(),
            text("expected '", shown(separator), "' after the closing quote of field ",
                 spans_.size() + 1, ", got ", excerpt(line.substr(at)),
                 "; a quote inside a quoted field is written twice"));
      }
    } else {
      const std::size_t end = std::min(line.find(separator, at), line.size());
      text_.append(line.substr(at, end - at));
      at = end;
    }
    check_fields(spans_.size());
    spans_.push_back({start, text_.size() - start, quoted});
    if (at >= line.size()) break;
    at += separator.size();
    if (at == line.size()) {
      spans_.push_back({text_.size(), 0, false});
      break;
    }
  }
  for (const Span& span : spans_)
    fields_.push_back(std::string_view(text_).substr(span.begin, span.size));
}

}  // namespace micrec
