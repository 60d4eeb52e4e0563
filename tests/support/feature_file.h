#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

#include "io/hdf5.h"

namespace micrec {

/// Writes a feature file as launcher/encode_features.py does, with checksums. values: (keys.size(),
/// width) float32, row by row.
inline void write_feature_file(const std::string& path, const std::vector<std::string>& keys,
                               std::int64_t width, const float* values) {
  const auto add = [](uLong checksum, const void* bytes, std::size_t count) {
    return crc32_z(checksum, static_cast<const Bytef*>(bytes), count);
  };
  uLong of_keys = 0;
  for (const std::string& key : keys) of_keys = add(of_keys, key.c_str(), key.size() + 1);
  const std::size_t bytes = keys.size() * static_cast<std::size_t>(width) * sizeof(float);
  Hdf5File file = Hdf5File::create(path);
  file.write_text("/key", keys);
  file.write("/value", values, {static_cast<std::int64_t>(keys.size()), width});
  file.set_attribute("/key", "crc32", static_cast<std::int64_t>(of_keys));
  file.set_attribute("/value", "crc32", static_cast<std::int64_t>(add(0, values, bytes)));
  file.set_attribute("/", "format", "micrec features");
  file.close();
}

}  // namespace micrec
