#include "io/hdf5_structure/elements.h"

#include "io/hdf5_structure/storage.h"

namespace micrec::hdf5_structure {
namespace {

constexpr std::uint64_t kMostTextChunkBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostDeflation = 1100;  // 1,032 bytes out of one, at most, and a margin

}  // namespace

void ElementCheck::check(std::uint64_t address, const Object& object) {
  if (!object.type || !object.shape) file_.fail(address, "elements without a type or a shape");
  const Layout& layout = *object.layout;
  const std::optional<std::uint64_t> bytes = product(object.shape->elements, object.type->bytes);
  if (!bytes) file_.fail(address, "more elements than there can be");
  const bool has_references = object.type->holds_variable && *bytes > 0;
  if (layout.place == Place::compact) {
    if (layout.compact.size() < *bytes) file_.fail(address, "fewer elements than its shape has");
    heap_.check_references(*object.type, std::string_view(layout.compact).substr(0, *bytes),
                           address);
  } else if (layout.place == Place::contiguous && layout.address != kUndefined) {
    if (!file_.holds(layout.address, *bytes) || (layout.has_bytes && layout.bytes < *bytes))
      file_.fail(address, "elements of more bytes than the file holds");
    if (has_references) heap_.check_references_at(*object.type, layout.address, *bytes);
  } else if (layout.place == Place::chunked && layout.address != kUndefined) {
    check_chunks(address, object, has_references);
  }
}

void ElementCheck::check_chunks(std::uint64_t address, const Object& object, bool has_references) {
  const Layout& layout = *object.layout;
  if (layout.dimensions != object.shape->dimensions + 1 || layout.chunk_bytes == 0 ||
      layout.chunk_bytes % object.type->bytes != 0)
    file_.fail(address, "chunks that are not of the shape of their elements");
  if (has_references && layout.chunk_bytes > kMostTextChunkBytes)
    file_.fail(address, "chunks of strings that are too large");
  bool is_size_known = false;
  if (layout.is_tree) {
    check_chunk_tree(file_, sizes_, layout.dimensions, layout.address, [&](const Chunk& chunk) {
      check_chunk(address, object, chunk, is_size_known);
    });
  } else if (layout.is_one) {
    check_chunk(address, object,
                {layout.address, layout.one_bytes > 0 ? layout.one_bytes : layout.chunk_bytes,
                 layout.one_skipped},
                is_size_known);
  } else if (has_references && object.type->is_variable_text) {
    unlisted_.emplace(address, object);
  }
}

/// The library trusts that what its filters give back is as large as the shape of a chunk says.
/// One chunk of a dataset shows it, where `is_size_known` is not yet set.
void ElementCheck::check_chunk(std::uint64_t address, const Object& object, const Chunk& chunk,
                               bool& is_size_known) {
  if (!file_.holds(chunk.at, chunk.stored) || chunk.stored == 0)
    file_.fail(address, "a chunk that is not in the file");
  if (!chunks_.insert(chunk.at).second) file_.fail(address, "a chunk that comes twice");
  const bool is_deflated = check_chunk_size(address, object, chunk.stored, chunk.skipped);
  const bool has_references = object.type->holds_variable;
  if (!has_references && (!is_deflated || is_size_known)) return;
  const std::string stored = file_.read(chunk.at, chunk.stored, "a chunk");
  if (has_references) return check_texts(object, stored, chunk.skipped, chunk.at);
  // The library says what cannot be uncompressed, and its rows.
  is_size_known = unfiltered(file_, stored, object.filters, chunk.skipped, *object.layout, chunk.at)
                      .has_value();
}

/// Whether only uncompressing it tells how large a chunk is.
bool ElementCheck::check_chunk_size(std::uint64_t address, const Object& object,
                                    std::uint64_t stored, std::uint64_t skipped) const {
  const std::uint64_t bytes = object.layout->chunk_bytes;
  const std::optional<std::uint64_t> expected = stored_bytes(bytes, object.filters, skipped);
  if (expected && stored != *expected)
    file_.fail(address, "a chunk of another size than its shape");
  const bool is_deflated = !expected && are_known(object.filters);
  if (is_deflated && bytes / kMostDeflation > stored)
    file_.fail(address, "a chunk that is larger than its bytes can be");
  return is_deflated;
}

void ElementCheck::check_texts(const Object& object, const std::string& stored,
                               std::uint64_t skipped, std::uint64_t at) {
  const std::optional<std::string> elements =
      unfiltered(file_, stored, object.filters, skipped, *object.layout, at);
  if (!elements) file_.fail(at, "a chunk that cannot be uncompressed");
  heap_.check_references(*object.type, *elements, at);
}

void ElementCheck::check_text_chunk(std::uint64_t address, const std::string& stored,
                                    std::uint64_t skipped) {
  const Object& object = unlisted_.at(address);
  check_chunk_size(address, object, stored.size(), skipped);
  check_texts(object, stored, skipped, address);
}

}  // namespace micrec::hdf5_structure
