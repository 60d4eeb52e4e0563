#include "io/hdf5/library.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

namespace micrec::hdf5 {

std::mutex& library_mutex() {
#ifndef MICREC_HDF5_HAS_FILE_LOCKING
  static const int no_locks = ::setenv("HDF5_USE_FILE_LOCKING", "FALSE", /*overwrite=*/1);
  static_cast<void>(no_locks);
#endif
  // Before the library's first call: its own clean-up at exit crashes on a file that could not be
  // closed because the disk was full, and the crash would hide the exit code. Every file is closed
  // by its owner. It fails only where somebody has asked for the same before.
  static const herr_t no_clean_up = H5dont_atexit();
  static_cast<void>(no_clean_up);
  static std::mutex mutex;
  return mutex;
}

void print_nothing() { must("H5Eset_auto2", H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr)); }

std::string library_message() {
  std::string message;
  const herr_t walked = H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        if (error->desc == nullptr || *error->desc == '\0') return 0;
        *static_cast<std::string*>(out) = error->desc;
        return 1;
      },
      &message);
  if (walked < 0) message.clear();
  // Of "file write failed: time = ..., errno = 28, error message = 'No space left on device', ..."
  // a user needs what failed and the system's reason.
  constexpr std::string_view kReason = "error message = '";
  const std::size_t reason = message.find(kReason);
  if (reason != std::string::npos) {
    const std::size_t begin = reason + kReason.size();
    message = message.substr(0, message.find_first_of(":,")) +
              " (errno: " + message.substr(begin, message.find('\'', begin) - begin) + ")";
  }
  return message.empty() ? "no further message" : message;
}

Handle property_list(hid_t kind) { return {must("H5Pcreate", H5Pcreate(kind)), H5Pclose}; }

Handle with_groups_on_the_way() {
  Handle links = property_list(H5P_LINK_CREATE);
  must("H5Pset_create_intermediate_group", H5Pset_create_intermediate_group(links.id(), 1));
  return links;
}

Handle space_of(const std::vector<hsize_t>& sizes) {
  return {must("H5Screate_simple",
               H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr)),
          H5Sclose};
}

Handle text_type(std::size_t width) {
  Handle type(must("H5Tcopy", H5Tcopy(H5T_C_S1)), H5Tclose);
  must("H5Tset_size", H5Tset_size(type.id(), width == 0 ? H5T_VARIABLE : width));
  must("H5Tset_cset", H5Tset_cset(type.id(), H5T_CSET_UTF8));
  must("H5Tset_strpad", H5Tset_strpad(type.id(), width == 0 ? H5T_STR_NULLTERM : H5T_STR_NULLPAD));
  return type;
}

bool is_variable_text(hid_t type) {
  return must("H5Tis_variable_str", H5Tis_variable_str(type)) > 0;
}

std::string from_field(const char* field, std::size_t width, H5T_str_t padding) {
  std::size_t size = strnlen(field, width);
  if (padding == H5T_STR_SPACEPAD) {
    while (size > 0 && field[size - 1] == ' ') --size;
  }
  return {field, size};
}

}  // namespace micrec::hdf5
