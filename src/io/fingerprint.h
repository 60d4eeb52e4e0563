#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

struct XXH3_state_s;

namespace micrec {

/// XXH3, 128 bits, of values added one after the other.
class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  void add_bytes(const void* bytes, std::size_t count);
  void add_count(std::int64_t count) { add_bytes(&count, sizeof count); }
  void add_text(std::string_view value);  ///< its length and its bytes
  void add_texts(const std::vector<std::string>& values);

  template <typename T>
  requires std::is_arithmetic_v<T>
  void add_numbers(const T* values, std::int64_t count) {
    add_bytes(values, static_cast<std::size_t>(count) * sizeof(T));
  }
  template <typename T>
  void add_numbers(const std::vector<T>& values) {
    add_numbers(values.data(), std::ssize(values));
  }

  /// 32 hexadecimal digits, as xxh128sum prints them.
  std::string digits() const;

 private:
  XXH3_state_s* state_;
};

}  // namespace micrec
