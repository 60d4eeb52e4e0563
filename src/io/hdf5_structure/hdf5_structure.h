#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "io/hdf5_structure/b_trees.h"
#include "io/hdf5_structure/bytes.h"
#include "io/hdf5_structure/elements.h"
#include "io/hdf5_structure/heaps.h"
#include "io/hdf5_structure/object_header.h"

namespace micrec {

/// What to do about data that are in another file than the one that is read.
inline constexpr const char* kPutDataThere =
    "put the data themselves there: with h5py, data = file[NAME][()]; del file[NAME]; "
    "file[NAME] = data";

/// The structure of an HDF5 file, followed from its superblock to every object, as the HDF5 library
/// would; what the library would follow into memory that is not there is refused: its version 1.10
/// crashes, hangs or takes any amount of memory on some damaged files.
///
/// Checked  superblock, object headers and their messages (and their checksums, where they have
///          some), groups (B-trees, symbol nodes, local heaps), their names, types, shapes, where
///          elements lie, B-trees of chunks, that a chunk of each compressed dataset is as large as
///          its shape says, and strings of variable length down to their bytes in the global heap,
///          whose sum cannot exceed the file.
/// Left     what the "latest" format of HDF5 protects by checksums that the library itself
///          compares: large groups, lists of more than 8 attributes, indexes of chunks. What is in
///          such a group is checked by check(), and such chunks by check_text_chunk(), when
///          somebody asks for them; variable strings in such attributes are followed by the library
///          alone.
///
/// An object may be in order and yet not for this program: newer than HDF5 1.10 reads, virtual,
/// with elements in other files. obstacle() says so of those, and they must not be opened; the rest
/// of the file can be read.
///
/// Errors   Error(Cause::data) naming the file, the byte and what is wrong there; Error(Cause::io)
///          where it cannot be read. A file without a superblock, or cut off before the end that
///          the superblock tells, is left to the library, which says so.
/// Cost     reads the structure once, the references to variable strings, and of elements one
///          chunk of each compressed dataset.
class Hdf5Structure {
 public:
  explicit Hdf5Structure(const std::string& path);
  Hdf5Structure(const Hdf5Structure&) = delete;
  Hdf5Structure& operator=(const Hdf5Structure&) = delete;

  /// Goes on from an object that the library has found, where it was not come to before; not in a
  /// file that was left to the library.
  void check(std::uint64_t object);

  /// Why the object at this address, as H5Oget_info has it, cannot be read here, and what to do
  /// ("is a virtual dataset: ..."); "" where it can.
  std::string obstacle(std::uint64_t object) const;
  /// The first of all, where the library cannot come to one; "" where there is none.
  std::string first_obstacle() const;

  /// Whether the object is a dataset of variable strings whose chunks only the library finds. Each
  /// chunk, as it is stored, is to be checked before strings are read.
  bool awaits_chunks(std::uint64_t object) const { return elements_.awaits_chunks(object); }
  void check_text_chunk(std::uint64_t object, const std::string& stored,
                        std::uint32_t skipped_filters);

 private:
  /// Checks all that was found and what it leads to.
  void follow();
  void check_object(std::uint64_t address);

  hdf5_structure::File file_;
  hdf5_structure::TreeSizes sizes_;
  hdf5_structure::Found found_;
  hdf5_structure::GlobalHeap heap_{file_};
  hdf5_structure::HeaderReader headers_{file_, heap_, sizes_, found_};
  hdf5_structure::ElementCheck elements_{file_, heap_, sizes_};
  std::uint64_t extension_ = hdf5_structure::kUndefined;  // of the superblock
  std::set<std::uint64_t> seen_objects_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen_groups_;
  std::map<std::uint64_t, std::string> obstacles_;  // by the address of the object
};

}  // namespace micrec
