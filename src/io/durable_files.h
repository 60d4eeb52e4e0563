#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace micrec {

/// Files that survive a crash of the machine: what these functions have returned from is on the
/// disk.
///
/// Errors   Error(Cause::io), all of them, naming the file and the system's reason.

/// Waits until a file's or a directory's contents are on the disk.
void sync_to_disk(const std::string& path);

/// Makes a directory with its parents, and its name durable. One that exists is fine.
void make_directory_durably(const std::string& path);

/// Replaces a file, or makes it, in one instant: a reader sees the old contents or the new.
void replace_file_durably(const std::string& path, std::string_view contents);

/// Gives a directory its final name, in one instant where that name is free or the file system can
/// exchange two names. Where it cannot, there is a moment in which neither is there. What had the
/// name before is left under `from`, for the caller to remove; returns whether there was such.
bool rename_directory_durably(const std::string& from, const std::string& to);

/// The whole of a file of at most `limit_bytes`.
std::string read_small_file(const std::string& path, std::int64_t limit_bytes);

struct FileDigest {
  std::int64_t bytes = 0;
  std::string xxh3_128;  // 32 hexadecimal digits, as xxh128sum prints them
};

/// Size and digest of a file, read in pieces.
FileDigest digest_file(const std::string& path);

/// Digest of bytes in memory, in the same form.
std::string digest_bytes(std::string_view bytes);

}  // namespace micrec
