#include "io/fingerprint.h"

#include <glog/logging.h>
#include <xxhash.h>

#include <bit>
#include <cstdio>

namespace micrec {

static_assert(std::endian::native == std::endian::little,
              "fingerprints are defined over little-endian numbers");

Fingerprint::Fingerprint() : state_(XXH3_createState()) {
  CHECK(state_ != nullptr);
  CHECK_EQ(XXH3_128bits_reset(state_), XXH_OK);
}

Fingerprint::~Fingerprint() { XXH3_freeState(state_); }

void Fingerprint::add_bytes(const void* bytes, std::size_t count) {
  if (count == 0) return;
  CHECK_EQ(XXH3_128bits_update(state_, bytes, count), XXH_OK);
}

void Fingerprint::add_text(std::string_view value) {
  add_count(std::ssize(value));
  add_bytes(value.data(), value.size());
}

void Fingerprint::add_texts(const std::vector<std::string>& values) {
  for (const std::string& value : values) add_text(value);
}

std::string Fingerprint::digits() const {
  const XXH128_hash_t digest = XXH3_128bits_digest(state_);
  char out[33];
  std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(digest.high64),
                static_cast<unsigned long long>(digest.low64));
  return out;
}

}  // namespace micrec
