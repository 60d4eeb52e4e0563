#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace micrec {

/// What is at a path, where "nothing" and "the system does not tell" are two answers.
///
/// Errors   Error(Cause::io), all of them, with the sentence of path_error(): no permission on the
///          way, a name that is too long, links in a circle, a file system that does not answer.

/// What a path leads to, links followed.
enum class PathKind { missing, file, folder, other };  // other: a device, a pipe, a socket
PathKind look_at(const std::string& path);

/// Whether there is anything.
bool is_there(const std::string& path);
bool is_folder(const std::string& path);

/// The folder that a path is in.
std::string folder_of(const std::string& path);

std::int64_t bytes_of_file(const std::string& path);

/// The whole paths of a folder's entries, sorted by name.
std::vector<std::string> list_folder(const std::string& path);

/// Throws the error of something that the system refused: Error(Cause::io).
[[noreturn]] void refuse_path(std::string_view action, const std::string& path, int error);

/// Throws Error(Cause::io) where a file cannot be opened for reading: missing, a folder, not
/// allowed. A device or a pipe passes.
void refuse_unreadable(const std::string& path);

/// An output that a command is about to write, and the files that it reads: throws
/// Error(Cause::usage) where they are one and the same file, by device and inode, so through any
/// spelling and any link. What does not exist, and what is no plain file (/dev/null), is never the
/// same. `flag` names the output in the message: "--out".
void refuse_output_over_inputs(const std::string& flag, const std::string& output,
                               const std::vector<std::string>& inputs);

}  // namespace micrec
