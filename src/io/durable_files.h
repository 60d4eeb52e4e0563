#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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

/// Gives a file its name, in place of one that has it.
void rename_file_durably(const std::string& from, const std::string& to);

/// Writes a file under its own name, for file systems whose renames are not one instant: a reader
/// may see a part of it.
void write_file_durably(const std::string& path, std::string_view contents);

/// Gives a directory its final name, in one instant where that name is free or the file system can
/// exchange two names. Where it cannot, there is a moment in which neither is there, and what had
/// the name is `from` + kReplacedSuffix. Afterwards that is left under `from`, for the caller to
/// remove; returns whether there was such. The new name is on the disk once its parent is
/// synchronized.
bool rename_directory(const std::string& from, const std::string& to);
inline constexpr char kReplacedSuffix[] = ".replaced";

/// The whole of a file of at most `limit_bytes`.
std::string read_small_file(const std::string& path, std::int64_t limit_bytes);

/// Bytes [offset, offset + bytes) of a file.
struct FilePart {
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
};

struct FileDigest {
  std::int64_t bytes = 0;
  std::string xxh3_128;  // 32 hexadecimal digits, as xxh128sum prints them
  /// Of each part asked for: the 64-bit XXH3 of each of its blocks, 16 hexadecimal digits a block.
  std::vector<std::string> parts;
};

/// Size and digest of a file, and digests of the blocks of some of its parts, which do not overlap.
/// A part that the file does not hold whole has fewer blocks, the last of them shorter.
/// Cost     The file is read once, in pieces of at most 1 MiB.
FileDigest digest_file(const std::string& path, const std::vector<FilePart>& parts = {},
                       std::int64_t block_bytes = std::int64_t{1} << 20);

/// Digest of bytes in memory, in the same form.
std::string digest_bytes(std::string_view bytes);

}  // namespace micrec
