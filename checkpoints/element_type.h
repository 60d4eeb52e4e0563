#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "io/hdf5.h"

namespace micrec {

/// Calls visit(T{}) with the C++ type T of the elements; false where a checkpoint cannot hold such.
template <typename Visit>
bool visit_element_type(at::ScalarType type, const Visit& visit) {
  switch (type) {
    case at::kFloat:
      return visit(float{}), true;
    case at::kDouble:
      return visit(double{}), true;
    case at::kLong:
      return visit(std::int64_t{}), true;
    case at::kInt:
      return visit(std::int32_t{}), true;
    case at::kByte:
      return visit(std::uint8_t{}), true;
    default:
      return false;
  }
}

/// The name of an element type that a checkpoint can hold, or "" for others.
inline std::string element_type_name(at::ScalarType type) {
  std::string name;
  visit_element_type(type, [&]<typename T>(T) { name = name_of(hdf5_type_of<T>()); });
  return name;
}

/// Bytes of values that are moved at once between a file and a tensor that is elsewhere or in
/// another order.
inline constexpr std::int64_t kTransferBytes = std::int64_t{16} << 20;

}  // namespace micrec
