#include "io/npy.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/descriptor.h"
#include "io/paths.h"

namespace micrec {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values are read as they lie in the file");

constexpr std::int64_t kBlockBytes = 1 << 20;
constexpr std::size_t kMostDimensions = 32;  // numpy's own bound

float from_half(std::uint16_t half) {
  const int exponent = (half >> 10) & 0x1F;
  const int mantissa = half & 0x3FF;
  float magnitude;
  if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  } else if (exponent == 31) {
    magnitude = mantissa == 0 ? INFINITY : NAN;
  } else {
    magnitude = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  }
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

struct Header {
  std::string type;  // "<f4"
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// A Python dictionary of strings, numbers, tuples, True and False as JSON.
std::string as_json(std::string_view letters) {
  std::string json;
  for (std::size_t at = 0; at < letters.size(); ++at) {
    const char letter = letters[at];
    if (letters.substr(at).starts_with("True") || letters.substr(at).starts_with("False")) {
      json += letter == 'T' ? "true" : "false";
      at += letter == 'T' ? 3 : 4;
      continue;
    }
    if (letter == ')' || letter == '}') {  // A comma may stand before it.
      while (!json.empty() && (json.back() == ' ' || json.back() == '\n')) json.pop_back();
      if (json.ends_with(',')) json.pop_back();
    }
    json += letter == '\'' ? '"' : letter == '(' ? '[' : letter == ')' ? ']' : letter;
  }
  return json;
}

/// Reads a header such as {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }; nothing
/// where it is not as numpy writes it.
std::optional<Header> parse_header(std::string_view letters) {
  simdjson::dom::parser parser;
  simdjson::dom::object fields;
  simdjson::dom::array sizes;
  std::string_view type;
  Header header;
  const std::string json = as_json(letters);
  if (parser.parse(json).get(fields) || fields.size() != 3 || fields["descr"].get(type) ||
      fields["fortran_order"].get(header.fortran_order) || fields["shape"].get(sizes) ||
      type.empty() || sizes.size() > kMostDimensions) {
    return std::nullopt;
  }
  header.type = type;
  for (const simdjson::dom::element element : sizes) {
    std::int64_t size = 0;
    if (element.get(size) || size < 0) return std::nullopt;
    header.shape.push_back(size);
  }
  return header;
}

/// The value at `from`, of 2, 4 or 8 bytes.
template <typename Real>
Real value_at(const char* from, std::int64_t value_bytes) {
  const auto as = [from](auto value) {
    std::memcpy(&value, from, sizeof value);
    return value;
  };
  if (value_bytes == 8) return static_cast<Real>(as(double{}));
  if (value_bytes == 4) return static_cast<Real>(as(float{}));
  return static_cast<Real>(from_half(as(std::uint16_t{})));
}

}  // namespace

// By position, so that threads may share the file.
void NpyFile::read_bytes(std::int64_t from, void* out, std::size_t bytes) const {
  const std::int64_t got = file_.read_at(from, static_cast<char*>(out), bytes);
  if (got < 0) throw Error(Cause::io, path_, ": cannot be read: ", std::strerror(errno));
  if (got < static_cast<std::int64_t>(bytes))
    throw error("the .npy file is cut off; make or fetch it again");
}

void NpyFile::read_header(std::int64_t file_bytes) {
  std::array<unsigned char, 12> start{};
  if (file_bytes < 10) throw error("not a .npy file: it has ", file_bytes, " bytes");
  read_bytes(0, start.data(), 8);
  if (std::memcmp(start.data(), "\x93NUMPY", 6) != 0) {
    throw error("not a .npy file; save the array with numpy.save");
  }
  const int version = start[6];
  if (version < 1 || version > 3)
    throw error("version ", version, " of the .npy format; expected 1, 2 or 3");
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  read_bytes(8, start.data() + 8, length_bytes);
  std::int64_t header_bytes = 0;
  for (std::size_t i = 0; i < length_bytes; ++i)
    header_bytes |= std::int64_t{start[8 + i]} << (8 * i);
  data_begin_ = 8 + static_cast<std::int64_t>(length_bytes) + header_bytes;
  if (data_begin_ > file_bytes) {
    throw error("the header claims ", header_bytes, " bytes, but the file has ", file_bytes,
                "; it is cut off or damaged");
  }
  std::string letters(static_cast<std::size_t>(header_bytes), '\0');
  read_bytes(data_begin_ - header_bytes, letters.data(), letters.size());
  const std::optional<Header> header = parse_header(letters);
  if (!header) throw error("the header cannot be understood: ", excerpt(letters));
  if (header->type != "<f4" && header->type != "<f8" && header->type != "<f2") {
    throw error("the values have type ", excerpt(header->type),
                "; expected little-endian float16, float32 or float64: save array.astype('<f4')");
  }
  if (header->fortran_order && header->shape.size() > 1) {
    throw error("the array is in Fortran order; save numpy.ascontiguousarray(array)");
  }
  if (header->shape.empty()) throw error("the array is a single value; expected rows");
  shape_ = header->shape;
  value_bytes_ = header->type[2] - '0';
  bool fits = true;
  for (std::size_t i = 1; i < shape_.size(); ++i)
    fits &= !__builtin_mul_overflow(row_elements_, shape_[i], &row_elements_);
  std::int64_t expected = 0;
  fits &= !__builtin_mul_overflow(row_elements_, shape_[0], &expected);
  fits &= !__builtin_mul_overflow(expected, value_bytes_, &expected);
  if (!fits || expected != file_bytes - data_begin_) {
    throw error("the header tells an array of shape ", shape_text(shape_), " of ", value_bytes_,
                " bytes each, but ", file_bytes - data_begin_,
                " bytes follow it; the file is cut off or damaged");
  }
}

NpyFile NpyFile::open(const std::string& path) {
  NpyFile npy;
  npy.path_ = path;
  refuse_unreadable(path);
  const std::int64_t bytes = bytes_of_file(path);
  npy.file_ = Descriptor(path, O_RDONLY);
  if (!npy.file_.ok()) refuse_path("open", path, errno);
  npy.read_header(bytes);
  return npy;
}

template <typename Real>
void NpyFile::read_values(Range rows, Real* out) const {
  CHECK(0 <= rows.begin && rows.begin <= rows.end && rows.end <= shape_[0])
      << path_ << ": rows " << rows.begin << " to " << rows.end;
  std::int64_t from_byte = data_begin_ + rows.begin * row_elements_ * value_bytes_;
  std::int64_t left = rows.size() * row_elements_;
  if (std::is_same_v<Real, float> && value_bytes_ == 4) {
    read_bytes(from_byte, out, static_cast<std::size_t>(left) * sizeof(float));
    return;
  }
  std::vector<char> block(static_cast<std::size_t>(std::min(left * value_bytes_, kBlockBytes)));
  while (left > 0) {
    const std::int64_t count = std::min(left, kBlockBytes / value_bytes_);
    read_bytes(from_byte, block.data(), static_cast<std::size_t>(count * value_bytes_));
    from_byte += count * value_bytes_;
    const char* from = block.data();
    for (std::int64_t i = 0; i < count; ++i, from += value_bytes_) {
      *out++ = value_at<Real>(from, value_bytes_);
    }
    left -= count;
  }
}

void NpyFile::read_rows(Range rows, float* out) const { read_values(rows, out); }
void NpyFile::read_rows(Range rows, double* out) const { read_values(rows, out); }

NpyWriter::NpyWriter(const UnfinishedFile& file, std::int64_t rows, std::int64_t columns)
    : path_(file.path()), values_left_(rows * columns) {
  constexpr std::size_t kStart = 10;  // magic, version and length of the header
  constexpr std::size_t kAlignment = 64;
  std::string header =
      text("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows, ", ", columns, "), }");
  while ((kStart + header.size() + 1) % kAlignment != 0) header += ' ';
  header += '\n';
  errno = 0;
  file_.open(file.name(), std::ios::binary);
  file_.write("\x93NUMPY\x01\x00", 8);
  file_.put(static_cast<char>(header.size() & 0xFF));
  file_.put(static_cast<char>(header.size() >> 8));
  file_ << header;
}

void NpyWriter::write(std::span<const float> values) {
  values_left_ -= std::ssize(values);
  file_.write(reinterpret_cast<const char*>(values.data()),
              static_cast<std::streamsize>(values.size_bytes()));
}

void NpyWriter::close() {
  CHECK_EQ(values_left_, 0) << path_;
  file_.close();
  if (!file_) refuse_path("write", path_, errno);
}

}  // namespace micrec
