#include <glog/logging.h>
#include <hdf5.h>

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

std::string place(const std::string& object, const std::string& name) {
  return text(object, "@", name);
}

Handle open_owner(const OpenFile& file, const std::string& object) {
  const std::optional<hdf5::Object> found = hdf5::find(file, object);
  if (!found) {
    throw Error(Cause::data, file.at(object), ": no such group or dataset",
                hdf5::not_there(file, object));
  }
  Handle owner(H5Oopen(file.id, found->name.c_str(), H5P_DEFAULT), H5Oclose);
  if (!owner.ok()) file.fail_reading(object, "opening the object");
  return owner;
}

/// Makes an attribute of one value, or replaces it.
void write_attribute(const OpenFile& file, const std::string& object, const std::string& name,
                     hid_t type, const void* value) {
  file.check_writable(object);
  const Handle owner = open_owner(file, object);
  const std::string where = place(object, name);
  if (file.told(where, H5Aexists(owner.id(), name.c_str())) &&
      H5Adelete(owner.id(), name.c_str()) < 0) {
    file.fail_writing(where);
  }
  const Handle space(must("H5Screate", H5Screate(H5S_SCALAR)), H5Sclose);
  const Handle attribute(
      H5Acreate2(owner.id(), name.c_str(), type, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!attribute.ok() || H5Awrite(attribute.id(), type, value) < 0) file.fail_writing(where);
}

/// An attribute of one element of this class. expected: what it is, for a message.
Handle open_attribute(const OpenFile& file, const std::string& object, const std::string& name,
                      const char* expected, H5T_class_t wanted) {
  const Handle owner = open_owner(file, object);
  const std::string where = place(object, name);
  if (!file.told(where, H5Aexists(owner.id(), name.c_str())))
    throw Error(Cause::data, file.at(where), ": no such attribute");
  Handle attribute(H5Aopen(owner.id(), name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute.ok()) file.fail_reading(where, "opening the attribute");
  const Handle type = file.held(where, H5Aget_type(attribute.id()), H5Tclose);
  const Handle space = file.held(where, H5Aget_space(attribute.id()), H5Sclose);
  const hssize_t points = H5Sget_simple_extent_npoints(space.id());
  if (points < 0) file.fail_reading(where, "reading its shape");
  if (must("H5Tget_class", H5Tget_class(type.id())) != wanted || points != 1) {
    throw Error(Cause::data, file.at(where), ": expected ", expected, ", got ", points, " of ",
                name_of(hdf5::classify(type.id())));
  }
  return attribute;
}

template <typename Number>
Number read_number(const OpenFile& file, const std::string& object, const std::string& name,
                   const char* expected, H5T_class_t wanted, hid_t type) {
  const Lock lock(library_mutex());
  const Handle attribute = open_attribute(file, object, name, expected, wanted);
  Number value = 0;
  if (H5Aread(attribute.id(), type, &value) < 0) file.fail_reading(place(object, name), "reading");
  return value;
}

}  // namespace

bool Hdf5File::has_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  const std::optional<hdf5::Object> owner = hdf5::find(*file_, absolute(object));
  return owner &&
         file_->told(place(owner->name, name),
                     H5Aexists_by_name(file_->id, owner->name.c_str(), name.c_str(), H5P_DEFAULT));
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name,
                             const std::string& value) {
  const Lock lock(library_mutex());
  const char* letters = value.c_str();
  write_attribute(*file_, absolute(object), name, hdf5::text_type(0).id(), &letters);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name,
                             std::int64_t value) {
  const Lock lock(library_mutex());
  write_attribute(*file_, absolute(object), name, H5T_NATIVE_INT64, &value);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& name, double value) {
  const Lock lock(library_mutex());
  write_attribute(*file_, absolute(object), name, H5T_NATIVE_DOUBLE, &value);
}

std::string Hdf5File::text_attribute(const std::string& object, const std::string& name) const {
  const Lock lock(library_mutex());
  const std::string owner = absolute(object);
  const Handle attribute = open_attribute(*file_, owner, name, "one string", H5T_STRING);
  const std::string where = place(owner, name);
  const Handle type = file_->held(where, H5Aget_type(attribute.id()), H5Tclose);
  if (hdf5::is_variable_text(type.id())) {
    char* letters = nullptr;
    if (H5Aread(attribute.id(), type.id(), &letters) < 0) file_->fail_reading(where, "reading");
    std::string value = letters == nullptr ? "" : letters;
    must("H5free_memory", H5free_memory(letters));
    return value;
  }
  std::vector<char> field(H5Tget_size(type.id()));
  if (field.empty() || H5Aread(attribute.id(), type.id(), field.data()) < 0)
    file_->fail_reading(where, "reading");
  return hdf5::from_field(field.data(), field.size(),
                          must("H5Tget_strpad", H5Tget_strpad(type.id())));
}

std::int64_t Hdf5File::integer_attribute(const std::string& object, const std::string& name) const {
  return read_number<std::int64_t>(*file_, absolute(object), name, "one integer", H5T_INTEGER,
                                   H5T_NATIVE_INT64);
}

double Hdf5File::number_attribute(const std::string& object, const std::string& name) const {
  return read_number<double>(*file_, absolute(object), name, "one number", H5T_FLOAT,
                             H5T_NATIVE_DOUBLE);
}

}  // namespace micrec
