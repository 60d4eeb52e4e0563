#include "io/feature_file.h"

#include <glog/logging.h>
#include <libdeflate.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/hdf5.h"
#include "io/npy.h"
#include "io/tables/line_reader.h"

namespace micrec {
namespace {

constexpr const char* kKey = "/key";
constexpr const char* kValue = "/value";
constexpr const char* kChecksum = "crc32";
constexpr const char* kNpySuffix = ".npy";
constexpr std::int64_t kBytesAtOnce = 8 << 20;

static_assert(std::endian::native == std::endian::little, "the checksum is of little-endian bytes");

std::uint32_t checksum_of(const std::vector<std::string>& keys) {
  std::uint32_t checksum = 0;
  for (const std::string& key : keys)
    checksum = libdeflate_crc32(checksum, key.c_str(), key.size() + 1);
  return checksum;
}

std::string hexadecimal(std::int64_t checksum) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%08llx", static_cast<unsigned long long>(checksum));
  return digits;
}

/// The keys beside NAME.npy: NAME.keys.txt, a key a line, as many as NAME.npy has rows.
std::vector<std::string> read_key_file(const std::string& path, std::int64_t rows) {
  LineReader lines(path);
  std::vector<std::string> keys;
  std::string_view line;
  while (lines.next(&line)) {
    // At once: a packed file of some MiB can hold a thousand times as many empty lines.
    if (std::ssize(keys) == rows) {
      throw lines.error("expected ", with_commas(rows),
                        " keys, one for each row of values, got more");
    }
    keys.emplace_back(line);
  }
  return keys;
}

}  // namespace

struct FeatureFile::State {
  std::string path;
  std::string keys_path;         // where the keys are: the same file, or the one beside it
  std::optional<Hdf5File> hdf5;  // one of the two, or none
  std::optional<NpyFile> npy;
  std::vector<float> values;  // (keys, width) where there is neither
  std::vector<std::string> keys;
  std::int64_t width = 0;

  /// Before the keys are read: how many there may be is the number of rows.
  void set_width(const std::vector<std::int64_t>& shape) {
    if (shape.size() != 2) {
      throw Error(Cause::data, path, ": expected a table (items, width), got an array of ",
                  shape.size(), " dimensions");
    }
    if (shape[1] < 1) throw Error(Cause::data, path, ": the values have no columns");
    width = shape[1];
  }

  void check_count(std::int64_t count, std::int64_t rows) const {
    if (count == rows) return;
    throw Error(Cause::data, path, ": ", count, " keys",
                keys_path == path ? "" : " in " + keys_path, ", but ", rows,
                " rows of values; expected a row a key");
  }

  void compare_checksum(const char* dataset, std::uint32_t found) const {
    const std::int64_t expected = hdf5->integer_attribute(dataset, kChecksum);
    if (expected == found) return;
    throw Error(Cause::data, path, ":", dataset, ": not what was written: its CRC-32 is ",
                hexadecimal(found), ", and the file was made with ", hexadecimal(expected),
                "; it is damaged or was changed since, make or fetch it again");
  }

  void verify() const {
    if (hdf5->has_attribute(kKey, kChecksum)) compare_checksum(kKey, checksum_of(keys));
    if (!hdf5->has_attribute(kValue, kChecksum)) return;
    const auto rows = std::ssize(keys);
    const auto row_bytes = width * static_cast<std::int64_t>(sizeof(float));
    const std::int64_t rows_at_once = std::max<std::int64_t>(1, kBytesAtOnce / row_bytes);
    std::vector<float> block(static_cast<std::size_t>(std::min(rows, rows_at_once) * width));
    std::uint32_t checksum = 0;
    for (std::int64_t begin = 0; begin < rows; begin += rows_at_once) {
      const Range range{begin, std::min(rows, begin + rows_at_once)};
      hdf5->read_rows(kValue, range, block.data());
      checksum = libdeflate_crc32(checksum, block.data(),
                                  static_cast<std::size_t>(range.size() * row_bytes));
    }
    compare_checksum(kValue, checksum);
  }

  /// Not rounded to float32.
  double value_in_file(std::int64_t row, std::int64_t column) const {
    std::vector<double> of_row(static_cast<std::size_t>(width));
    read({row, row + 1}, of_row.data());
    return of_row[static_cast<std::size_t>(column)];
  }

  template <typename Number>
  void read(Range rows, Number* out) const {
    if (hdf5) {
      hdf5->read_rows(kValue, rows, out);
    } else if (npy) {
      npy->read_rows(rows, out);
    } else {
      std::copy(values.begin() + rows.begin * width, values.begin() + rows.end * width, out);
    }
  }

