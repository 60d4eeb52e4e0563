#include "io/hdf5_structure/hdf5_structure.h"

#include <map>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/hdf5_structure/b_trees.h"
#include "io/hdf5_structure/bytes.h"
#include "io/hdf5_structure/elements.h"
#include "io/hdf5_structure/heaps.h"
#include "io/hdf5_structure/object_header.h"
#include "io/hdf5_structure/superblock.h"

namespace micrec {

using hdf5_structure::Foreign;

struct Hdf5Structure::State {
 public:
  explicit State(const std::string& path) : file_(path) {}

  void check() {
    const std::optional<hdf5_structure::Superblock> superblock =
        hdf5_structure::read_superblock(file_);
    if (!superblock) return;
    sizes_ = superblock->sizes;
    if (superblock->root_group) found_.groups.push_back(*superblock->root_group);
    found_.objects.push_back(superblock->root);
    extension_ = superblock->extension;  // before all others, as it has the sizes of B-trees
    if (extension_ != hdf5_structure::kUndefined) found_.objects.push_back(extension_);
    follow();
  }

  /// Where the file was followed at all; objects that it came to then are done.
  void check(std::uint64_t object) {
    if (seen_objects_.empty()) return;
    found_.objects.push_back(object);
    follow();
  }

  const std::map<std::uint64_t, std::string>& obstacles() const { return obstacles_; }
  const std::string& path() const { return file_.path(); }
  hdf5_structure::ElementCheck& elements() { return elements_; }

 private:
  void follow() {
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

  void check_object(std::uint64_t address) {
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

Hdf5Structure::Hdf5Structure(const std::string& path) : state_(std::make_unique<State>(path)) {
  try {
    state_->check();
  } catch (const Foreign& foreign) {  // of the superblock
    throw Error(Cause::data, text(path, " ", foreign.what));
  }
}

Hdf5Structure::~Hdf5Structure() = default;

void Hdf5Structure::check(std::uint64_t object) { state_->check(object); }

std::string Hdf5Structure::obstacle(std::uint64_t object) const {
  const auto found = state_->obstacles().find(object);
  return found == state_->obstacles().end() ? "" : found->second;
}

std::string Hdf5Structure::first_obstacle() const {
  return state_->obstacles().empty() ? "" : state_->obstacles().begin()->second;
}

bool Hdf5Structure::awaits_chunks(std::uint64_t object) const {
  return state_->elements().awaits_chunks(object);
}

void Hdf5Structure::check_text_chunk(std::uint64_t object, const std::string& stored,
                                     std::uint32_t skipped_filters) try {
  state_->elements().check_text_chunk(object, stored, skipped_filters);
} catch (const Foreign& foreign) {
  throw Error(Cause::data, text(state_->path(), " ", foreign.what));
}

}  // namespace micrec
