#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace micrec {

/// The name of an element type that a checkpoint can hold, or "" for others.
inline std::string element_type_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kByte:
      return "uint8";
    default:
      return "";
  }
}

/// Calls visit(T{}) with the C++ type T of the elements.
template <typename Visit>
void visit_element_type(at::ScalarType type, const Visit& visit) {
  switch (type) {
    case at::kDouble:
      return visit(double{});
    case at::kLong:
      return visit(std::int64_t{});
    case at::kInt:
      return visit(std::int32_t{});
    case at::kByte:
      return visit(std::uint8_t{});
    default:
      return visit(float{});
  }
}

/// Bytes of values that are moved at once between a file and a tensor that is elsewhere or in
/// another order.
inline constexpr std::int64_t kTransferBytes = std::int64_t{16} << 20;

}  // namespace micrec
