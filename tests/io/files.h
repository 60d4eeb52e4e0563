#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

#include "base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "tests/support/temporary_folder.h"

namespace micrec {

/// The bytes as gzip packs them.
inline std::string gzip(const std::string& bytes) {
  z_stream stream{};
  constexpr int kWithHeaderOfGzip = 16 + MAX_WBITS;
  EXPECT_EQ(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWithHeaderOfGzip, 8,
                         Z_DEFAULT_STRATEGY),
            Z_OK);
  std::string packed(deflateBound(&stream, static_cast<uLong>(bytes.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  EXPECT_EQ(deflateEnd(&stream), Z_OK);
  return packed;
}

}  // namespace micrec
