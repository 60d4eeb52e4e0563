#pragma once

#include <glog/logging.h>

#include <fstream>
#include <iterator>
#include <string>

namespace micrec {

/// All bytes of a file; none of one that is not there.
inline std::string file_contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Makes these all bytes of a file.
inline void set_file_contents(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  CHECK(file << bytes << std::flush) << path;
}

}  // namespace micrec
