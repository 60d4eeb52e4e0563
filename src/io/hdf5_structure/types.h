#pragma once

#include <cstdint>

#include "io/hdf5_structure/bytes.h"

namespace micrec::hdf5_structure {

/// What is needed of a type to find strings of variable length in elements of it.
struct Type {
  std::uint64_t bytes = 0;
  bool is_variable_text = false;
  bool holds_variable = false;  // in itself or in a part
};

struct Shape {
  std::uint64_t elements = 1;
  int dimensions = 0;
};

inline constexpr std::uint64_t kReferenceBytes = 16;  // to a string in the global heap

Shape read_shape(Cursor& c);
Type read_type(Cursor& c);

}  // namespace micrec::hdf5_structure
