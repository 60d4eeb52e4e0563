#pragma once

#include <glog/logging.h>
#include <hdf5.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "io/hdf5.h"

namespace micrec {

/// What tests do to an HDF5 file that this program never does: it writes a file once. The file must
/// not be open.
class Hdf5Edit {
 public:
  explicit Hdf5Edit(const std::string& path)
      : file_(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)) {
    CHECK_GE(file_, 0) << path;
  }
  ~Hdf5Edit() { CHECK_GE(H5Fclose(file_), 0); }
  Hdf5Edit(const Hdf5Edit&) = delete;
  Hdf5Edit& operator=(const Hdf5Edit&) = delete;

  /// values: (rows.size() * row_elements)
  template <Hdf5Number T>
  void write_rows(const std::string& dataset, Range rows, const T* values) {
    const hid_t id = H5Dopen2(file_, dataset.c_str(), H5P_DEFAULT);
    const hid_t space = H5Dget_space(id);
    hsize_t count[H5S_MAX_RANK] = {};
    const int rank = H5Sget_simple_extent_dims(space, count, nullptr);
    CHECK_GE(rank, 1) << dataset;
    const hsize_t start[H5S_MAX_RANK] = {static_cast<hsize_t>(rows.begin)};
    count[0] = static_cast<hsize_t>(rows.size());
    CHECK_GE(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr), 0);
    const hid_t memory = H5Screate_simple(rank, count, nullptr);
    CHECK_GE(H5Dwrite(id, type_of<T>(), memory, space, H5P_DEFAULT, values), 0) << dataset;
    CHECK(H5Sclose(memory) >= 0 && H5Sclose(space) >= 0 && H5Dclose(id) >= 0);
  }

  /// Of one integer, which is there.
  void set_attribute(const std::string& object, const std::string& name, std::int64_t value) {
    const hid_t owner = H5Oopen(file_, object.c_str(), H5P_DEFAULT);
    const hid_t id = H5Aopen(owner, name.c_str(), H5P_DEFAULT);
    CHECK_GE(H5Awrite(id, H5T_NATIVE_INT64, &value), 0) << object << " " << name;
    CHECK(H5Aclose(id) >= 0 && H5Oclose(owner) >= 0);
  }

  /// A new dataset in chunks of so many rows that no filter has touched. values: (rows, columns)
  void add_chunked(const std::string& dataset, const std::vector<float>& values,
                   std::int64_t columns, std::int64_t chunk_rows) {
    const hsize_t sizes[2] = {values.size() / static_cast<hsize_t>(columns),
                              static_cast<hsize_t>(columns)};
    const hsize_t chunk[2] = {static_cast<hsize_t>(chunk_rows), static_cast<hsize_t>(columns)};
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    CHECK_GE(H5Pset_chunk(plist, 2, chunk), 0);
    const hsize_t most[2] = {H5S_UNLIMITED, sizes[1]};
    const hid_t space = H5Screate_simple(2, sizes, most);
    const hid_t id = H5Dcreate2(file_, dataset.c_str(), H5T_NATIVE_FLOAT, space, H5P_DEFAULT, plist,
                                H5P_DEFAULT);
    CHECK_GE(H5Dwrite(id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    CHECK(H5Dclose(id) >= 0 && H5Sclose(space) >= 0 && H5Pclose(plist) >= 0);
  }

 private:
  template <Hdf5Number T>
  static hid_t type_of() {
    switch (hdf5_type_of<T>()) {
      case Hdf5Type::int32:
        return H5T_NATIVE_INT32;
      case Hdf5Type::int64:
        return H5T_NATIVE_INT64;
      case Hdf5Type::uint8:
        return H5T_NATIVE_UINT8;
      case Hdf5Type::float32:
        return H5T_NATIVE_FLOAT;
      default:
        return H5T_NATIVE_DOUBLE;
    }
  }

  hid_t file_;
};

}  // namespace micrec
