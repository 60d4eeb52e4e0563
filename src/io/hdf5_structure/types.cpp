#include "io/hdf5_structure/types.h"

#include <limits>

namespace micrec::hdf5_structure {
namespace {

constexpr int kDeepest = 16;

/// Classes of types.
enum class Class : std::uint64_t {
  integer,
  floating,
  time,
  text,  // of a fixed width
  bits,
  opaque,
  compound,
  reference,
  enumeration,
  variable_length,
  array,
};

/// A type that is being read: the part of its message that all classes have.
struct Head {
  std::uint64_t version = 0;
  std::uint64_t flags = 0;
  int depth = 0;  // types around it

  std::size_t padding() const { return version < 3 ? 8 : 1; }  // of names
};

Type read_type_at(Cursor& c, int depth);

void check_integer(Cursor& c, const Type& type) {
  const std::uint64_t offset = c.number(2);
  const std::uint64_t precision = c.number(2);
  c.expect(precision > 0 && offset + precision <= 8 * type.bytes, "is an integer of wrong bits");
}

void check_float(Cursor& c, const Head& head, const Type& type) {
  const std::uint64_t offset = c.number(2);
  const std::uint64_t precision = c.number(2);
  const std::uint64_t exponent = c.number(1);
  const std::uint64_t exponent_bits = c.number(1);
  const std::uint64_t mantissa = c.number(1);
  const std::uint64_t mantissa_bits = c.number(1);
  c.skip(4);
  const std::uint64_t sign = (head.flags >> 8) & 0xFF;
  c.expect(precision > 0 && offset + precision <= 8 * type.bytes && sign < precision &&
               exponent_bits > 0 && mantissa_bits > 0 && exponent + exponent_bits <= precision &&
               mantissa + mantissa_bits <= precision &&
               (exponent + exponent_bits <= mantissa || mantissa + mantissa_bits <= exponent),
           "is a float of wrong bits");
}

void check_enumeration(Cursor& c, const Head& head, const Type& type) {
  const Type base = read_type_at(c, head.depth + 1);
  const std::uint64_t members = head.flags & 0xFFFF;
  c.expect(members > 0 && base.bytes == type.bytes, "is an enumeration of nothing");
  for (std::uint64_t i = 0; i < members; ++i) c.skip_name(head.padding());
  c.skip(members * base.bytes);
}

void read_variable_length(Cursor& c, const Head& head, Type& type) {
  const Type base = read_type_at(c, head.depth + 1);
  const bool is_text = (head.flags & 0xF) == 1;
  c.expect((head.flags & 0xF) <= 1 && type.bytes == kReferenceBytes && !base.holds_variable &&
               (!is_text || base.bytes == 1),
           "is of variable length in an unknown way");
  type.is_variable_text = is_text;
  type.holds_variable = true;
}

void read_array(Cursor& c, const Head& head, Type& type) {
  c.expect(head.version >= 2, "is an array of an old version");
  const std::uint64_t dimensions = c.number(1);
  c.expect(dimensions > 0 && dimensions <= kMostDimensions, "is an array of no shape");
  if (head.version == 2) c.skip(3);
  std::uint64_t elements = 1;
  for (std::uint64_t i = 0; i < dimensions; ++i) {
    const std::optional<std::uint64_t> all = product(elements, c.number(4));
    c.expect(all && *all > 0 && *all <= type.bytes, "is an array of a wrong size");
    elements = *all;
  }
  if (head.version == 2) c.skip(4 * dimensions);
  const Type base = read_type_at(c, head.depth + 1);
  c.expect(product(elements, base.bytes) == type.bytes, "is an array of a wrong size");
  type.holds_variable = base.holds_variable;
}

void read_members(Cursor& c, const Head& head, Type& type) {
  const std::uint64_t members = head.flags & 0xFFFF;
  c.expect(members > 0, "is a compound of nothing");
  std::size_t offset_bytes = 4;
  if (head.version == 3) {
    offset_bytes = 1;
    while (offset_bytes < 4 && (type.bytes >> (8 * offset_bytes)) > 0) ++offset_bytes;
  }
  for (std::uint64_t i = 0; i < members; ++i) {
    c.skip_name(head.padding());
    const std::uint64_t offset = c.number(offset_bytes);
    if (head.version == 1) {
      c.expect(c.number(1) == 0, "is a compound with arrays of an old version");
      c.skip(3 + 4 + 4 + 16);
    }
    const Type member = read_type_at(c, head.depth + 1);
    c.expect(offset <= type.bytes && member.bytes <= type.bytes - offset,
             "is a compound that is smaller than its parts");
    type.holds_variable |= member.holds_variable;
  }
}

Type read_type_at(Cursor& c, int depth) {
  c.expect(depth <= kDeepest, "is a type of types without end");
  const std::uint64_t first = c.number(1);
  Head head{first >> 4, c.number(3), depth};
  Type type;
  type.bytes = c.number(4);
  c.expect(type.bytes > 0, "is a type of no bytes");
  c.expect_version(head.version, 1, 3, "a type");
  switch (static_cast<Class>(first & 0xF)) {
    case Class::integer:
    case Class::bits:
      check_integer(c, type);
      break;
    case Class::floating:
      check_float(c, head, type);
      break;
    case Class::time:
      c.skip(2);
      break;
    case Class::text:
      c.expect((head.flags & 0xF) <= 2 && ((head.flags >> 4) & 0xF) <= 1,
               "is a text of an unknown kind");
      break;
    case Class::opaque:
      c.skip(head.flags & 0xFF);
      break;
    case Class::compound:
      read_members(c, head, type);
      break;
    case Class::reference:
      c.expect((head.flags & 0xF) <= 1, "is a reference of an unknown kind");
      break;
    case Class::enumeration:
      check_enumeration(c, head, type);
      break;
    case Class::variable_length:
      read_variable_length(c, head, type);
      break;
    case Class::array:
      read_array(c, head, type);
      break;
    default:
      c.fail("is a type of an unknown class");
  }
  return type;
}

}  // namespace

Shape read_shape(Cursor& c) {
  Shape shape;
  const std::uint64_t version = c.number(1);
  c.expect_version(version, 1, 2, "a shape");
  shape.dimensions = static_cast<int>(c.number(1));
  const std::uint64_t flags = c.number(1);
  const std::uint64_t kind = c.number(1);
  if (version == 1) c.skip(4);
  c.expect(shape.dimensions <= kMostDimensions, "is a shape of too many dimensions");
  if (version == 2 && kind == 2) shape.elements = 0;
  for (int i = 0; i < shape.dimensions; ++i) {
    const std::optional<std::uint64_t> all = product(shape.elements, c.number(8));
    c.expect(all && *all <= std::numeric_limits<std::int64_t>::max(),
             "is a shape of too many elements");
    shape.elements = *all;
  }
  if ((flags & 1) != 0) c.skip(std::uint64_t{8} * static_cast<unsigned>(shape.dimensions));
  return shape;
}

Type read_type(Cursor& c) { return read_type_at(c, 0); }

}  // namespace micrec::hdf5_structure
