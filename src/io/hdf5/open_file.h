#pragma once

#include <hdf5.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/hdf5.h"
#include "io/hdf5/library.h"
#include "io/hdf5/packed_rows.h"
#include "io/hdf5_structure/hdf5_structure.h"

namespace micrec::hdf5 {

/// A file that is open. Whoever calls what is declared here holds the library's mutex. Names are
/// absolute().
struct OpenFile {
  std::string path;
  hid_t id = H5I_INVALID_HID;
  bool writable = false;
  std::int64_t bytes = 0;                    // of the file when it was opened
  std::unique_ptr<Hdf5Structure> structure;  // where it was checked
  std::map<std::string, Handle> datasets;    // kept open, with their caches of chunks
  std::map<std::string, PackedRows> packed;  // compressed datasets that are being written

  OpenFile() = default;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile();  // takes the mutex
  bool shut();

  std::string at(const std::string& name) const;
  [[noreturn]] void fail_reading(const std::string& name, const std::string& what) const;
  [[noreturn]] void fail_writing(const std::string& name) const;
  /// The library's answer about an object of the file, which a damaged one may make a failure.
  Handle held(const std::string& name, hid_t id, herr_t (*release)(hid_t)) const;
  bool told(const std::string& name, htri_t answer) const;
  void check_writable(const std::string& name) const;
};

/// "/a/b/c" for "a/b/c", "/a/b/c" and "/a/b/c/".
std::string absolute(const std::string& name);

// --- objects.cpp: what a name leads to ---

struct Object {
  std::string name;  // by hard links alone
  H5O_type_t type;
  haddr_t address;
};

/// Nothing where there is nothing. Soft links are followed here and not by the library, which would
/// go on into other files, whose structure nobody has checked.
///
/// Errors   Error(Cause::data) where there is something that cannot be reached or read.
std::optional<Object> find(const OpenFile& file, const std::string& name);
bool is(const OpenFile& file, H5O_type_t type, const std::string& name);
std::vector<std::string> children(const OpenFile& file, const std::string& group);
/// "; /domains has food, kitchen": what there is instead of a name that is not there.
std::string not_there(const OpenFile& file, const std::string& name);
void refuse_existing(const OpenFile& file, const std::string& name);

// --- dataset.cpp ---

Hdf5Type classify(hid_t type);
hid_t memory_type(Hdf5Type type);

/// The dataset of a name, kept open.
hid_t dataset(OpenFile& file, const std::string& name);
Hdf5Info info_of(const OpenFile& file, const std::string& name, hid_t id);
/// What the dataset is, where it may be read as `wanted`.
Hdf5Info expect(OpenFile& file, const std::string& name, Hdf5Type wanted);
std::size_t stored_element_bytes(const OpenFile& file, const std::string& name, hid_t id);
void check_rows(const OpenFile& file, const std::string& name, const Hdf5Info& what, Range rows);

enum class Fill { by_caller, by_caller_later, zeros };
void make_dataset(OpenFile& file, const std::string& name, hid_t type,
                  const std::vector<std::int64_t>& shape, bool compress, Fill fill);

/// Rows [rows.begin, rows.end) of a dataset. out, values: (rows.size() * row_elements) of `type`.
void read_rows(OpenFile& file, const std::string& name, hid_t type, const Hdf5Info& what,
               Range rows, void* out);
void write_rows(OpenFile& file, const std::string& name, hid_t type, const Hdf5Info& what,
                Range rows, const void* values);

}  // namespace micrec::hdf5
