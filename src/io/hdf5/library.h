#pragma once

#include <hdf5.h>

#include <cstddef>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

// HDF5's own locks are off: a file system may lack them (NFS, Lustre without flock), a file that is
// written has an unfinished name, and a run folder has one run at a time (io/run_lock.h).
//
// The library is told so since 1.10.7, but for 1.12.0; others know the environment variable alone.
#if H5_VERSION_GE(1, 10, 7) && !(H5_VERS_MAJOR == 1 && H5_VERS_MINOR == 12 && H5_VERS_RELEASE == 0)
#define MICREC_HDF5_HAS_FILE_LOCKING
#endif

namespace micrec::hdf5 {

/// What the other files of this folder need of the HDF5 library itself. Every call of the library
/// is made with its mutex held.

/// The library is one process-wide state that is not safe for threads as Debian builds it: this
/// mutex is the only global.
std::mutex& library_mutex();
using Lock = std::lock_guard<std::mutex>;

/// Has the library print nothing: we say it in our own words.
void print_nothing();

/// An HDF5 identifier and the function that gives it back. Nothing can be done about one that
/// cannot be given back: what was written is flushed before, and the closing of a file is asked.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*release)(hid_t)) : id_(id), release_(release) {}
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), release_(other.release_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) release_(id_);
  }
  hid_t id() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  herr_t (*release_)(hid_t) = nullptr;
};

/// The innermost message of HDF5's error stack: the cause; the outer ones only repeat who called
/// whom.
std::string library_message();

/// The answer of a call that fails only where the program is wrong or has no memory left.
template <typename Answer>
Answer must(const char* call, Answer answer) {
  if (answer < 0) {
    throw Error(Cause::io, "the HDF5 library failed in ", call, ": ", library_message(),
                "; is there memory left?");
  }
  return answer;
}

Handle property_list(hid_t kind);
/// Of a new link: the groups on the way to it are made.
Handle with_groups_on_the_way();
/// A dataspace of these sizes, in memory or of a new dataset.
Handle space_of(const std::vector<hsize_t>& sizes);
/// Of strings in UTF-8; width 0: of variable length.
Handle text_type(std::size_t width);
bool is_variable_text(hid_t type);
/// A string of a fixed-width field: up to its padding.
std::string from_field(const char* field, std::size_t width, H5T_str_t padding);

}  // namespace micrec::hdf5
