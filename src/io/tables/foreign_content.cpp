#include "base/text.h"
#include "io/tables/byte_source.h"

namespace micrec {
namespace {

using namespace std::string_view_literals;

struct Kind {
  std::string_view magic;
  std::size_t offset;
  const char* what;
};

// Formats that people have data in, or get in place of data.
constexpr Kind kKinds[] = {
    {"PK\x03\x04"sv, 0,
     "a zip archive (or a spreadsheet in one); take the file out with unzip, or save the "
     "spreadsheet as CSV"},
    {"PK\x05\x06"sv, 0, "an empty zip archive"},
    {"PAR1"sv, 0, "Parquet; write it as CSV: pandas.read_parquet(FILE).to_csv(OUT, index=False)"},
    {"ARROW1"sv, 0,
     "Arrow or Feather; write it as CSV: pandas.read_feather(FILE).to_csv(OUT, index=False)"},
    {"ORC"sv, 0, "ORC; write it as CSV: pandas.read_orc(FILE).to_csv(OUT, index=False)"},
    {"Obj\x01"sv, 0, "Avro; write it as JSON lines or CSV"},
    {"\x89HDF\r\n\x1A\n"sv, 0, "HDF5; write its interactions as CSV"},
    {"\x93NUMPY"sv, 0, "a NumPy array; write it as CSV"},
    {"SQLite format 3\0"sv, 0, "an SQLite database; write the table as CSV: sqlite3 -header -csv"},
    {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, 0, "an Excel file; save it as CSV"},
    {"%PDF-"sv, 0, "a PDF document"},
    {"7z\xBC\xAF\x27\x1C"sv, 0, "a 7-Zip archive; take the file out with 7z x"},
    {"Rar!\x1A\x07"sv, 0, "a RAR archive; take the file out with unrar x"},
    {"\x04\x22\x4D\x18"sv, 0,
     "lz4 data; undo it with lz4 -d, or compress with gzip, bzip2, xz or zstd"},
    {"\x1F\x9D"sv, 0, "data of compress; undo it with uncompress"},
    {"ustar"sv, 257, "a tar archive; take the file out with tar -xf"},
    {"\x80\x02"sv, 0, "a Python pickle; write it as CSV"},
    {"\x80\x03"sv, 0, "a Python pickle; write it as CSV"},
    {"\x80\x04\x95"sv, 0, "a Python pickle; write it as CSV"},
    {"\x80\x05\x95"sv, 0, "a Python pickle; write it as CSV"},
    {"version https://git-lfs.github.com/spec/"sv, 0,
     "a Git LFS pointer and not the data; fetch them with git lfs pull"},
    {"/annex/objects/"sv, 0, "a git-annex pointer and not the data; fetch them with git annex get"},
};

bool is_markup(std::string_view start) {
  constexpr std::size_t kLongest = 64;
  const std::size_t first = start.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || start[first] != '<') return false;
  const std::string tag = small_letters(start.substr(first, kLongest));
  return tag.starts_with("<!doctype") || tag.starts_with("<html") || tag.starts_with("<head") ||
         tag.starts_with("<body") || tag.starts_with("<?xml") || tag.starts_with("<!--");
}

/// UTF-16 without a mark: every other byte of a text that is mostly ASCII is zero.
bool is_wide_text(std::string_view start) {
  constexpr std::size_t kLooked = 512;
  const std::string_view looked = start.substr(0, kLooked);
  if (looked.size() < 8) return false;
  std::size_t zeros[2] = {0, 0};
  for (std::size_t i = 0; i < looked.size(); ++i) zeros[i % 2] += looked[i] == '\0' ? 1 : 0;
  const std::size_t half = looked.size() / 2;
  return (zeros[0] > half * 3 / 4 && zeros[1] < half / 4) ||
         (zeros[1] > half * 3 / 4 && zeros[0] < half / 4);
}

}  // namespace

std::optional<std::string> foreign_content(std::string_view start) {
  if (start.starts_with("\xFF\xFE\0\0"sv) || start.starts_with("\0\0\xFE\xFF"sv)) {
    return "UTF-32; save it as UTF-8";
  }
  if (start.starts_with("\xFF\xFE"sv) || start.starts_with("\xFE\xFF"sv) || is_wide_text(start)) {
    return "UTF-16; save it as UTF-8";
  }
  for (const Kind& kind : kKinds) {
    if (start.size() > kind.offset && start.substr(kind.offset).starts_with(kind.magic)) {
      return kind.what;
    }
  }
  if (is_markup(start)) {
    return "an HTML or XML page and not data, as servers send for an address that is wrong or asks "
           "for a login; fetch the file itself";
  }
  const Compression twice = compression_of(start);
  if (twice != Compression::none) {
    return text(name_of(twice), " data inside compressed data; undo one of the two");
  }
  return std::nullopt;
}

}  // namespace micrec
