#include "io/csv.h"

#include <algorithm>

#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {

CsvReader::CsvReader(const std::string& path, char separator)
    : lines_(path), separator_(separator) {}

Error CsvReader::error(const std::string& what) const {
  return {Cause::data, text(path(), ":", line_number_, ": ", what)};
}

bool CsvReader::next() {
  std::string_view line;
  do {
    if (!lines_.next(&line)) return false;
  } while (line.empty());
  line_number_ = lines_.line_number();
  fields_.clear();
  if (line.find('"') != std::string_view::npos) {
    split_quoted(line);
    return true;
  }
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = line.find(separator_, begin);
    check_fields(fields_.size());
    fields_.push_back(line.substr(begin, end - begin));
    if (end == std::string_view::npos) return true;
    begin = end + 1;
  }
}

void CsvReader::check_fields(std::size_t count) const {
  if (count < kMostFields) return;
  throw error(
      text("more than ", with_commas(kMostFields), " fields; expected a table of interactions"));
}

void CsvReader::split_quoted(std::string_view line) {
  text_.clear();
  spans_.clear();
  std::size_t at = 0;
  while (true) {
    const std::size_t start = text_.size();
    if (at < line.size() && line[at] == '"') {
      const std::int64_t opened_on = lines_.line_number();
      ++at;
      while (true) {
        const std::size_t quote = line.find('"', at);
        if (quote == std::string_view::npos) {
          text_.append(line.substr(at));
          if (text_.size() > static_cast<std::size_t>(LineReader::kMostLineBytes) ||
              !lines_.next(&line)) {
            throw Error(Cause::data,
                        text(path(), ":", opened_on, ": field ", spans_.size() + 1,
                             " opens a quote that is never closed; expected \" at its end"));
          }
          text_ += '\n';
          at = 0;
          continue;
        }
        text_.append(line.substr(at, quote - at));
        at = quote + 1;
        if (at >= line.size() || line[at] != '"') break;
        text_ += '"';
        ++at;
      }
      if (at < line.size() && line[at] != separator_) {
        throw Error(Cause::data,
                    text(path(), ":", lines_.line_number(), ": expected '",
                         separator_ == '\t' ? "tab" : ",", "' after the closing quote of field ",
                         spans_.size() + 1, ", got ", excerpt(line.substr(at)),
                         "; a quote inside a quoted field is written twice"));
      }
    } else {
      const std::size_t end = std::min(line.find(separator_, at), line.size());
      text_.append(line.substr(at, end - at));
      at = end;
    }
    check_fields(spans_.size());
    spans_.push_back({start, text_.size() - start});
    if (at >= line.size()) break;
    ++at;  // the separator
    if (at == line.size()) {
      spans_.push_back({text_.size(), 0});
      break;
    }
  }
  for (const Span& span : spans_)
    fields_.push_back(std::string_view(text_).substr(span.begin, span.size));
}

}  // namespace micrec
