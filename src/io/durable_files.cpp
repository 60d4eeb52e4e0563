#include "io/durable_files.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "io/descriptor.h"
#include "io/fingerprint.h"
#include "io/paths.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

Descriptor open_to(const char* action, const std::string& path, int flags) {
  Descriptor file(path, flags);
  if (!file.ok()) refuse_path(action, path, errno);
  return file;
}

std::size_t read_some(const Descriptor& file, const std::string& path, char* out,
                      std::size_t size) {
  const std::int64_t got = file.read(out, size);
  if (got < 0) refuse_path("read", path, errno);
  return static_cast<std::size_t>(got);
}

void sync(const Descriptor& file, const std::string& path) {
  if (!file.sync()) refuse_path("write to the disk", path, errno);
}

}  // namespace

void sync_to_disk(const std::string& path) { sync(open_to("open", path, O_RDONLY), path); }

void make_directory_durably(const std::string& path) {
  // Every folder that is made is an entry of its parent, which must reach the disk as well.
  std::vector<fs::path> missing;
  for (fs::path folder = fs::path(path).lexically_normal();
       !folder.empty() && !is_there(folder.string()); folder = folder.parent_path()) {
    missing.push_back(folder);
  }
  std::error_code error;
  fs::create_directories(path, error);
  if (error) refuse_path("make the directory", path, error.value());
  if (!is_folder(path)) {
    throw Error(Cause::io, path, " exists and is not a directory; give another path");
  }
  for (const fs::path& folder : missing) sync_to_disk(folder_of(folder.string()));
}

void replace_file_durably(const std::string& path, std::string_view contents) {
  const std::string beside = path + ".writing";
  try {
    write_file_durably(beside, contents);
    rename_file_durably(beside, path);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
}

void rename_file_durably(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) refuse_path("rename a new file to", to, errno);
  sync_to_disk(folder_of(to));
}

void write_file_durably(const std::string& path, std::string_view contents) {
  Descriptor file = open_to("create", path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.write(contents)) refuse_path("write", path, errno);
  sync(file, path);
  if (!file.close()) refuse_path("write", path, errno);
}

bool rename_directory(const std::string& from, const std::string& to) {
  bool replaced = false;
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) refuse_path("rename to", to, errno);
    replaced = true;
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
      const std::string aside = from + kReplacedSuffix;
      if (std::rename(to.c_str(), aside.c_str()) != 0) refuse_path("rename away", to, errno);
      if (std::rename(from.c_str(), to.c_str()) != 0) {
        const int error = errno;
        std::rename(aside.c_str(), to.c_str());
        refuse_path("rename to", to, error);
      }
      if (std::rename(aside.c_str(), from.c_str()) != 0) refuse_path("rename", aside, errno);
    }
  }
  return replaced;
}

std::string read_small_file(const std::string& path, std::int64_t limit_bytes) {
  const Descriptor file = open_to("open", path, O_RDONLY);
  std::string contents;
  char piece[16384];
  while (const std::size_t got = read_some(file, path, piece, sizeof piece)) {
    contents.append(piece, got);
    if (std::ssize(contents) > limit_bytes) {
      throw Error(Cause::io, path, " is longer than the ",
                  in_bytes(static_cast<double>(limit_bytes)), " that it may have");
    }
  }
  return contents;
}

FileDigest digest_file(const std::string& path, const std::vector<FilePart>& parts,
                       std::int64_t block_bytes) {
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(
      order, [&](std::size_t a, std::size_t b) { return parts[a].offset < parts[b].offset; });

  const Descriptor file = open_to("open", path, O_RDONLY);
  Fingerprint whole;
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> block(XXH3_createState(),
                                                                              XXH3_freeState);
  std::vector<char> piece(kPieceBytes);
  FileDigest digest;
  digest.parts.resize(parts.size());
  auto part = order.begin();
  std::int64_t block_begin = -1;  // where the block that is being digested begins; -1: in none
  const auto end_block = [&](std::size_t number) {
    char out[17];
    std::snprintf(out, sizeof out, "%016llx",
                  static_cast<unsigned long long>(XXH3_64bits_digest(block.get())));
    digest.parts[number] += out;
    block_begin = -1;
  };
  while (const std::size_t got = read_some(file, path, piece.data(), piece.size())) {
    whole.add_bytes(piece.data(), got);
    const std::int64_t begin = digest.bytes;
    digest.bytes += static_cast<std::int64_t>(got);
    for (std::int64_t at = begin; part != order.end() && at < digest.bytes;) {
      const std::int64_t part_end = parts[*part].offset + parts[*part].bytes;
      at = std::max(at, parts[*part].offset);
      if (at >= part_end) {
        ++part;
        continue;
      }
      if (at >= digest.bytes) break;
      if (block_begin < 0) {
        XXH3_64bits_reset(block.get());
        block_begin = at;
      }
      const std::int64_t block_end = std::min(part_end, block_begin + block_bytes);
      const std::int64_t end = std::min(block_end, digest.bytes);
      XXH3_64bits_update(block.get(), piece.data() + (at - begin),
                         static_cast<std::size_t>(end - at));
      at = end;
      if (at == block_end) end_block(*part);
      if (at == part_end) ++part;
    }
  }
  if (block_begin >= 0) end_block(*part);
  digest.xxh3_128 = whole.digits();
  return digest;
}

std::string digest_bytes(std::string_view bytes) {
  Fingerprint digest;
  digest.add_bytes(bytes.data(), bytes.size());
  return digest.digits();
}

}  // namespace micrec
