#include <fcntl.h>
#include <glog/logging.h>
#include <hdf5.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/descriptor.h"
#include "io/hdf5.h"
#include "io/hdf5/open_file.h"
#include "io/paths.h"

namespace micrec {
namespace hdf5 {

OpenFile::~OpenFile() {
  if (id < 0) return;
  const Lock lock(library_mutex());
  if (!shut())
    LOG(ERROR) << path << ": closing failed, the file may be damaged: " << library_message();
}

bool OpenFile::shut() {
  datasets.clear();
  return H5Fclose(std::exchange(id, H5I_INVALID_HID)) >= 0;
}

std::string OpenFile::at(const std::string& name) const { return text(path, ":", name); }

void OpenFile::fail_reading(const std::string& name, const std::string& what) const {
  // What the system refused has its reason; the rest, a filter that fails, is in the contents.
  const std::string message = library_message();
  const Cause cause = message.find("(errno: ") != std::string::npos ? Cause::io : Cause::data;
  throw Error(cause, at(name), ": ", what, " failed: ", message,
              "; the file may be damaged, make or fetch it again");
}

void OpenFile::fail_writing(const std::string& name) const {
  throw Error(Cause::io, at(name), ": cannot be written: ", library_message(),
              "; is the disk full?");
}

Handle OpenFile::held(const std::string& name, hid_t object, herr_t (*release)(hid_t)) const {
  if (object < 0) fail_reading(name, "looking into it");
  return {object, release};
}

bool OpenFile::told(const std::string& name, htri_t answer) const {
  if (answer < 0) fail_reading(name, "looking into it");
  return answer > 0;
}

void OpenFile::check_writable(const std::string& name) const {
  CHECK(writable) << at(name) << ": the file was opened for reading only";
}

namespace {

/// The process of this machine that has the lock, as "process 12 (python3)"; "another process"
/// where the system does not show it.
std::string holder_of_lock(const struct stat& file) {
  std::ifstream locks("/proc/locks");
  char wanted[64];
  std::snprintf(wanted, sizeof wanted, "%02x:%02x:%llu", major(file.st_dev), minor(file.st_dev),
                static_cast<unsigned long long>(file.st_ino));
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string strictness;
    std::string access;
    std::string process;
    std::string place;
    words >> number >> kind >> strictness >> access >> process >> place;
    if (place != wanted || access != "WRITE") continue;
    std::string name;
    std::ifstream comm("/proc/" + process + "/comm");
    std::getline(comm, name);
    return text("process ", process, name.empty() ? "" : " (" + printable(name) + ")");
  }
  return "another process";
}

/// Throws where another program, such as h5py, has the file open for writing and says so by the
/// lock that HDF5 takes. Where the file system has no locks there is nothing to ask; nor where the
/// user has told all HDF5 programs not to ask.
void refuse_being_written(const std::string& path) {
  const char* const wish = std::getenv("HDF5_USE_FILE_LOCKING");
  if (wish != nullptr && (std::string(wish) == "FALSE" || std::string(wish) == "0")) return;
  const Descriptor opened(path, O_RDONLY);
  if (!opened.ok()) refuse_path("open", path, errno);
  if (::flock(opened.id(), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  struct stat status {};
  const bool is_known = ::fstat(opened.id(), &status) == 0;
  throw Error(Cause::io, "cannot read ", path, ": ",
              is_known ? holder_of_lock(status) : std::string("another process"),
              " has it open for writing; wait until it has closed the file");
}

/// What may be wrong with a path, found before HDF5 says it less clearly.
void check_readable(const std::string& path) {
  refuse_unreadable(path);
  if (look_at(path) == PathKind::other) {
    throw Error(Cause::io, "cannot read ", path, ": expected an HDF5 file, got a device");
  }
  refuse_being_written(path);
}

Handle file_access() {
  Handle access = property_list(H5P_FILE_ACCESS);
  must("H5Pset_fclose_degree", H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG));
#ifdef MICREC_HDF5_HAS_FILE_LOCKING
  must("H5Pset_file_locking",
       H5Pset_file_locking(access.id(), /*use=*/false, /*ignore_when_disabled=*/true));
#endif
  return access;
}

/// Why the library cannot open a file.
[[noreturn]] void refuse_opening(const std::string& path, const Hdf5Structure* structure) {
  const std::string message = library_message();
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (is_hdf5 == 0)
    throw Error(Cause::data, path, ": not an HDF5 file; is it another format, or empty?");
  if (message.find("truncated") != std::string::npos) {
    throw Error(Cause::data, path, ": cut off (", message, "); make or fetch it again");
  }
  if (message.find("unable to lock file") != std::string::npos) {  // against our own wish
    throw Error(Cause::io, "cannot open ", path, ": ", message,
                "; micrec needs no locks of HDF5: unset HDF5_USE_FILE_LOCKING");
  }
  if (message.find("errno") != std::string::npos) {  // The system refused, not the contents.
    throw Error(Cause::io, path, ": cannot be opened as HDF5: ", message);
  }
  const std::string obstacle = structure == nullptr ? "" : structure->first_obstacle();
  if (!obstacle.empty()) throw Error(Cause::data, path, " ", obstacle);
  throw Error(Cause::data, path, ": damaged (", message, "); make or fetch it again");
}

}  // namespace
}  // namespace hdf5

using hdf5::absolute;
using hdf5::Handle;
using hdf5::library_mutex;
using hdf5::Lock;
using hdf5::must;

Hdf5File::Hdf5File(std::unique_ptr<hdf5::OpenFile> file) : file_(std::move(file)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;
Hdf5File::~Hdf5File() = default;

Hdf5File Hdf5File::create(const std::string& path) {
  auto file = std::make_unique<hdf5::OpenFile>();
  file->path = path;
  file->writable = true;
  const Lock lock(library_mutex());
  hdf5::print_nothing();
  const Handle access = hdf5::file_access();
  const Handle plist = hdf5::property_list(H5P_FILE_CREATE);
  must("H5Pset_obj_track_times", H5Pset_obj_track_times(plist.id(), false));
  file->id = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, plist.id(), access.id());
  if (file->id < 0) {
    const std::string message = hdf5::library_message();
    if (!Descriptor(path, O_WRONLY | O_CREAT).ok()) refuse_path("write", path, errno);
    throw Error(Cause::io, "cannot write ", path, ": ", message);
  }
  return Hdf5File(std::move(file));
}

Hdf5File Hdf5File::open(const std::string& path, Hdf5Content content) {
  hdf5::check_readable(path);
  auto file = std::make_unique<hdf5::OpenFile>();
  file->path = path;
  const Lock lock(library_mutex());
  if (content == Hdf5Content::foreign) file->structure = std::make_unique<Hdf5Structure>(path);
  hdf5::print_nothing();
  const Handle access = hdf5::file_access();  // Closing it would clear the messages.
  file->id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id());
  if (file->id < 0) hdf5::refuse_opening(path, file->structure.get());
  file->bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
  return Hdf5File(std::move(file));
}

