#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace micrec {

/// What the system refused to do with a path, as one sentence for an Error(Cause::io): "cannot open
/// f.h5: Permission denied; ...", with what to try.
///
/// `action` is what was tried ("open", "list"); `error` is the errno of it.
std::string path_error(std::string_view action, std::string_view path, int error);

/// The same of what std::filesystem threw.
std::string path_error(const std::filesystem::filesystem_error& error);

}  // namespace micrec
