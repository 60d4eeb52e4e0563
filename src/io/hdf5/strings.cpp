#include <glog/logging.h>
#include <hdf5.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "io/hdf5.h"
#include "io/hdf5/open_file.h"

namespace micrec {
namespace {

using hdf5::absolute;
using hdf5::Handle;
using hdf5::library_mutex;
using hdf5::Lock;
using hdf5::must;
using hdf5::OpenFile;

// Fixed-width strings may take this much more than their characters before variable length is used.
constexpr std::size_t kMostPadding = 2;
constexpr std::size_t kReferenceBytes = 16;  // that a string of variable length costs
// Strings are converted in blocks of this many, so that memory beside the result stays small.
constexpr std::int64_t kBlock = 128 * 1024;

/// A list of strings in a file.
struct Strings {
  hid_t id;
  Handle type;
  Hdf5Info what;
  bool variable;
  std::size_t width;  // of a field, where not variable
};

Strings strings_of(OpenFile& file, const std::string& name) {
  Strings strings{hdf5::dataset(file, name), {}, {}, false, 0};
  strings.what = hdf5::expect(file, name, Hdf5Type::text);
  if (strings.what.shape.size() != 1) {
    throw Error(Cause::data, file.at(name), ": expected a list of strings, got shape ",
                shape_text(strings.what.shape));
  }
  strings.type = file.held(name, H5Dget_type(strings.id), H5Tclose);
  strings.variable = hdf5::is_variable_text(strings.type.id());
  strings.width = hdf5::stored_element_bytes(file, name, strings.id);
  return strings;
}

/// Whether fields of the width of the longest string take little more room than references to
/// strings of variable length, which are not compressed either.
bool fit_fields(const std::vector<std::string>& values, std::size_t longest) {
  std::size_t all = 0;
  for (const std::string& value : values) all += value.size();
  return longest * values.size() <= kMostPadding * (all + kReferenceBytes * values.size());
}

void write_block(OpenFile& file, const std::string& name, const Strings& strings, Range rows,
                 const std::vector<std::string>& values) {
  std::vector<const char*> pointers;
  std::string fields;
  if (!strings.variable) fields.assign(static_cast<std::size_t>(rows.size()) * strings.width, '\0');
  for (std::int64_t i = rows.begin; i < rows.end; ++i) {
    const std::string& value = values[static_cast<std::size_t>(i)];
    if (value.find('\0') != std::string::npos) {
      throw Error(Cause::data, file.at(name), ": the string '", value.c_str(), "...' in row ", i,
                  " has a zero byte inside, which HDF5 strings cannot hold");
    }
    if (strings.variable) {
      pointers.push_back(value.c_str());
    } else {
      std::memcpy(fields.data() + static_cast<std::size_t>(i - rows.begin) * strings.width,
                  value.data(), value.size());
    }
  }
  const void* block = strings.variable ? static_cast<const void*>(pointers.data()) : fields.data();
  hdf5::write_rows(file, name, strings.type.id(), strings.what, rows, block);
}

/// Appends the strings of some rows.
void read_block(OpenFile& file, const std::string& name, const Strings& strings, Range rows,
                std::vector<std::string>& values) {
  const auto count = static_cast<std::size_t>(rows.size());
  if (!strings.variable) {
    std::vector<char> fields(count * strings.width);
    hdf5::read_rows(file, name, strings.type.id(), strings.what, rows, fields.data());
    const H5T_str_t padding = must("H5Tget_strpad", H5Tget_strpad(strings.type.id()));
    for (std::size_t i = 0; i < count; ++i) {
      values.push_back(hdf5::from_field(fields.data() + i * strings.width, strings.width, padding));
    }
    return;
  }
  std::vector<char*> pointers(count, nullptr);
  hdf5::read_rows(file, name, strings.type.id(), strings.what, rows, pointers.data());
  for (const char* value : pointers) values.emplace_back(value == nullptr ? "" : value);
  const Handle memory = hdf5::space_of({count});
  must("H5Dvlen_reclaim",
       H5Dvlen_reclaim(strings.type.id(), memory.id(), H5P_DEFAULT, pointers.data()));
}

}  // namespace

void Hdf5File::write_text(const std::string& dataset, const std::vector<std::string>& values,
                          const Hdf5Storage& storage) {
  std::size_t longest = 1;
  for (const std::string& value : values) longest = std::max(longest, value.size());
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  const auto rows = std::ssize(values);
  const std::size_t width = fit_fields(values, longest) ? longest : 0;
  hdf5::make_dataset(*file_, name, hdf5::text_type(width).id(), {rows}, storage.compress,
                     hdf5::Fill::by_caller);
  const Strings strings = strings_of(*file_, name);
  for (std::int64_t begin = 0; begin < rows; begin += kBlock)
    write_block(*file_, name, strings, {begin, std::min(begin + kBlock, rows)}, values);
}

std::vector<std::string> Hdf5File::read_text(const std::string& dataset) const {
  const Lock lock(library_mutex());
  const std::string name = absolute(dataset);
  const Strings strings = strings_of(*file_, name);
  const std::int64_t rows = strings.what.rows();
  std::vector<std::string> values;
  values.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t begin = 0; begin < rows; begin += kBlock)
    read_block(*file_, name, strings, {begin, std::min(begin + kBlock, rows)}, values);
  return values;
}

}  // namespace micrec
