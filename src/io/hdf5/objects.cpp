#include <hdf5.h>

#include <algorithm>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "io/hdf5/open_file.h"

namespace micrec::hdf5 {
namespace {

constexpr int kMostSoftLinks = 16;  // on the way to one object

std::string folder_of(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  return slash == 0 ? "/" : name.substr(0, slash);
}

[[noreturn]] void refuse_link(const OpenFile& file, const std::string& path, H5L_type_t type,
                              const std::vector<char>& target) {
  const char* other_file = nullptr;
  const char* other_object = nullptr;
  if (type == H5L_TYPE_EXTERNAL && H5Lunpack_elink_val(target.data(), target.size() - 1, nullptr,
                                                       &other_file, &other_object) >= 0) {
    throw Error(Cause::data, file.at(path), " is a link into another file (", excerpt(other_object),
                " of ", excerpt(other_file), "), which this program does not follow; ",
                kPutDataThere);
  }
  throw Error(Cause::data, file.at(path),
              " is a link of a kind that this program does not follow (", static_cast<int>(type),
              "); put a dataset or a group there");
}

/// What lies at a path of hard links. asked: the name in messages.
Object object_at(const OpenFile& file, const std::string& path, const std::string& asked) {
#if H5_VERSION_GE(1, 12, 0)
  H5O_info1_t info;
#else
  H5O_info_t info;
#endif
  std::string obstacle;
  if (H5Oget_info_by_name2(file.id, path.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
    if (file.structure) obstacle = file.structure->first_obstacle();
    if (obstacle.empty()) file.fail_reading(path, "opening the object");
  } else if (file.structure) {
    obstacle = file.structure->obstacle(info.addr);
  }
  if (!obstacle.empty()) {
    throw Error(Cause::data, file.at(asked), path == asked ? " " : " leads to what ", obstacle);
  }
  return {path, info.type, info.addr};
}

/// Where the soft link at a path leads; nothing where it is a hard link, whose object is checked.
std::optional<std::string> soft_target(const OpenFile& file, const std::string& path) {
#if H5_VERSION_GE(1, 12, 0)
  H5L_info1_t link;
  const herr_t got = H5Lget_info1(file.id, path.c_str(), &link, H5P_DEFAULT);
#else
  H5L_info_t link;
  const herr_t got = H5Lget_info(file.id, path.c_str(), &link, H5P_DEFAULT);
#endif
  if (got < 0) file.fail_reading(path, "reading the link");
  if (link.type == H5L_TYPE_HARD) {
    if (file.structure) file.structure->check(link.u.address);
    return std::nullopt;
  }
  std::vector<char> target(link.u.val_size + 1, '\0');
  if (H5Lget_val(file.id, path.c_str(), target.data(), target.size(), H5P_DEFAULT) < 0)
    file.fail_reading(path, "reading the link");
  if (link.type != H5L_TYPE_SOFT) refuse_link(file, path, link.type, target);
  return target.data();
}

}  // namespace

std::string absolute(const std::string& name) {
  std::string out = "/";
  for (const std::string& part : split(name, '/')) {
    if (part.empty()) continue;
    if (out.size() > 1) out += '/';
    out += part;
  }
  return out;
}

std::optional<Object> find(const OpenFile& file, const std::string& name) {
  std::vector<std::string> left = split(name, '/');  // the last comes first
  std::reverse(left.begin(), left.end());
  int soft_links = 0;
  Object found = object_at(file, "/", name);
  while (!left.empty()) {
    const std::string part = left.back();
    left.pop_back();
    if (part.empty() || part == ".") continue;
    const std::string path = (found.name == "/" ? "" : found.name) + "/" + part;
    if (found.type != H5O_TYPE_GROUP ||
        !file.told(path, H5Lexists(file.id, path.c_str(), H5P_DEFAULT))) {
      if (soft_links == 0) return std::nullopt;
      throw Error(Cause::data, file.at(name), " is a soft link to ", excerpt(path),
                  ", where there is nothing");
    }
    const std::optional<std::string> target = soft_target(file, path);
    if (!target) {
      found = object_at(file, path, name);
      continue;
    }
    if (++soft_links > kMostSoftLinks) {
      throw Error(Cause::data, file.at(name), ": leads through more than ", kMostSoftLinks,
                  " soft links; they seem to lead to each other");
    }
    const std::vector<std::string> onward = split(*target, '/');
    left.insert(left.end(), onward.rbegin(), onward.rend());
    if (target->starts_with('/')) found = object_at(file, "/", name);
  }
  return found;
}

bool is(const OpenFile& file, H5O_type_t type, const std::string& name) {
  const std::optional<Object> found = find(file, name);
  return found && found->type == type;
}

std::vector<std::string> children(const OpenFile& file, const std::string& group) {
  const std::optional<Object> found = find(file, group);
  if (!found || found->type != H5O_TYPE_GROUP) {
    throw Error(Cause::data, file.at(group), ": expected a group, got ",
                found ? "something else" : "nothing", not_there(file, group));
  }
  // In native order: for another the library makes a table of a large group, and when it finds
  // damage it frees what it has not yet filled in.
  std::vector<std::string> names;
  if (H5Literate_by_name(
          file.id, found->name.c_str(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr,
          [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
            static_cast<std::vector<std::string>*>(out)->emplace_back(name);
            return 0;
          },
          &names, H5P_DEFAULT) < 0) {
    file.fail_reading(group, "listing the group");
  }
  std::ranges::sort(names);
  return names;
}

std::string not_there(const OpenFile& file, const std::string& name) {
  std::string group = folder_of(name);
  while (group != "/" && !is(file, H5O_TYPE_GROUP, group)) group = folder_of(group);
  if (group == name) return "";
  const std::vector<std::string> names = children(file, group);
  return text("; ", group, " has ", names.empty() ? "nothing" : listed(names));
}

void refuse_existing(const OpenFile& file, const std::string& name) {
  if (find(file, name)) throw Error(Cause::data, file.at(name), ": exists already");
}

}  // namespace micrec::hdf5
