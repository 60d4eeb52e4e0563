#pragma once

#include <string>

namespace micrec {

/// Follows the structure of an HDF5 file from its superblock to every object, as the HDF5 library
/// would, and refuses what the library would follow into memory that is not there: its version 1.10
/// crashes, hangs or takes any amount of memory on some damaged files.
///
/// Checked  superblock, object headers and their messages, groups (B-trees, symbol nodes, local
///          heaps), their names, types, shapes, where elements lie, B-trees of chunks, that a chunk
///          of each compressed dataset is as large as its shape says, and strings of variable
///          length down to their bytes in the global heap, whose sum cannot exceed the file.
/// Left     what the "latest" format of HDF5 protects by checksums that the library itself
///          compares: large groups, lists of more than 8 attributes, indexes of chunks. Variable
///          strings in such attributes are followed by the library alone.
///
/// Errors   Error(Cause::data) naming the file, the byte and what is wrong there; Error(Cause::io)
///          where it cannot be read. A file without a superblock, or cut off before the end that
///          the superblock tells, is left to the library, which says so.
/// Cost     reads the structure once, the references to variable strings, and of elements one
///          chunk of each compressed dataset.
void check_hdf5_structure(const std::string& path);

}  // namespace micrec