bool Hdf5File::is_another_format(const std::string& path) {
  if (look_at(path) != PathKind::file) return false;
  const Lock lock(library_mutex());
  hdf5::print_nothing();
  return H5Fis_hdf5(path.c_str()) == 0;  // One that cannot be read is refused by open().
}

const std::string& Hdf5File::path() const { return file_->path; }

void Hdf5File::close() {
  const Lock lock(library_mutex());
  CHECK_GE(file_->id, 0) << path() << " is closed already";
  for (const auto& [name, packed] : file_->packed) {
    CHECK(packed.are_whole()) << file_->at(name) << ": rows are missing";
  }
  const bool flushed = !file_->writable || H5Fflush(file_->id, H5F_SCOPE_LOCAL) >= 0;
  const std::string message = flushed ? "" : hdf5::library_message();
  if (!file_->shut() || !flushed) {
    throw Error(Cause::io, path(),
                ": cannot be written: ", flushed ? hdf5::library_message() : message,
                "; is the disk full?");
  }
}

bool Hdf5File::exists(const std::string& name) const {
  const Lock lock(library_mutex());
  return hdf5::find(*file_, absolute(name)).has_value();
}

bool Hdf5File::is_dataset(const std::string& name) const {
  const Lock lock(library_mutex());
  return hdf5::is(*file_, H5O_TYPE_DATASET, absolute(name));
}

std::vector<std::string> Hdf5File::children(const std::string& group) const {
  const Lock lock(library_mutex());
  return hdf5::children(*file_, absolute(group));
}

void Hdf5File::make_group(const std::string& group) {
  const Lock lock(library_mutex());
  const std::string name = absolute(group);
  file_->check_writable(name);
  hdf5::refuse_existing(*file_, name);
  const Handle links = hdf5::with_groups_on_the_way();
  const Handle made(H5Gcreate2(file_->id, name.c_str(), links.id(), H5P_DEFAULT, H5P_DEFAULT),
                    H5Gclose);
  if (!made.ok()) file_->fail_writing(name);
}

}  // namespace micrec
