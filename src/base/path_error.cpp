#include "base/path_error.h"

#include <cerrno>
#include <system_error>

#include "base/text.h"

namespace micrec {
namespace {

const char* advice(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return "; the file or a folder on the way does not let you: namei -l shows who may";
    case EROFS:
      return "; the file system is mounted read-only, choose another place";
    case ENOENT:
      return "; check the name";
    case ENOTDIR:
      return "; a part of the path is a file, not a folder";
    case EISDIR:
      return "; name a file";
    case ENAMETOOLONG:
      return "; a name has at most 255 bytes and a path 4,095, use shorter ones";
    case ELOOP:
      return "; its links lead in a circle";
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "; free some space or raise the quota, then start again";
    case ENOLCK:
    case EOPNOTSUPP:
      return "; the file system does not know how to do this, choose a place on another one";
    default:
      return "";
  }
}

}  // namespace

std::string path_error(std::string_view action, std::string_view path, int error) {
  return text("cannot ", action, " ", path, ": ",
              error == 0 ? "the system gives no reason" : std::generic_category().message(error),
              advice(error));
}

std::string path_error(const std::filesystem::filesystem_error& error) {
  return path_error("use", error.path1().string(), error.code().value());
}

}  // namespace micrec
