#include "io/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace micrec {
namespace {

template <typename Call>
ssize_t uninterrupted(const Call& call) {
  while (true) {
    const ssize_t answer = call();
    if (answer >= 0 || errno != EINTR) return answer;
  }
}

}  // namespace

Descriptor::Descriptor(const std::string& path, int flags)
    : id_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}

std::int64_t Descriptor::read(char* out, std::size_t size) const {
  return uninterrupted([&] { return ::read(id_, out, size); });
}

std::int64_t Descriptor::read_at(std::int64_t offset, char* out, std::size_t size) const {
  std::size_t done = 0;
  while (done < size) {
    const auto place = static_cast<off_t>(offset + static_cast<std::int64_t>(done));
    const ssize_t got = uninterrupted([&] { return ::pread(id_, out + done, size - done, place); });
    if (got < 0) return got;
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<std::int64_t>(done);
}

bool Descriptor::write(std::string_view contents) const {
  while (!contents.empty()) {
    const ssize_t written =
        uninterrupted([&] { return ::write(id_, contents.data(), contents.size()); });
    if (written < 0) return false;
    contents.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

bool Descriptor::sync() const { return ::fsync(id_) == 0 || errno == EINVAL || errno == ENOTSUP; }

bool Descriptor::close() { return id_ < 0 || ::close(std::exchange(id_, -1)) == 0; }

}  // namespace micrec