  void check_keys() const {
    std::unordered_map<std::string_view, std::size_t> rows;
    rows.reserve(keys.size());
    for (std::size_t row = 0; row < keys.size(); ++row) {
      if (keys[row].empty())
        throw Error(Cause::data, keys_path, ": the key of row ", row, " is empty");
      const auto [first, is_new] = rows.emplace(keys[row], row);
      if (!is_new) {
        throw Error(Cause::data, keys_path, ": rows ", first->second, " and ", row,
                    " both have the key ", excerpt(keys[row]), "; expected each item once");
      }
    }
  }
};

FeatureFile::FeatureFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
FeatureFile::FeatureFile(FeatureFile&&) noexcept = default;
FeatureFile& FeatureFile::operator=(FeatureFile&&) noexcept = default;
FeatureFile::~FeatureFile() = default;

FeatureFile FeatureFile::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  if (path.ends_with(kNpySuffix)) {
    state->npy = NpyFile::open(path);
    const std::vector<std::int64_t>& shape = state->npy->shape();
    state->set_width(shape);
    state->keys_path = files_of_features(path).back();
    state->keys = read_key_file(state->keys_path, shape[0]);
    state->check_count(std::ssize(state->keys), shape[0]);
  } else {
    if (Hdf5File::is_another_format(path)) {
      throw Error(Cause::data, path,
                  ": not an HDF5 file; expected features as NAME.h5 with /key and /value, as "
                  "launcher/encode_features.py writes them, or as NAME.npy beside NAME.keys.txt");
    }
    state->hdf5 = Hdf5File::open(path);
    for (const char* name : {kKey, kValue}) {
      if (!state->hdf5->is_dataset(name)) {
        throw Error(Cause::data, path, ": no dataset ", name,
                    "; expected /key (strings) and /value (items, width), as "
                    "launcher/encode_features.py writes them, got ",
                    listed(state->hdf5->children("/")));
      }
    }
    const Hdf5Info values = state->hdf5->info(kValue);
    const Hdf5Type type = values.type;
    if (type != Hdf5Type::float32 && type != Hdf5Type::float64 && type != Hdf5Type::float16) {
      throw Error(Cause::data, path, ":", kValue, ": expected floats, got ", name_of(type));
    }
    state->set_width(values.shape);
    state->keys_path = path;
    state->check_count(state->hdf5->info(kKey).rows(), values.rows());
    state->keys = state->hdf5->read_text(kKey);
    state->verify();
  }
  state->check_keys();
  return FeatureFile(std::move(state));
}

FeatureFile FeatureFile::of(const std::string& origin, std::vector<std::string> keys,
                            std::int64_t width, std::vector<float> values) {
  CHECK_EQ(values.size(), keys.size() * width) << origin;
  auto state = std::make_unique<State>();
  state->path = origin;
  state->keys_path = origin;
  state->keys = std::move(keys);
  state->width = width;
  state->values = std::move(values);
  state->check_keys();
  return FeatureFile(std::move(state));
}

const std::string& FeatureFile::path() const { return state_->path; }
std::int64_t FeatureFile::width() const { return state_->width; }
const std::vector<std::string>& FeatureFile::keys() const { return state_->keys; }

void FeatureFile::read_rows(Range rows, float* out) const {
  const State& s = *state_;
  CHECK(0 <= rows.begin && rows.begin <= rows.end && rows.end <= std::ssize(s.keys))
      << s.path << ": rows " << rows.begin << " to " << rows.end;
  s.read(rows, out);
  for (std::int64_t i = 0; i < rows.size() * s.width; ++i) {
    if (std::isfinite(out[i])) continue;
    const std::int64_t row = rows.begin + i / s.width;
    const double written = s.value_in_file(row, i % s.width);
    throw Error(Cause::data, s.path, ": row ", row, " (key ",
                excerpt(s.keys[static_cast<std::size_t>(row)]), "), column ", i % s.width,
                ": expected a finite number, got ", written,
                std::isfinite(written)
                    ? text(", which is too large for float32 (at most ",
                           std::numeric_limits<float>::max(), "); scale the features")
                    : "; leave the item out where its features could not be made");
  }
}

std::vector<std::string> files_of_features(const std::string& path) {
  if (!path.ends_with(kNpySuffix)) return {path};
  return {path, path.substr(0, path.size() - std::string_view(kNpySuffix).size()) + ".keys.txt"};
}

}  // namespace micrec
