#include "io/hdf5_structure/hdf5_structure.h"

#include <optional>

#include "base/error.h"
#include "io/hdf5_structure/superblock.h"

namespace micrec {

using hdf5_structure::Foreign;

Hdf5Structure::Hdf5Structure(const std::string& path) : file_(path) {
  try {
    const std::optional<hdf5_structure::Superblock> superblock =
        hdf5_structure::read_superblock(file_);
    if (!superblock) return;
    sizes_ = superblock->sizes;
    if (superblock->root_group) found_.groups.push_back(*superblock->root_group);
    found_.objects.push_back(superblock->root);
    extension_ = superblock->extension;  // before all others, as it has the sizes of B-trees
    if (extension_ != hdf5_structure::kUndefined) found_.objects.push_back(extension_);
    follow();
  } catch (const Foreign& foreign) {  // of the superblock
    throw Error(Cause::data, path, " ", foreign.what);
  }
}

void Hdf5Structure::check(std::uint64_t object) {
  if (seen_objects_.empty()) return;
  found_.objects.push_back(object);
  follow();
}

void Hdf5Structure::follow() {
  while (!found_.objects.empty() || !found_.groups.empty()) {
    if (found_.groups.empty()) {
      const std::uint64_t address = found_.objects.back();
      found_.objects.pop_back();
      check_object(address);
    } else {
      const auto group = found_.groups.back();
      found_.groups.pop_back();
      if (seen_groups_.insert(group).second)
        hdf5_structure::check_group(file_, sizes_, group.first, group.second, found_);
    }
  }
  heap_.forget();
  elements_.forget();
}

void Hdf5Structure::check_object(std::uint64_t address) {
  using hdf5_structure::Owner;
  if (!seen_objects_.insert(address).second) return;
  hdf5_structure::Object object;
  try {
    headers_.read(address, address == extension_ ? Owner::superblock : Owner::object, object);
    if (object.layout && object.obstacle.empty()) elements_.check(address, object);
  } catch (const Foreign& foreign) {
    object.obstacle = foreign.what;
  }
  if (!object.obstacle.empty()) obstacles_.emplace(address, object.obstacle);
}

std::string Hdf5Structure::obstacle(std::uint64_t object) const {
  const auto found = obstacles_.find(object);
  return found == obstacles_.end() ? "" : found->second;
}

std::string Hdf5Structure::first_obstacle() const {
  return obstacles_.empty() ? "" : obstacles_.begin()->second;
}

void Hdf5Structure::check_text_chunk(std::uint64_t object, const std::string& stored,
                                     std::uint32_t skipped_filters) try {
  elements_.check_text_chunk(object, stored, skipped_filters);
} catch (const Foreign& foreign) {
  throw Error(Cause::data, file_.path(), " ", foreign.what);
}

}  // namespace micrec
